package programming

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/mutate"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// leafSettings merge what the object asks for with what its authority prescribes.
// The error is an *issuer.Problem if the authority does not allow it.
func leafSettings(in intent.Intent, is issuer.Issuer, gateway types.NamespacedName) (rotate.LeafSettings, error) {
	spec := is.Object.Spec
	settings := rotate.LeafSettings{
		Lifetime:    spec.ServerCertificates.EffectiveLifetime(),
		RenewBefore: spec.ServerCertificates.EffectiveRenewBefore(),
		Object:      "Gateway/" + gateway.String(),
	}
	if lifetime, asked := in.CertificateLifetime(); asked {
		settings.Lifetime = lifetime
	}
	if tooLong := is.CheckLifetime(settings.Lifetime); tooLong != "" {
		return settings, &issuer.Problem{Reason: v1alpha1.ReasonLifetimeTooLong, Message: tooLong, Lasting: true}
	}
	algorithm, asked := in.KeyAlgorithm()
	if !asked {
		algorithm = string(spec.ServerCertificates.EffectiveKeyAlgorithm())
	}
	var err error
	settings.Algorithm, err = pki.ParseAlgorithm(algorithm)
	return settings, err
}

// material is what is to be stored.
type material struct {
	pair   pki.Pair
	issued rotate.Reason
	next   time.Time
	// held is whether none was issued because somebody else keeps changing the Secret.
	held bool
	// refused is why none may be issued now: the name is another's, or it is asked for too often; nil if it may.
	refused *issuer.Problem
	// replacesGood is whether it was issued in the place of one that callers accept, for want of another.
	replacesGood bool
	// served is whether a server's Secret was written.
	served bool
	// trouble is why there is none that can be served, for people; empty if there is.
	trouble string
}

// materialize keeps a stored pair that is not due, or issues a new one. All ingress
// namespaces get the same pair.
func (p *Programmer) materialize(ctx context.Context, t Target, f facts, now time.Time) (material, error) {
	if len(f.edges) == 0 {
		return material{}, nil
	}
	if f.provided {
		return f.providedMaterial(now), nil
	}
	if f.refused != nil {
		next := now.Add(lookEvery)
		if another := f.nextIssues(); another.After(now) {
			next = first(next, another)
		}
		return material{pair: f.storedPair(), next: next}, nil //nolint:nilerr // it is told in the status
	}
	if m, goesOn := f.handMaterial(now); goesOn {
		return m, nil
	}
	var last rotate.LeafPlan
	for _, e := range f.edges {
		last = rotate.PlanServer(e.stored.Pair, f.hosts, f.settings, f.issuer.Signer, now)
		if e.stored.Unreadable != nil {
			last.Reason = rotate.ReasonUnreadable
		}
		if !last.Issue && e.stored.Pair.Chain().VerifyServer(f.issuer.Published, f.hosts, now) == nil {
			return material{pair: e.stored.Pair, next: last.Next}, nil
		}
	}
	if f.issuer.Withheld != "" {
		return f.withheld(), nil
	}
	if again, held := p.Budget.Hold(f.settings.Object, last, now); held {
		return material{pair: f.storedPair(), next: again}, nil
	}
	for _, e := range f.edges {
		if held, err := p.Cluster.HeldBack(ctx, e.secrets, e.stored, now); err != nil || held {
			return material{held: held}, err
		}
	}
	return p.issueAsked(ctx, t, f, last, now)
}

// issueAsked issues a pair, unless it takes the place of a good one too often.
func (p *Programmer) issueAsked(ctx context.Context, t Target, f facts, plan rotate.LeafPlan, now time.Time) (material, error) {
	replaces := f.replacesGood(plan, now)
	if replaces {
		if until, refused := p.asksTooOften(f, refOf(t), plan, now); refused != nil {
			return material{pair: f.storedPair(), refused: refused, next: until}, nil //nolint:nilerr // it is told in the status
		}
	}
	m, err := p.issueNamed(ctx, t.Endpoint, f, plan, now)
	m.replacesGood = replaces
	return m, err
}

