package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/controller/pass"
	rules "sallyport.dev/sallyport/pkg/policy"
)

// Reconciler reconciles all MutualTLSPolicies in one pass: each looks at the same objects.
type Reconciler struct {
	// Client reads what is watched, and writes status.
	Client client.Client
	// Edge says where Gateways land, and Synced whether it knows everything.
	Edge   Topology
	Synced func() bool
	// DefaultAuthority is that of objects that name none, <namespace>/<name>; empty if the platform has none.
	DefaultAuthority string
	// OptsIn is whether the install opts objects in for policies that ask for it.
	OptsIn bool
	// Clock is read once in each pass.
	Clock clock.PassiveClock
	// Recorder takes an event for each violation that is new in a status.
	Recorder events.EventRecorder

	manager    manager.Manager
	controller controller.Controller
	// watchesRoutes is whether VirtualServices are watched: only where there is a policy.
	watchesRoutes bool
	// next is when the next pass may begin.
	next time.Time
}

// passEvery is the least time between two passes, so that what changes together is looked at together; or restFactor
// times as long as the last one took, so that in a large cluster in which much changes most of the time goes to others.
const (
	passEvery  = 500 * time.Millisecond
	restFactor = 10
)

// Reconcile judges everything that is stored by every policy. It is not called twice at a time.
func (r *Reconciler) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	now := r.Clock.Now()
	if now.Before(r.next) {
		return reconcile.Result{RequeueAfter: r.next.Sub(now)}, nil
	}
	defer func() {
		end := r.Clock.Now()
		r.next = end.Add(max(passEvery, restFactor*end.Sub(now)))
	}()
	return r.judgeAll(ctx, now)
}

// judgeAll is one pass.
func (r *Reconciler) judgeAll(ctx context.Context, now time.Time) (reconcile.Result, error) {
	var policies v1alpha1.MutualTLSPolicyList
	if err := r.Client.List(ctx, &policies); err != nil {
		return reconcile.Result{}, fmt.Errorf("listing MutualTLSPolicies: %w", err)
	}
	if len(policies.Items) == 0 {
		return reconcile.Result{}, nil
	}
	if !r.Synced() {
		return reconcile.Result{RequeueAfter: passEvery}, nil
	}
	if err := r.watchRoutes(); err != nil {
		return reconcile.Result{}, err
	}
	stored, err := r.stored(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	snapshot, err := r.snapshot(ctx, stored)
	if err != nil {
		return reconcile.Result{}, err
	}
	slices.SortFunc(policies.Items, func(a, b v1alpha1.MutualTLSPolicy) int { return strings.Compare(a.Name, b.Name) })
	var next time.Time
	var failed error
	for i := range policies.Items {
		policy := &policies.Items[i]
		if end := nextEnd(policy.Spec.Exceptions, now); !end.IsZero() && (next.IsZero() || end.Before(next)) {
			next = end
		}
		failed = errors.Join(failed, r.tell(ctx, policy, stored, snapshot, now))
	}
	if failed != nil {
		return pass.Again(failed)
	}
	return pass.At(next, now), nil
}

// tell writes the status of one policy, if it has changed.
func (r *Reconciler) tell(ctx context.Context, policy *v1alpha1.MutualTLSPolicy, stored []object, snapshot *rules.Snapshot, now time.Time) error {
	if policy.DeletionTimestamp != nil {
		return nil
	}
	told := policy.DeepCopy()
	told.Status.EndedExceptions = ended(policy.Spec.Exceptions, now)
	found := judge(told, r.DefaultAuthority, stored, snapshot)
	found.status(told, r.OptsIn, now)
	if apiequality.Semantic.DeepEqual(policy.Status, told.Status) {
		return nil
	}
	if err := r.Client.Status().Update(ctx, told, client.FieldOwner(cluster.FieldOwner)); err != nil {
		return fmt.Errorf("writing status of MutualTLSPolicy %s: %w", policy.Name, err)
	}
	r.announce(policy, told, found)
	return nil
}
