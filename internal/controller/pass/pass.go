// Package pass ends a pass of a reconciler: it says when the next one is due.
//
// It refuses to know what was reconciled.
package pass

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"sallyport.dev/sallyport/internal/caughtup"
)

// conflictDelay gives the cache the time to catch up.
const conflictDelay = 100 * time.Millisecond

// Again ends a pass that was not finished. A lost race is no failure: somebody was
// faster, or the cache is behind, and the next pass sees what there is. Without an
// error the pass is made again just so.
func Again(err error) (reconcile.Result, error) {
	if err == nil || apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return reconcile.Result{RequeueAfter: conflictDelay}, nil
	}
	return reconcile.Result{}, err
}

// At ends a pass after which something is due at an instant; nothing is, if it is
// zero.
func At(next, now time.Time) reconcile.Result {
	if next.IsZero() {
		return reconcile.Result{}
	}
	return reconcile.Result{RequeueAfter: max(next.Sub(now), time.Millisecond)}
}

// Sooner is a result with another look after a while, if that comes first; zero is never.
func Sooner(result reconcile.Result, wait time.Duration) reconcile.Result {
	if wait > 0 && (result.RequeueAfter == 0 || wait < result.RequeueAfter) {
		result.RequeueAfter = wait
	}
	return result
}

// behindDelay is how long a cache takes to show a write, mostly.
const behindDelay = 10 * time.Millisecond

// Patient makes a pass again that found the cache behind the agent's own last write.
func Patient(r reconcile.Reconciler) reconcile.Reconciler {
	return reconcile.Func(func(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
		result, err := r.Reconcile(ctx, request)
		if errors.Is(err, caughtup.ErrBehind) {
			return reconcile.Result{RequeueAfter: behindDelay}, nil
		}
		return result, err
	})
}
