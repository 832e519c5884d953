package programming

import (
	"fmt"
	"maps"
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
	// of has who may have one less than freely many now, also if the Gateway is gone: who deletes it and makes it again is no other.
	of map[types.NamespacedName]*rate.Limiter
	// swept is when those were looked through last who may have freely many again.
	swept time.Time
}

// next is when a Gateway may have the next one; not after now if it may.
func (r *reissues) next(gateway types.NamespacedName, now time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	limiter, known := r.of[gateway]
	if !known {
		return now
	}
	turn := limiter.ReserveN(now, 1)
	defer turn.CancelAt(now)
	return now.Add(turn.DelayFrom(now))
}

// count counts one that was issued.
func (r *reissues) count(gateway types.NamespacedName, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[types.NamespacedName]*rate.Limiter{}
	}
	if now.Sub(r.swept).Abs() >= reissuePause {
		r.swept = now
		maps.DeleteFunc(r.of, func(_ types.NamespacedName, l *rate.Limiter) bool { return l.TokensAt(now) >= freelyReissued })
	}
	limiter, known := r.of[gateway]
	if !known {
		limiter = rate.NewLimiter(rate.Every(reissuePause), freelyReissued)
		r.of[gateway] = limiter
	}
	limiter.AllowN(now, 1)
}

// replacesGood reports whether a plan to issue replaces a certificate that callers accept because something else is asked for. What time
// or a CA makes due does not.
func (f facts) replacesGood(plan rotate.LeafPlan, now time.Time) bool {
	return (plan.Reason == rotate.ReasonNames || plan.Reason == rotate.ReasonKey || plan.Reason == rotate.ReasonLifetime) && f.isGood(f.storedPair(), now)
}

// asksTooOften says until when a Gateway waits for another certificate in the place of a good one, and why; nil if it does not. It
// never waits until after that has ended.
func (p *Programmer) asksTooOften(f facts, gateway types.NamespacedName, plan rotate.LeafPlan, now time.Time) (time.Time, *issuer.Problem) {
	until := p.reissues.next(gateway, now)
	if !until.After(now) || !until.Before(f.storedPair().Leaf().NotAfter()) {
		return time.Time{}, nil
	}
	return until, &issuer.Problem{Reason: v1alpha1.ReasonIssuedTooOften, Message: fmt.Sprintf(
		"the next server certificate is issued at %s, because %d others were asked for before (%s): find out who keeps changing hosts or annotations of this Gateway; the one before is served until then",
		until.UTC().Format(time.RFC3339), freelyReissued, plan.Reason)}
}

// countReissue counts what was issued and stored, though it be in one place of several.
func (p *Programmer) countReissue(t Target, m material, now time.Time) {
	if m.issued != "" && m.replacesGood && m.served {
		p.reissues.count(refOf(t), now)
	}
}

// isGood reports whether callers accept a certificate, of whichever hosts.
func (f facts) isGood(pair pki.Pair, now time.Time) bool {
	return !pair.IsZero() && pair.Chain().VerifyServer(f.issuer.Published, pair.Leaf().X509().DNSNames, now) == nil
}
