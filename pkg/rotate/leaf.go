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
	// Next is when the stored certificate becomes due; zero if that depends on its
	// issuer alone, or if one is issued now.
	Next time.Time
}

func issueNow(reason Reason) LeafPlan { return LeafPlan{Issue: true, Reason: reason} }

// PlanServer judges the stored pair of a server that serves hosts, sorted. A zero
// pair is a missing one.
func PlanServer(stored pki.Pair, hosts []string, s LeafSettings, issuer pki.Authority, now time.Time) LeafPlan {
	switch {
	case stored.IsZero():
		return issueNow(ReasonMissing)
	case !sameNames(stored.Leaf().X509().DNSNames, hosts):
		return issueNow(ReasonNames)
	case stored.Key().Algorithm() != s.Algorithm:
		return issueNow(ReasonKey)
	}
	return planLeaf(stored.Leaf(), s, issuer, now)
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
func PlanClient(stored pki.Pair, names ClientNames, s LeafSettings, issuer pki.Authority, now time.Time) LeafPlan {
	switch {
	case stored.IsZero():
		return issueNow(ReasonMissing)
	case !names.in(stored.Leaf()):
		return issueNow(ReasonNames)
	case stored.Key().Algorithm() != s.Algorithm:
		return issueNow(ReasonKey)
	}
	return planLeaf(stored.Leaf(), s, issuer, now)
}

// PlanClientFor judges the stored chain of a caller that keeps its own key.
func PlanClientFor(stored pki.Chain, csr pki.CertificateRequest, names ClientNames, s LeafSettings, issuer pki.Authority, now time.Time) LeafPlan {
	switch {
	case stored.Leaf().IsZero():
		return issueNow(ReasonMissing)
	case !csr.Certifies(stored.Leaf()):
		return issueNow(ReasonKey)
	case !names.in(stored.Leaf()):
		return issueNow(ReasonNames)
	}
	return planLeaf(stored.Leaf(), s, issuer, now)
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
func planLeaf(leaf pki.Certificate, s LeafSettings, issuer pki.Authority, now time.Time) LeafPlan {
	ca := issuer.Certificate()
	if leaf.AuthorityKeyID() != ca.SubjectKeyID() || leaf.X509().CheckSignatureFrom(ca.X509()) != nil {
		return issueNow(ReasonIssuer)
	}
	return planValidity(validity{leaf.NotBefore(), leaf.NotAfter()}, s, ca, now)
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
	return issueNow(ReasonDue)
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
func PlanTold(told ToldLeaf, s LeafSettings, issuer pki.Authority, now time.Time) LeafPlan {
	ca := issuer.Certificate()
	if told.AuthorityKeyID != ca.SubjectKeyID() {
		return issueNow(ReasonIssuer)
	}
	return planValidity(validity{told.NotBefore, told.NotAfter}, s, ca, now)
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

// MaterializeServer issues a server certificate with a new key, and verifies it as
// a caller would that trusts the bundle.
func MaterializeServer(issuer pki.Authority, trusted pki.Bundle, hosts []string, s LeafSettings, now time.Time) (pki.Pair, error) {
	key, err := pki.GenerateKey(s.Algorithm)
	if err != nil {
		return pki.Pair{}, err
	}
	pair, err := issuer.IssueServer(pki.ServerRequest{Hosts: hosts, Key: key, Lifetime: s.Lifetime}, now)
	if err != nil {
		return pki.Pair{}, err
	}
	return reread(pair, func(c pki.Chain) error { return c.VerifyServer(trusted, hosts, now) })
}

// MaterializeClient issues a client certificate with a new key, and verifies it as
// a gateway would that trusts the bundle.
func MaterializeClient(issuer pki.Authority, trusted pki.Bundle, names ClientNames, s LeafSettings, now time.Time) (pki.Pair, error) {
	key, err := pki.GenerateKey(s.Algorithm)
	if err != nil {
		return pki.Pair{}, err
	}
	pair, err := issuer.IssueClient(names.request(s), key, now)
	if err != nil {
		return pki.Pair{}, err
	}
	return reread(pair, func(c pki.Chain) error { return c.VerifyClient(trusted, now) })
}

// MaterializeClientFor issues a client certificate for the key of a certificate
// request, and verifies it likewise.
func MaterializeClientFor(issuer pki.Authority, trusted pki.Bundle, csr pki.CertificateRequest, names ClientNames, s LeafSettings, now time.Time) (pki.Chain, error) {
	chain, err := issuer.IssueClientFor(names.request(s), csr, now)
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
