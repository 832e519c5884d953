package programming

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/condition"
	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/mutate"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// trust is what a Gateway trusts.
type trust struct {
	issuer.Trust
	// foreign is whether any of its authorities names CAs of others.
	foreign bool
	// namedBy is what tells callers apart by name, so that the CAs of others are left out: each of
	// them can mint any name. Empty if nothing does.
	namedBy string
	// unknown is why it cannot be found out if anything does, empty if it can. They stay as they are then.
	unknown string
}

// headersEvery is how often to look whether workloads are still told who called.
const headersEvery = time.Minute

// headersPatience is how long a Gateway waits until it is known whether a workload is told who called.
const headersPatience = time.Minute

// gatherTrust finds out what a Gateway is to trust: all that its authorities do, the one that issues first. It waits where it
// is not known yet whether a workload is told who called: the CAs of others are not let in before, nor thrown out.
func (p *Programmer) gatherTrust(ctx context.Context, t Target, f *facts, now time.Time) error {
	f.trust.foreign = slices.ContainsFunc(f.authorities, func(a accepted) bool { return a.problem == nil && len(a.Object.Spec.TrustedCertificates) > 0 })
	if f.trust.foreign || len(f.adoption.made) > 0 {
		if err := p.gatherNames(ctx, t, f, now); err != nil || f.waiting {
			return err
		}
	}
	for n := range f.authorities {
		a := &f.authorities[n]
		if a.problem != nil {
			f.trust.Bundle = f.keep(*a, now)
			continue
		}
		found, err := p.trustOf(ctx, f, a.Issuer, now)
		if err != nil {
			return err
		}
		f.trust.Others, f.trust.Next = append(f.trust.Others, found.Others...), first(f.trust.Next, found.Next)
		if f.trust.Bundle.IsZero() {
			f.trust.Bundle = found.Bundle
			continue
		}
		f.trust.Bundle, a.problem = a.beside(f.trust.Bundle, found.Bundle, now)
	}
	f.trustAdopted(now)
	if !f.trust.Bundle.IsZero() {
		return nil
	}
	return p.trustNobody(f, now)
}

// trustOf is what gateways trust for one authority.
func (p *Programmer) trustOf(ctx context.Context, f *facts, i issuer.Issuer, now time.Time) (issuer.Trust, error) {
	switch {
	case f.trust.namedBy != "":
		return issuer.Trust{Bundle: i.Bundle}, nil
	case f.trust.unknown != "":
		return issuer.TrustSome(ctx, p.Cluster, i.Object, i.Ledger, i.Bundle, f.stored, now)
	}
	return issuer.TrustOf(ctx, p.Cluster, i.Object, i.Ledger, i.Bundle, now)
}

// gatherNames finds out whether anything tells callers apart by name. Where that cannot be found out for
// a while, CAs of others stay that gateways trust already, and the rest goes on.
func (p *Programmer) gatherNames(ctx context.Context, t Target, f *facts, now time.Time) error {
	if len(t.Intent.AllowedClients()) > 0 || mutate.NamesCallers(t.Gateway) {
		f.trust.namedBy = intent.KeyAllowedClients
		return nil
	}
	gateway := ingress.GatewayFrom(t.Gateway)
	told, known, err := p.Headers.Tell(ctx, gateway.Ref())
	if err != nil {
		return err
	}
	if waits := p.patience.waits(known, now); !known && waits && !t.Kept {
		f.waiting = true
		return nil
	}
	if told || len(t.Intent.ClientHeaders()) > 0 {
		f.trust.namedBy = intent.KeyClientHeaders
		f.trust.Next = now.Add(headersEvery)
		return nil
	}
	switch {
	case t.Kept:
		f.trust.unknown = "the annotations of the Gateway cannot be read"
	case !known:
		f.trust.unknown, f.trust.Next = "APIRules cannot be read", now.Add(headersPatience)
	}
	return nil
}

// stored reports whether gateways trust all CAs of an entry by what is stored.
func (f *facts) stored(t rotate.TrustedCertificate) bool {
	for _, entry := range t.Entries {
		if slices.ContainsFunc(f.edges, func(e edge) bool { return !e.stored.Trusts(entry.CA) }) {
			return false
		}
	}
	return true
}

// patience remembers since when something is not known.
type patience struct {
	mu    sync.Mutex
	since time.Time
}

// waits reports whether it is worth to wait for it any longer.
func (p *patience) waits(known bool, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known {
		p.since = time.Time{}
		return false
	}
	if p.since.IsZero() {
		p.since = now
	}
	return now.Before(p.since.Add(headersPatience))
}

// trustNobody decides about a Gateway that has nobody to trust. Where the CAs that it has must not be trusted it
// refuses everybody. Where they cannot be read or have ended it goes on with what it has.
func (p *Programmer) trustNobody(f *facts, now time.Time) error {
	compromised := slices.ContainsFunc(f.trust.Others, func(s rotate.Standing) bool { return errors.Is(s.LeftOut, rotate.ErrCompromised) })
	problem := &issuer.Problem{Reason: v1alpha1.ReasonLeftOut, Message: fmt.Sprintf(
		"CertificateAuthority %s has no CA that gateways can trust now: see its status.trustedCertificates", f.ref)}
	if f.trust.namedBy != "" {
		problem = &issuer.Problem{Reason: v1alpha1.ReasonForeignAuthorityNotAllowed, Lasting: true, Message: fmt.Sprintf(
			"CertificateAuthority %s trusts CAs of others only, and %s goes by names, which a foreign CA can mint: every caller is refused; take it off, or name another authority", f.ref, f.trust.namedBy)}
	} else if !compromised {
		return problem
	}
	var err error
	f.refused = problem
	f.trust.Bundle, err = p.nobody.bundle(now)
	return err
}

// nobody is what a Gateway trusts that must refuse everybody, the same for all as long as the agent runs.
type nobody struct {
	mu   sync.Mutex
	made pki.Bundle
}

func (n *nobody) bundle(now time.Time) (pki.Bundle, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.made.IsZero() && now.Before(n.made.Certificates()[0].NotAfter()) {
		return n.made, nil
	}
	var err error
	n.made, err = pki.TrustNobody(now)
	return n.made, err
}

// condition tells how the CAs of others stand; false if there are none.
func (t trust) condition() (metav1.Condition, bool) {
	const kind = v1alpha1.ConditionTrustedCertificatesCurrent
	if !t.foreign {
		return metav1.Condition{}, false
	}
	if t.unknown != "" {
		return condition.Unknown(kind, v1alpha1.ReasonPending,
			t.unknown+", so it is not known whether a workload is told who called: of the authority's spec.trustedCertificates gateways go on with those that they trust already"), true
	}
	if t.namedBy != "" {
		return condition.False(kind, v1alpha1.ReasonForeignAuthorityNotAllowed,
			"callers of the authority's spec.trustedCertificates are refused here: "+t.namedBy+" goes by names, and a foreign CA can mint any name; take it off, or name an authority without trustedCertificates"), true
	}
	return condition.True(kind, v1alpha1.ReasonTrusted, "gateways trust what the authority's status.trustedCertificates tells"), true
}
