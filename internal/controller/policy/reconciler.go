package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
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
	// Moved has everything looked at again: Gateways may land elsewhere now.
	Moved <-chan event.GenericEvent
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

// retryEvery is how soon a pass that failed is made again: an exception that ends must not wait for a backoff.
const retryEvery = 5 * time.Second

// Reconcile ends the exceptions whose time is over, and judges everything that is stored by every policy. It is not called
// twice at a time.
func (r *Reconciler) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	now := r.Clock.Now()
	var policies v1alpha1.MutualTLSPolicyList
	if err := r.Client.List(ctx, &policies); err != nil {
		return reconcile.Result{}, fmt.Errorf("listing MutualTLSPolicies: %w", err)
	}
	if len(policies.Items) == 0 {
		return reconcile.Result{}, nil
	}
	slices.SortFunc(policies.Items, func(a, b v1alpha1.MutualTLSPolicy) int { return strings.Compare(a.Name, b.Name) })
	// First of all, and by nothing but the policies and the clock.
	failed := r.endExceptions(ctx, policies.Items, now)
	var next time.Time
	if now.Before(r.next) {
		next = r.next
	} else {
		failed = errors.Join(failed, r.judgeAll(ctx, policies.Items, now))
		end := r.Clock.Now()
		r.next = end.Add(max(passEvery, restFactor*end.Sub(now)))
	}
	if failed != nil {
		if !apierrors.IsConflict(failed) {
			ctrl.LoggerFrom(ctx).Error(failed, "judging by policies")
		}
		next = soonest(next, now.Add(retryEvery))
	}
	for i := range policies.Items {
		next = soonest(next, nextEnd(policies.Items[i].Spec.Exceptions, now))
	}
	return pass.At(next, now), nil
}

// soonest is the sooner of two moments, of which the zero one is none.
func soonest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// endExceptions writes down which exceptions have ended, in policies whose status does not say so.
func (r *Reconciler) endExceptions(ctx context.Context, policies []v1alpha1.MutualTLSPolicy, now time.Time) error {
	var failed error
	for i := range policies {
		policy := &policies[i]
		over := ended(policy.Spec.Exceptions, now)
		if apiequality.Semantic.DeepEqual(policy.Status.EndedExceptions, over) {
			continue
		}
		before := policy.DeepCopy()
		policy.Status.EndedExceptions = over
		if err := r.write(ctx, policy); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		r.announceEnds(before, policy)
	}
	return failed
}

func (r *Reconciler) write(ctx context.Context, policy *v1alpha1.MutualTLSPolicy) error {
	if err := r.Client.Status().Update(ctx, policy, client.FieldOwner(cluster.FieldOwner)); err != nil {
		return fmt.Errorf("writing status of MutualTLSPolicy %s: %w", policy.Name, err)
	}
	return nil
}

// errBehind says that it is not known yet where Gateways land.
var errBehind = errors.New("the Gateways, Services and Pods of the ingresses are not all known yet")

// judgeAll judges everything that is stored by every policy.
func (r *Reconciler) judgeAll(ctx context.Context, policies []v1alpha1.MutualTLSPolicy, now time.Time) error {
	if !r.Synced() {
		return errBehind
	}
	if err := r.watchRoutes(); err != nil {
		return err
	}
	stored, err := r.stored(ctx)
	if err != nil {
		return err
	}
	snapshot, err := r.snapshot(ctx, stored)
	if err != nil {
		return err
	}
	endpoints, err := r.steps(ctx)
	if err != nil {
		return err
	}
	var failed error
	for i := range policies {
		failed = errors.Join(failed, r.tell(ctx, &policies[i], stored, snapshot, endpoints, now))
	}
	return failed
}

// tell writes the status of one policy, if it has changed.
func (r *Reconciler) tell(ctx context.Context, policy *v1alpha1.MutualTLSPolicy, stored []object, snapshot *rules.Snapshot, endpoints steps, now time.Time) error {
	told := policy.DeepCopy()
	found := judge(told, r.DefaultAuthority, stored, snapshot, endpoints)
	found.status(told, r.OptsIn, now)
	if apiequality.Semantic.DeepEqual(policy.Status, told.Status) {
		return nil
	}
	if err := r.write(ctx, told); err != nil {
		return err
	}
	r.announce(policy, told, found)
	return nil
}
