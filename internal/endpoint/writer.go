package endpoint

import (
	"context"
	"fmt"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/condition"
	"sallyport.dev/sallyport/pkg/intent"
)

// Key is where the endpoint of an object is.
func Key(kind intent.Kind, object client.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: object.GetNamespace(), Name: intent.EndpointName(kind, object.GetName())}
}

// Write makes the endpoint of an object say what is found: at most one write to
// create it and one to its status, none if it says so already. The object owns the
// endpoint, so that both go together.
func Write(ctx context.Context, c client.Client, kind intent.Kind, object client.Object, found v1alpha1.MutualTLSEndpointStatus, now time.Time) error {
	key := Key(kind, object)
	stored := &v1alpha1.MutualTLSEndpoint{}
	err := c.Get(ctx, key, stored)
	switch {
	case apierrors.IsNotFound(err):
		if stored, err = create(ctx, c, kind, object, key); err != nil {
			return err
		}
	case err != nil:
		return fmt.Errorf("reading MutualTLSEndpoint %s: %w", key, err)
	case !metav1.IsControlledBy(stored, object):
		// Of an object that was deleted and made again: its endpoint goes with it.
		if err := c.Delete(ctx, stored, client.Preconditions{UID: &stored.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting MutualTLSEndpoint %s of a former object: %w", key, err)
		}
		if stored, err = create(ctx, c, kind, object, key); err != nil {
			return err
		}
	}
	if found.ServerCertificate == nil {
		// Hosts are held by those alone whom a certificate was issued for them: whoever is
		// refused would take them from the next. Those that he held before stay his.
		found.Authorities, found.Hosts = stored.Status.Authorities, stored.Status.Hosts
	}
	found.Conditions = condition.Update(stored.Status.Conditions, object.GetGeneration(), now, found.Conditions...)
	if apiequality.Semantic.DeepEqual(stored.Status, found) {
		return nil
	}
	updated := stored.DeepCopy()
	updated.Status = found
	if err := c.Status().Update(ctx, updated, client.FieldOwner(cluster.FieldOwner)); err != nil {
		return fmt.Errorf("writing status of MutualTLSEndpoint %s: %w", key, err)
	}
	return nil
}

func create(ctx context.Context, c client.Client, kind intent.Kind, object client.Object, key types.NamespacedName) (*v1alpha1.MutualTLSEndpoint, error) {
	gvk := object.GetObjectKind().GroupVersionKind()
	controller := true
	endpoint := &v1alpha1.MutualTLSEndpoint{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: key.Namespace, Name: key.Name,
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: gvk.GroupVersion().String(), Kind: gvk.Kind, Name: object.GetName(), UID: object.GetUID(), Controller: &controller,
			}},
		},
		Spec: v1alpha1.MutualTLSEndpointSpec{ObjectRef: v1alpha1.ObjectReference{Kind: v1alpha1.ObjectKind(kind), Name: object.GetName()}},
	}
	cluster.Mark(endpoint, intent.Owner{Kind: gvk.Kind, Namespace: key.Namespace, Name: object.GetName(), UID: string(object.GetUID())})
	if err := c.Create(ctx, endpoint, client.FieldOwner(cluster.FieldOwner)); err != nil {
		return nil, fmt.Errorf("creating MutualTLSEndpoint %s: %w", key, err)
	}
	return endpoint, nil
}

// Delete removes the endpoint of an object that no longer asks for anything.
func Delete(ctx context.Context, c client.Client, kind intent.Kind, object client.Object) error {
	key := Key(kind, object)
	stored := &v1alpha1.MutualTLSEndpoint{}
	if err := c.Get(ctx, key, stored); apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("reading MutualTLSEndpoint %s: %w", key, err)
	}
	if err := c.Delete(ctx, stored, client.Preconditions{UID: &stored.UID}); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting MutualTLSEndpoint %s: %w", key, err)
	}
	return nil
}
