package rotate

import (
	"fmt"
	"slices"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
)

// LeafSettings are what is asked of a certificate, of a server or a caller.
type LeafSettings struct {
	// Lifetime of each certificate.
	Lifetime time.Duration
	// RenewBefore is the share of its life, in per cent, that a certificate has
	// left when it is renewed.
	RenewBefore int32
	// Algorithm of its key, where the key is made here.
	Algorithm pki.Algorithm
	// Object names what the certificate is for. The jitter is derived from it.
	Object string
}

// LeafPlan says whether to issue a certificate now, and when to look again.
type LeafPlan struct {
	// Issue is whether a new certificate is due.
	Issue bool
	// Reason why, if it is.
	Reason Reason
	// PutOff is until when that can wait, because the stored one is good; zero if it cannot.
	PutOff time.Time
	// Before is whether the generation before issues it, because callers may know that one alone.
	Before bool
	// Next is when the stored certificate becomes due; zero if that depends on its
	// issuer alone, or if one is issued now.
	Next time.Time
}

func issueNow(reason Reason) LeafPlan { return LeafPlan{Issue: true, Reason: reason} }

// PlanServer judges the stored pair of a server that serves hosts, sorted. A zero
// pair is a missing one.
func PlanServer(stored pki.Pair, hosts []string, s LeafSettings, signer Signer, now time.Time) LeafPlan {
	anew := func(reason Reason) LeafPlan {
		plan := issueNow(reason)
		plan.Before = signer.Unvouched && signer.Before != nil && (stored.IsZero() || signer.unvouched(stored.Leaf()))
		return plan
	}
	switch {
	case stored.IsZero():
		return anew(ReasonMissing)
	case !sameNames(stored.Leaf().X509().DNSNames, hosts):
		return anew(ReasonNames)
	case stored.Key().Algorithm() != s.Algorithm:
		return anew(ReasonKey)
	case signer.unvouched(stored.Leaf()):
		return planUnvouched(stored.Leaf(), now)
	}
	return planChain(stored.Chain(), planLeaf(stored.Leaf(), s, signer, now), s, signer, now)
}

// For is who issues what is planned for a server.
func (s Signer) For(plan LeafPlan) Signer {
	if plan.Before {
		return *s.Before
	}
	return s
}

// planChain has a server's certificate issued again if other certificates belong beside it
// than there are. One that has ended does no harm to most callers: it goes at a moment of the
// object's own.
func planChain(stored pki.Chain, plan LeafPlan, s LeafSettings, signer Signer, now time.Time) LeafPlan {
	if plan.Issue || !signedBy(stored.Leaf(), signer.Authority.Certificate()) ||
		slices.EqualFunc(stored.Above(), signer.Authority.Above(), pki.Certificate.Equal) {
		return plan
	}
	due := now
	if above := stored.Above(); len(above) > 0 && len(signer.Authority.Above()) == 0 && above[0].NotAfter().Before(now) {
		due = above[0].NotAfter().Add(spread(s.Object, s.Lifetime/spreadDivisor))
	}
	if !now.Before(due) {
		return LeafPlan{Issue: true, Reason: ReasonChain, PutOff: validity{stored.Leaf().NotBefore(), stored.Leaf().NotAfter()}.putOff()}
	}
	return LeafPlan{Next: earlier(plan.Next, due)}
}

// ClientNames are the names in a caller's certificate.
type ClientNames struct {
	// CommonName of the subject.
	CommonName string
	// Identity is the URI.
	Identity string
	// DNSNames, sorted.
	DNSNames []string
}

// PlanClient judges the stored pair of a caller whose key is made here.
func PlanClient(stored pki.Pair, names ClientNames, s LeafSettings, signer Signer, now time.Time) LeafPlan {
	switch {
	case stored.IsZero():
		return issueNow(ReasonMissing)
	case !names.in(stored.Leaf()):
		return issueNow(ReasonNames)
	case stored.Key().Algorithm() != s.Algorithm:
		return issueNow(ReasonKey)
	}
	return planLeaf(stored.Leaf(), s, signer, now)
}

// PlanClientFor judges the stored chain of a caller that keeps its own key.
func PlanClientFor(stored pki.Chain, csr pki.CertificateRequest, names ClientNames, s LeafSettings, signer Signer, now time.Time) LeafPlan {
	switch {
	case stored.Leaf().IsZero():
		return issueNow(ReasonMissing)
	case !csr.Certifies(stored.Leaf()):
		return issueNow(ReasonKey)
	case !names.in(stored.Leaf()):
		return issueNow(ReasonNames)
	}
	return planLeaf(stored.Leaf(), s, signer, now)
}