// issueNamed issues a pair for hosts that nobody else takes meanwhile.
func (p *Programmer) issueNamed(ctx context.Context, own types.NamespacedName, f facts, plan rotate.LeafPlan, now time.Time) (material, error) {
	refusal, err := p.names.Take(ctx, p.Cluster.Client(), f.ref, own, f.hosts, now)
	if err != nil {
		return material{}, err
	}
	if refusal.Host != "" {
		return material{pair: f.storedPair(), refused: f.nameInUse(refusal.Host, refusal.Namespace), next: refusal.Until}, nil
	}
	m := f.issue(plan, now)
	if m.issued == "" {
		p.names.Return(f.ref, own, f.hosts)
	}
	return m, nil
}

// withheld is the stored pair, as long as it is, where nothing may be issued: what gateways trust is kept
// current all the same.
func (f facts) withheld() material {
	m := material{pair: f.storedPair()} // looked at again as long as it is withheld
	if m.pair.IsZero() {
		m.trouble = f.issuer.Withheld
	}
	return m
}

// storedPair is a pair that is stored; zero if none is.
func (f facts) storedPair() pki.Pair {
	for _, e := range f.edges {
		if !e.stored.Pair.IsZero() {
			return e.stored.Pair
		}
	}
	return pki.Pair{}
}

// issue issues a new pair. Where that fails, the stored one stays, and what gateways trust is kept current all the same.
func (f facts) issue(plan rotate.LeafPlan, now time.Time) material {
	failed := func(trouble string) material {
		return material{pair: f.storedPair(), trouble: trouble, next: now.Add(lookEvery)}
	}
	if len(f.hosts) > maxHosts {
		return failed(fmt.Sprintf("the server certificate cannot be issued: it would have %d names, at most %d are issued: use wildcards or several Gateways", len(f.hosts), maxHosts))
	}
	pair, err := rotate.MaterializeServer(f.issuer.Signer.For(plan), f.issuer.Published, f.hosts, f.settings, now)
	if err != nil && plan.Before { // such as a host that the CA before may not vouch for: better some callers than none
		pair, err = rotate.MaterializeServer(f.issuer.Signer, f.issuer.Published, f.hosts, f.settings, now)
	}
	if err != nil {
		return failed(fmt.Sprintf("the server certificate cannot be issued: %s", err))
	}
	return material{pair: pair, issued: plan.Reason, next: f.issuer.Signer.RenewalTime(pair.Leaf(), f.settings)}
}

// maxHosts bounds a server certificate, and the endpoint's status holds no more. The
// webhook refuses such a Gateway; it may have been away.
const maxHosts = mutate.MaxHosts

// write stores the material in every ingress namespace, and returns what is stored of it. A name that is taken by
// somebody else's Secret does not keep the others from being served.
func (p *Programmer) write(ctx context.Context, own types.NamespacedName, f *facts, m material, now time.Time) (material, error) {
	for i := range f.edges {
		e := &f.edges[i]
		outcome, err := p.Cluster.WriteEdge(ctx, e.secrets, m.pair, f.trust.Bundle, e.stored, now)
		if err != nil {
			return m, err
		}
		e.taken, e.isTaken = outcome.Foreign(e.secrets)
		m.served = m.served || outcome.Server == cluster.Created || outcome.Server == cluster.Updated
		f.changed, f.taken = f.changed || outcome.Changed(), f.taken || outcome.Adopted
		if e.isTaken && outcome.CA == "" && len(e.stored.Trusted()) > 0 && !f.adoption.offered { // ours beside it is kept current, and no other is made
			if err := p.writeTrusted(ctx, f, e, f.trust.Bundle, now); err != nil {
				return m, err
			}
		}
	}
	if !m.served && m.issued != "" { // its place is somebody else's
		m.issued, m.pair = "", f.storedPair()
		p.names.Return(f.ref, own, f.hosts)
	}
	return m, nil
}

// writeWithoutServer keeps what gateways trust current where there is nothing to be written for the server at present: a CRL waits for
// nobody. Where neither Secret is there yet, none is made: an edge that only trusts is of no use.
func (p *Programmer) writeWithoutServer(ctx context.Context, f *facts, now time.Time) error {
	if f.adoption.offered { // nothing of it is taken over before its server certificate is
		return nil
	}
	for i := range f.edges {
		e := &f.edges[i]
		if len(e.stored.Trusted()) == 0 && e.stored.Pair.IsZero() && e.stored.Unreadable == nil {
			continue
		}
		if err := p.writeTrusted(ctx, f, e, f.trust.Bundle, now); err != nil {
			return err
		}
	}
	return nil
}
