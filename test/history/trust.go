package history

import (
	"time"

	"sallyport.dev/sallyport/pkg/pki"
)

// trust holds every server certificate to every bundle that a caller may hold while it is served
// (I1). A caller may keep a bundle that it took once until the last root in it has ended.
func (c *checker) trust() {
	published := c.of(isPublished)
	known := make([][]pki.Certificate, len(published))
	for i, taken := range published {
		var err error
		if known[i], err = pki.ParseCertificates(taken.Data["ca.crt"]); err != nil {
			c.violate("I1", taken, "what is published cannot be read: %v", err)
		}
	}
	for _, served := range c.of(isServer) {
		chain, err := served.chain()
		if err != nil {
			continue // I4 tells
		}
		if end := chain.Leaf().NotAfter(); end.Before(served.until) {
			c.violate("I1", served, "it ended at %s, and was replaced at %s", end.Format(time.RFC3339), served.until.Format(time.RFC3339))
		}
		for i, taken := range published {
			roots := known[i]
			from, to := later(served.At, taken.At), earlier(served.until, chain.Leaf().NotAfter())
			for _, at := range []time.Time{from, later(from, to.Add(-time.Second))} {
				if !from.Before(to) {
					break // it was served no more
				}
				if err := verifies(chain, roots, at); err != nil {
					c.violate("I1", served, "a caller that took the trust of revision %d (%s) refuses it: %v", taken.Number, taken.Key, err)
					break
				}
			}
		}
	}
}

// verifies says why a caller that holds these roots refuses a server at an instant; nil too if
// all of them have ended by then.
func verifies(chain pki.Chain, roots []pki.Certificate, at time.Time) error {
	var live []pki.BundleEntry
	for _, root := range roots {
		if !at.After(root.NotAfter()) && !at.Before(root.NotBefore()) {
			live = append(live, pki.BundleEntry{CA: root})
		}
	}
	if len(live) == 0 {
		return nil
	}
	bundle, err := pki.NewBundle(live, at)
	if err != nil {
		return err
	}
	return chain.VerifyServer(bundle, chain.Leaf().X509().DNSNames, at)
}

// handedOut holds what gateways trust to what was handed out (I2).
func (c *checker) handedOut() {
	callers, edges := c.of(isCaller), c.of(isEdgeTrust)
	for _, handed := range append(c.of(isServer), callers...) {
		chain, err := handed.chain()
		if err != nil {
			continue // I4 tells
		}
		for _, edge := range edges {
			if edge.At.After(handed.At) || !edge.until.After(handed.At) {
				continue // it is not what gateways had then
			}
			if trusted, err := pki.ParseCertificates(edge.Data["ca.crt"]); err == nil && !contains(trusted, chain.Leaf().AuthorityKeyID()) {
				c.violate("I2", handed, "its issuer %s is not trusted at revision %d of %s", chain.Leaf().AuthorityKeyID(), edge.Number, edge.Key)
			}
		}
	}
	for _, edge := range edges {
		bundle, err := pki.ParseBundle(edge.Data["ca.crt"], edge.Data["ca.crl"], edge.At)
		if err != nil {
			continue // I3 tells
		}
		for _, handed := range callers {
			chain, err := handed.chain()
			if err != nil || !handed.At.Before(edge.At) || !chain.Leaf().NotAfter().After(edge.At) {
				continue
			}
			if err := chain.VerifyClient(bundle, edge.At); err != nil && !c.revoked(chain.Leaf().Serial(), edge.At) {
				c.violate("I2", edge, "the certificate %s of revision %d (%s) is good until %s and refused: %v", chain.Leaf().Serial(), handed.Number, handed.Key, chain.Leaf().NotAfter().Format(time.RFC3339), err)
			}
		}
	}
}

func contains(cas []pki.Certificate, keyID string) bool {
	for _, ca := range cas {
		if ca.SubjectKeyID() == keyID {
			return true
		}
	}
	return false
}

// revoked reports whether a record's CRL listed a serial number by then.
func (c *checker) revoked(serial pki.Serial, by time.Time) bool {
	for _, s := range c.of(isLedger) {
		ledger, err := s.ledger()
		if err != nil || s.At.After(by) {
			continue
		}
		for _, g := range ledger.Generations() {
			if !g.CRL.IsZero() && g.CRL.Lists(serial) {
				return true
			}
		}
	}
	return false
}

// freshness holds what gateways have to one fresh CRL for each CA, from when they get it until
// they get the next (I3).
func (c *checker) freshness() {
	for _, s := range c.of(isEdgeTrust) {
		bundle, err := pki.ParseBundle(s.Data["ca.crt"], s.Data["ca.crl"], s.At)
		if err != nil {
			c.violate("I3", s, "%v", err)
			continue
		}
		if next, has := bundle.NextUpdate(); has && !next.After(s.until) {
			c.violate("I3", s, "a CRL ended at %s, and was replaced at %s", next.Format(time.RFC3339), s.until.Format(time.RFC3339))
		}
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