func (n ClientNames) in(leaf pki.Certificate) bool {
	parsed := leaf.X509()
	return parsed.Subject.CommonName == n.CommonName && len(parsed.URIs) == 1 && parsed.URIs[0].String() == n.Identity &&
		sameNames(parsed.DNSNames, n.DNSNames)
}

func sameNames(found, wanted []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(found)), slices.Sorted(slices.Values(wanted)))
}

// planLeaf judges what servers and callers have in common: the issuer, the
// lifetime, and the time.
func planLeaf(leaf pki.Certificate, s LeafSettings, signer Signer, now time.Time) LeafPlan {
	span, ca := validity{leaf.NotBefore(), leaf.NotAfter()}, signer.Authority.Certificate()
	if signedBy(leaf, ca) {
		return planValidity(span, s, ca, now)
	}
	for _, before := range signer.Good {
		if signedBy(leaf, before) {
			return planSuperseded(span, s, before, signer, now)
		}
	}
	return issueNow(ReasonIssuer)
}

func signedBy(leaf, ca pki.Certificate) bool {
	return leaf.AuthorityKeyID() == ca.SubjectKeyID() && leaf.X509().CheckSignatureFrom(ca.X509()) == nil
}

// spreadDivisor: what a new generation has to sign again is spread over a tenth of a
// certificate's life, so that it does not all come at once.
const spreadDivisor = 10

// planSuperseded judges a certificate of the generation before, which is as good: it is issued
// again within a while, each at a moment of its own.
func planSuperseded(v validity, s LeafSettings, before pki.Certificate, signer Signer, now time.Time) LeafPlan {
	plan := planValidity(v, s, before, now)
	if plan.Issue {
		return plan
	}
	since := signer.Generation.Since
	due := since.Add(spread(s.Object, min(s.Lifetime/spreadDivisor, v.notAfter.Sub(since)/2)))
	if !now.Before(due) {
		return LeafPlan{Issue: true, Reason: ReasonIssuer, PutOff: v.putOff()}
	}
	return LeafPlan{Next: earlier(plan.Next, due)}
}

// putOff is until when the replacement of a good certificate can wait: until it has a tenth of its life left.
func (v validity) putOff() time.Time {
	return v.notAfter.Add(-v.notAfter.Sub(v.notBefore) / gainDivisor)
}

// validity is the span of time in which a certificate is valid.
type validity struct{ notBefore, notAfter time.Time }

func planValidity(v validity, s LeafSettings, ca pki.Certificate, now time.Time) LeafPlan {
	if otherLifetime(v, s.Lifetime, ca) {
		return issueNow(ReasonLifetime)
	}
	if now.After(v.notAfter) {
		return issueNow(ReasonDue)
	}
	if !v.notAfter.Before(ca.NotAfter()) {
		return LeafPlan{} // its issuer ends with it: there is nothing to gain
	}
	least := s.Lifetime / gainDivisor
	due := maxTime(v.renewal(s), v.notAfter.Add(least-s.Lifetime))
	if now.Before(due) {
		return LeafPlan{Next: due}
	}
	return LeafPlan{Issue: true, Reason: ReasonDue, PutOff: v.putOff()}
}

// ToldLeaf is what was told of a certificate that is not at hand.
type ToldLeaf struct {
	// NotBefore and NotAfter bound its validity.
	NotBefore, NotAfter time.Time
	// AuthorityKeyID is the key id of its issuer, in lower-case hexadecimal.
	AuthorityKeyID string
}

// PlanTold judges a certificate by what was told of it. Only a plan to issue can be
// relied on: that nothing is due, the certificate itself has to show.
func PlanTold(told ToldLeaf, s LeafSettings, signer Signer, now time.Time) LeafPlan {
	span := validity{told.NotBefore, told.NotAfter}
	if ca := signer.Authority.Certificate(); told.AuthorityKeyID == ca.SubjectKeyID() {
		return planValidity(span, s, ca, now)
	}
	for _, before := range signer.Good {
		if told.AuthorityKeyID == before.SubjectKeyID() {
			return planSuperseded(span, s, before, signer, now)
		}
	}
	return issueNow(ReasonIssuer)
}

