package policy

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// steps are why the endpoints in mode Optional could be mutual now, or could not.
type steps map[types.NamespacedName]string

func (r *Reconciler) steps(ctx context.Context) (steps, error) {
	all := &v1alpha1.MutualTLSEndpointList{}
	if err := r.Client.List(ctx, all, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing every MutualTLSEndpoint: %w", err)
	}
	found := steps{}
	for i := range all.Items {
		if e := &all.Items[i]; e.Status.Mode == v1alpha1.ModeOptional {
			found[client.ObjectKeyFromObject(e)] = step(e)
		}
	}
	return found, nil
}

// step is the reason of an endpoint's ReadyForMutual; NotCounted if the agent counts no callers.
func step(e *v1alpha1.MutualTLSEndpoint) string {
	if c := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionReadyForMutual); c != nil {
		return c.Reason
	}
	return v1alpha1.ReasonNotCounted
}

// stepped lets through that an endpoint becomes, ceases to be, or stays optional for another reason.
var stepped = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	before, was := e.ObjectOld.(*v1alpha1.MutualTLSEndpoint)
	after, is := e.ObjectNew.(*v1alpha1.MutualTLSEndpoint)
	return was && is && (before.Status.Mode != after.Status.Mode || step(before) != step(after))
}}
