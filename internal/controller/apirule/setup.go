package apirule

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/controller/pass"
	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/internal/programming"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/mutate"
)

// GVK is the version in which APIRules are read.
var GVK = schema.GroupVersionKind{Group: "gateway.kyma-project.io", Version: "v2", Kind: "APIRule"}

// NewObject is an empty APIRule of the version that is read.
func NewObject() *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(GVK)
	return u
}

// workers is how many APIRules are reconciled at the same time.
const workers = 32

// SetupWithManager registers the reconciler. It looks again when an APIRule, a
// Gateway it uses, a Secret behind that, or its authority's ledger changes.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	err := mgr.GetFieldIndexer().IndexField(context.Background(), NewObject(), byGateway, func(o client.Object) []string {
		u, ok := o.(*unstructured.Unstructured)
		if !ok {
			return nil
		}
		namespace, name, named := mutate.GatewayOf(u.Object)
		if !named {
			return nil
		}
		return []string{namespace + "/" + name}
	})
	if err != nil {
		return err
	}
	informer, err := mgr.GetCache().GetInformer(context.Background(), NewObject(), cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watching APIRules: %w", err)
	}
	r.Headers.knownFrom(informer.HasSynced)
	return ctrl.NewControllerManagedBy(mgr).
		Named("apirule").
		For(NewObject()).
		Watches(ingress.NewGatewayObject(), handler.EnqueueRequestsFromMapFunc(r.ofGateway)).
		Watches(&v1alpha1.MutualTLSEndpoint{}, handler.EnqueueRequestsFromMapFunc(r.ofEndpoint)).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.ofSecret)).
		Watches(&v1alpha1.CertificateAuthority{}, handler.EnqueueRequestsFromMapFunc(r.ofAuthority), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(source.Channel(r.Changes.Subscribe(), handler.EnqueueRequestsFromMapFunc(r.ofGateway))).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(pass.Patient(r))
}

// byGateway is the cache's index of APIRules by the Gateway they name.
const byGateway = "sallyport.gateway"

func (r *Reconciler) users(ctx context.Context, gateway types.NamespacedName) []reconcile.Request {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(GVK.GroupVersion().WithKind("APIRuleList"))
	if err := r.Cluster.Client().List(ctx, list, client.MatchingFields{byGateway: gateway.String()}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing the APIRules of a Gateway", "gateway", gateway)
		return nil
	}
	requests := make([]reconcile.Request, len(list.Items))
	for i := range list.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&list.Items[i])
	}
	return requests
}

func (r *Reconciler) ofGateway(ctx context.Context, object client.Object) []reconcile.Request {
	requests := r.users(ctx, client.ObjectKeyFromObject(object))
	if owner, ours := cluster.OwnerOf(object); ours && owner.Kind == string(intent.KindAPIRule) {
		requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: owner.Namespace, Name: owner.Name}})
	}
	return requests
}

// ofEndpoint finds the APIRules that use a Gateway whose standing changed.
func (r *Reconciler) ofEndpoint(ctx context.Context, object client.Object) []reconcile.Request {
	e, ok := object.(*v1alpha1.MutualTLSEndpoint)
	if !ok {
		return nil
	}
	if e.Spec.ObjectRef.Kind == v1alpha1.ObjectAPIRule {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: e.Namespace, Name: e.Spec.ObjectRef.Name}}}
	}
	return r.users(ctx, types.NamespacedName{Namespace: e.Namespace, Name: e.Spec.ObjectRef.Name})
}

// ofSecret finds the APIRules whose managed Gateway a Secret was made for, or those
// that wait for the authority whose ledger it is.
func (r *Reconciler) ofSecret(ctx context.Context, object client.Object) []reconcile.Request {
	owner, ours := cluster.OwnerOf(object)
	if !ours {
		return nil
	}
	key := types.NamespacedName{Namespace: owner.Namespace, Name: owner.Name}
	switch {
	case owner.Kind == string(intent.KindGateway):
		return r.users(ctx, key)
	case owner.Kind == programming.KindAuthority && cluster.IsLedger(object): // not each shard of its serials
		return r.Interests.Of(key)
	}
	return nil
}

func (r *Reconciler) ofAuthority(_ context.Context, object client.Object) []reconcile.Request {
	return r.Interests.Of(client.ObjectKeyFromObject(object))
}