// gainDivisor: a renewal is put off until it gains a tenth of the lifetime. The last
// one under an issuer may gain less, because the issuer's end cuts it: without it the
// edge would be down between the end of a certificate and that of its issuer.
const gainDivisor = 10

// RenewalTime is when the certificate is renewed: RenewBefore per cent of its life
// before its end, and a jitter derived from the object earlier.
func RenewalTime(leaf pki.Certificate, s LeafSettings) time.Time {
	return validity{leaf.NotBefore(), leaf.NotAfter()}.renewal(s)
}

func (v validity) renewal(s LeafSettings) time.Time {
	life := v.notAfter.Sub(v.notBefore)
	before := time.Duration(float64(life) * float64(s.RenewBefore) / 100)
	return v.notAfter.Add(-before - jitter(s.Object, life))
}

// lifetimeSlack is what rounding to whole seconds, and the time between reading
// the clock and signing, can make of a difference.
const lifetimeSlack = 3 * time.Second

// otherLifetime reports whether a leaf was issued for another lifetime than the
// one asked for. What its issuer's own validity cut off does not count.
func otherLifetime(v validity, lifetime time.Duration, ca pki.Certificate) bool {
	least := -lifetimeSlack
	if !v.notBefore.After(ca.NotBefore()) {
		least -= pki.Backdate(lifetime)
	}
	difference := v.notAfter.Sub(v.notBefore) - lifetime - pki.Backdate(lifetime)
	cutShort := !v.notAfter.Before(ca.NotAfter())
	return difference > lifetimeSlack || (difference < least && !cutShort)
}

// MaterializeServer issues a server certificate with a new key, and verifies it as every
// caller would: one that trusts the bundle, and those that know one generation alone.
func MaterializeServer(signer Signer, trusted pki.Bundle, hosts []string, s LeafSettings, now time.Time) (pki.Pair, error) {
	key, err := pki.GenerateKey(s.Algorithm)
	if err != nil {
		return pki.Pair{}, err
	}
	pair, err := signer.Authority.IssueServer(pki.ServerRequest{Hosts: hosts, Key: key, Lifetime: s.Lifetime}, now)
	if err != nil {
		return pki.Pair{}, err
	}
	held, err := signer.heldAlone(now)
	if err != nil {
		return pki.Pair{}, err
	}
	return reread(pair, func(c pki.Chain) error {
		for _, bundle := range append(held, trusted) {
			if err := c.VerifyServer(bundle, hosts, now); err != nil {
				return err
			}
		}
		return nil
	})
}

// MaterializeClient issues a client certificate with a new key, and verifies it as
// a gateway would that trusts the bundle.
func MaterializeClient(signer Signer, trusted pki.Bundle, names ClientNames, s LeafSettings, now time.Time) (pki.Pair, error) {
	key, err := pki.GenerateKey(s.Algorithm)
	if err != nil {
		return pki.Pair{}, err
	}
	pair, err := signer.Authority.IssueClient(names.request(s), key, now)
	if err != nil {
		return pki.Pair{}, err
	}
	return reread(pair, func(c pki.Chain) error { return c.VerifyClient(trusted, now) })
}

// MaterializeClientFor issues a client certificate for the key of a certificate
// request, and verifies it likewise.
func MaterializeClientFor(signer Signer, trusted pki.Bundle, csr pki.CertificateRequest, names ClientNames, s LeafSettings, now time.Time) (pki.Chain, error) {
	chain, err := signer.Authority.IssueClientFor(names.request(s), csr, now)
	if err != nil {
		return pki.Chain{}, err
	}
	stored, err := pki.ParseChain(chain.PEM())
	if err != nil {
		return pki.Chain{}, fmt.Errorf("reading back what was issued: %w", err)
	}
	return stored, stored.VerifyClient(trusted, now)
}

func (n ClientNames) request(s LeafSettings) pki.ClientRequest {
	return pki.ClientRequest{CommonName: n.CommonName, Identity: n.Identity, DNSNames: n.DNSNames, Lifetime: s.Lifetime}
}

// reread parses the pair from the bytes that will be stored, and judges that.
func reread(pair pki.Pair, verify func(pki.Chain) error) (pki.Pair, error) {
	stored, err := pki.ParsePair(pair.CertificatePEM(), pair.KeyPEM())
	if err != nil {
		return pki.Pair{}, fmt.Errorf("reading back what was issued: %w", err)
	}
	return stored, verify(stored.Chain())
}

func maxTime(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
