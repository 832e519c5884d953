package policy

import (
	"context"
	"fmt"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/condition"
)

// Reconciler reconciles MutualTLSPolicies.
type Reconciler struct {
	// Client reads and writes them.
	Client client.Client
	// Clock is read once in each pass.
	Clock clock.PassiveClock
}

// SetupWithManager registers the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("policy").
		For(&v1alpha1.MutualTLSPolicy{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Complete(r)
}

// Reconcile says of one policy that it is not enforced.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	policy := &v1alpha1.MutualTLSPolicy{}
	if err := r.Client.Get(ctx, request.NamespacedName, policy); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	told := policy.DeepCopy()
	told.Status.Conditions = condition.Update(policy.Status.Conditions, policy.Generation, r.Clock.Now(), condition.False(
		v1alpha1.ConditionReady, v1alpha1.ReasonNotSupported,
		"this version of Sallyport does not enforce policies: nothing is denied, warned of or audited because of this one"))
	if apiequality.Semantic.DeepEqual(policy.Status, told.Status) {
		return reconcile.Result{}, nil
	}
	if err := r.Client.Status().Update(ctx, told, client.FieldOwner(cluster.FieldOwner)); err != nil {
		return reconcile.Result{}, fmt.Errorf("writing status of MutualTLSPolicy %s: %w", policy.Name, err)
	}
	return reconcile.Result{}, nil
}
