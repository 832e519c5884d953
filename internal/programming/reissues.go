package programming

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// What is asked of a Gateway may change so often that its good certificate is replaced at once. Beyond that one comes each
// pause: each is pushed to every replica.
const (
	freelyReissued = 16
	reissuePause   = time.Minute
)

// reissues count the certificates that replaced good ones because something else was asked for. They are memory, not state: an agent
// that begins counts anew. The zero value is ready to use, and safe for concurrent use.
type reissues struct {
	mu sync.Mutex
	of map[types.NamespacedName]*rate.Limiter
}

// take counts one more for a Gateway, or says until when it waits; the zero time if it does not.
func (r *reissues) take(gateway types.NamespacedName, now time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	limiter, known := r.of[gateway]
	if !known {
		if r.of == nil {
			r.of = map[types.NamespacedName]*rate.Limiter{}
		}
		limiter = rate.NewLimiter(rate.Every(reissuePause), freelyReissued)
		r.of[gateway] = limiter
	}
	turn := limiter.ReserveN(now, 1)
	wait := turn.DelayFrom(now)
	if wait == 0 {
		return time.Time{}
	}
	turn.CancelAt(now)
	return now.Add(wait)
}

// forget drops what is remembered of a Gateway that is no more.
func (r *reissues) forget(gateway types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.of, gateway)
}

// asksTooOften says until when a Gateway waits for what its annotations and hosts ask for, and why; the zero time if it does not. What
// time or its CA makes due is never held up, nor counted, nor what replaces a certificate that callers do not accept.
func (p *Programmer) asksTooOften(f facts, gateway types.NamespacedName, plan rotate.LeafPlan, now time.Time) (time.Time, *issuer.Problem) {
	stored := f.storedPair()
	if plan.Reason != rotate.ReasonNames && plan.Reason != rotate.ReasonKey && plan.Reason != rotate.ReasonLifetime || !f.isGood(stored, now) {
		return time.Time{}, nil
	}
	until := p.reissues.take(gateway, now)
	if until.IsZero() {
		return until, nil
	}
	return until, &issuer.Problem{Reason: v1alpha1.ReasonIssuedTooOften, Message: fmt.Sprintf(
		"the next server certificate is issued at %s, because %d others were asked for before (%s): find out who keeps changing hosts or annotations of this Gateway; the one before is served until then",
		until.UTC().Format(time.RFC3339), freelyReissued, plan.Reason)}
}

// isGood reports whether callers accept a certificate, of whichever hosts.
func (f facts) isGood(pair pki.Pair, now time.Time) bool {
	return !pair.IsZero() && pair.Chain().VerifyServer(f.issuer.Published, pair.Leaf().X509().DNSNames, now) == nil
}
