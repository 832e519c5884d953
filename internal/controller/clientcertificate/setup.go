package clientcertificate

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/controller/authority"
	"sallyport.dev/sallyport/internal/controller/pass"
	"sallyport.dev/sallyport/internal/programming"
)

// workers is how many ClientCertificates are reconciled at the same time. Most of them wait
// for the API server, and those of one authority share the writes of its record.
const workers = 64

// SetupWithManager registers the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.ClientCertificate{}, byKey, keysOf); err != nil {
		return fmt.Errorf("indexing ClientCertificates by key: %w", err)
	}
	// The manager runs this when the agent is elected, beside the controller.
	elected := manager.RunnableFunc(func(context.Context) error {
		r.memory.begin(r.Clock.Now())
		return nil
	})
	if err := mgr.Add(elected); err != nil {
		return fmt.Errorf("adding the note of the election: %w", err)
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("clientcertificate").
		For(&v1alpha1.ClientCertificate{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.CertificateAuthority{}, handler.EnqueueRequestsFromMapFunc(r.ofAuthority), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.ofSecret)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(pass.Patient(r))
}

func (r *Reconciler) ofAuthority(ctx context.Context, object client.Object) []reconcile.Request {
	return r.clients(ctx, client.ObjectKeyFromObject(object))
}

// ofSecret finds the caller a Secret was made for, or those of the authority whose
// ledger it is.
func (r *Reconciler) ofSecret(ctx context.Context, object client.Object) []reconcile.Request {
	owner, ours := cluster.OwnerOf(object)
	if !ours {
		return nil
	}
	key := types.NamespacedName{Namespace: owner.Namespace, Name: owner.Name}
	switch {
	case owner.Kind == "ClientCertificate":
		return []reconcile.Request{{NamespacedName: key}}
	case owner.Kind == programming.KindAuthority && cluster.IsLedger(object):
		return r.clients(ctx, key)
	}
	return nil
}

func (r *Reconciler) clients(ctx context.Context, of types.NamespacedName) []reconcile.Request {
	var list v1alpha1.ClientCertificateList
	if err := r.Cluster.Client().List(ctx, &list, client.MatchingFields{authority.ByAuthority: of.String()}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing the ClientCertificates of an authority", "authority", of)
		return nil
	}
	requests := make([]reconcile.Request, len(list.Items))
	for i := range list.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&list.Items[i])
	}
	return requests
}
