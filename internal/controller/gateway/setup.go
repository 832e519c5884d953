package gateway

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
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
)

// workers is how many Gateways are reconciled at the same time.
const workers = 32

// SetupWithManager registers the reconciler. It looks again when a Gateway, one of
// its Secrets, its authority's ledger, or the Gateways that share its hosts change.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("gateway").
		For(ingress.NewGatewayObject()).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.ofSecret)).
		Watches(&v1alpha1.CertificateAuthority{}, handler.EnqueueRequestsFromMapFunc(r.ofAuthority), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(source.Channel(r.Changes.Subscribe(), &handler.EnqueueRequestForObject{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(pass.Patient(r))
}

// ofSecret finds the Gateway that a Secret was made for, or those that wait for the
// authority whose ledger it is.
func (r *Reconciler) ofSecret(_ context.Context, object client.Object) []reconcile.Request {
	owner, ours := cluster.OwnerOf(object)
	if !ours {
		return nil
	}
	key := types.NamespacedName{Namespace: owner.Namespace, Name: owner.Name}
	switch {
	case owner.Kind == string(intent.KindGateway):
		return []reconcile.Request{{NamespacedName: key}}
	case owner.Kind == programming.KindAuthority && cluster.IsLedger(object): // not each shard of its serials
		return r.Interests.Of(key)
	}
	return nil
}

func (r *Reconciler) ofAuthority(_ context.Context, object client.Object) []reconcile.Request {
	return r.Interests.Of(client.ObjectKeyFromObject(object))
}
