package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/pkg/intent"
)

// ManagedGateway is the stored Gateway under a key, and whether it was made for the
// owner; nil if there is none.
func (c *Cluster) ManagedGateway(ctx context.Context, key types.NamespacedName, owner intent.Owner) (*unstructured.Unstructured, bool, error) {
	stored := &unstructured.Unstructured{}
	stored.SetAPIVersion("networking.istio.io/v1")
	stored.SetKind("Gateway")
	if err := c.client.Get(ctx, key, stored); apierrors.IsNotFound(err) {
		return nil, false, nil
	} else if err != nil {
		return nil, false, fmt.Errorf("reading Gateway %s: %w", key, err)
	}
	found, ours := OwnerOf(stored)
	return stored, ours && stored.GetLabels()[intent.KeyManaged] == "true" && found.Same(owner) || belongs(stored, owner), nil
}

// belongs reports whether an object is an owner's by its owner references: whoever strips our marks of it has not made it his own.
func belongs(object client.Object, owner intent.Owner) bool {
	return slices.ContainsFunc(object.GetOwnerReferences(), func(r metav1.OwnerReference) bool {
		return r.Kind == owner.Kind && r.Name == owner.Name && string(r.UID) == owner.UID
	})
}

// WriteGateway makes a managed Gateway as wanted: its spec in full, its labels and
// annotations at least. One that was not made for the owner is left alone, and one that may not be changed now is held. What is
// held, or undone at once, is returned as wanted.
func (c *Cluster) WriteGateway(ctx context.Context, wanted map[string]any, owner intent.Owner, may func(stored *unstructured.Unstructured) (bool, error)) (Outcome, *unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{Object: wanted}
	key := client.ObjectKeyFromObject(object)
	stored, ours, err := c.ManagedGateway(ctx, key, owner)
	switch {
	case err != nil:
		return "", nil, err
	case stored == nil:
		if err := c.client.Create(ctx, object, client.FieldOwner(FieldOwner)); err != nil {
			return "", nil, fmt.Errorf("creating Gateway %s: %w", key, err)
		}
		return Created, object, nil
	case !ours:
		return Foreign, stored, nil
	}
	updated := stored.DeepCopy()
	updated.Object["spec"] = object.Object["spec"]
	updated.SetAnnotations(carried(stored.GetAnnotations(), object.GetAnnotations()))
	updated.SetLabels(merged(stored.GetLabels(), object.GetLabels()))
	updated.SetOwnerReferences(object.GetOwnerReferences())
	if apiequality.Semantic.DeepEqual(stored.Object, updated.Object) {
		return Unchanged, stored, nil
	}
	if now, err := may(stored); err != nil || !now {
		return Held, updated, err
	}
	answer := updated.DeepCopy()
	if err := c.client.Update(ctx, answer, client.FieldOwner(FieldOwner)); err != nil {
		return "", nil, fmt.Errorf("updating Gateway %s: %w", key, err)
	}
	if !apiequality.Semantic.DeepEqual(answer.Object["spec"], updated.Object["spec"]) {
		return Undone, updated, nil
	}
	return Updated, answer, nil
}

// RefusedByPolicy reports whether the API server refused a write because an admission policy forbids it.
func RefusedByPolicy(err error) bool {
	return (apierrors.IsInvalid(err) || apierrors.IsForbidden(err)) && strings.Contains(err.Error(), "ValidatingAdmissionPolicy")
}

// DeleteGateway deletes a managed Gateway as it was read.
func (c *Cluster) DeleteGateway(ctx context.Context, stored *unstructured.Unstructured) error {
	uid, version := stored.GetUID(), stored.GetResourceVersion()
	if err := c.client.Delete(ctx, stored, client.Preconditions{UID: &uid, ResourceVersion: &version}); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting Gateway %s: %w", client.ObjectKeyFromObject(stored), err)
	}
	return nil
}

// carried are the stored annotations with the wanted ones in place. A key of ours
// that is no longer wanted goes; others' stay, DNS controllers write some.
func carried(stored, wanted map[string]string) map[string]string {
	kept := merged(stored, wanted)
	for key := range intent.OurKeys(stored, nil) {
		if _, asked := wanted[key]; !asked {
			delete(kept, key)
		}
	}
	return kept
}

func merged(stored, wanted map[string]string) map[string]string {
	all := make(map[string]string, len(stored)+len(wanted))
	for key, value := range stored {
		all[key] = value
	}
	for key, value := range wanted {
		all[key] = value
	}
	return all
}
