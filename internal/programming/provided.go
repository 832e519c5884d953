package programming

import (
	"bytes"
	"fmt"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
)

// lookEvery is how often a provided certificate is looked at: no watch shows it. What gateways serve
// is seen sooner.
const lookEvery = 10 * time.Minute

// missingEvery is how often one is looked for that is not there, or of no use.
const missingEvery = 15 * time.Second

// providedMaterial is the server certificate that somebody else put behind the Gateway, and what is
// wrong with it.
func (f facts) providedMaterial(now time.Time) (m material) {
	m = material{next: now.Add(lookEvery)}
	defer func() {
		if m.trouble != "" {
			m.next = now.Add(missingEvery)
		}
	}()
	for _, e := range f.edges {
		stored := e.stored.Pair
		switch {
		case e.stored.Unreadable != nil:
			m.trouble = fmt.Sprintf("the provided server certificate in Secret %s cannot be used: %s", e.secrets.Server, e.stored.Unreadable)
		case stored.IsZero():
			m.trouble = fmt.Sprintf("Secret %s with the provided server certificate does not exist: gateways reset every connection until its owner makes it", e.secrets.Server)
		case !m.pair.IsZero() && !bytes.Equal(m.pair.CertificatePEM(), stored.CertificatePEM()):
			m.trouble = fmt.Sprintf("the provided server certificate in Secret %s is another than in the other ingress namespaces", e.secrets.Server)
		default:
			m.pair = stored
			if trouble := unfit(stored.Leaf(), f.hosts, now); trouble != "" {
				m.trouble = fmt.Sprintf("the provided server certificate in Secret %s %s", e.secrets.Server, trouble)
			}
		}
	}
	return m
}

// unfit says why callers refuse a server certificate whoever signed it; empty if they need not.
func unfit(leaf pki.Certificate, hosts []string, now time.Time) string {
	switch {
	case now.After(leaf.NotAfter()):
		return "ended at " + leaf.NotAfter().UTC().Format(time.RFC3339) + ": its owner has to replace it"
	case now.Before(leaf.NotBefore()):
		return "is not valid before " + leaf.NotBefore().UTC().Format(time.RFC3339)
	}
	for _, host := range hosts {
		if !named(leaf, host) {
			return fmt.Sprintf("is not for host %s, but for %q", host, leaf.X509().DNSNames)
		}
	}
	return ""
}

// named reports whether a certificate is for a host, which may be a wildcard itself.
func named(leaf pki.Certificate, host string) bool {
	for _, name := range leaf.X509().DNSNames {
		if name == host {
			return true
		}
	}
	return leaf.X509().VerifyHostname(host) == nil
}

// expectedBy is when the owner of a provided certificate ought to have replaced it: with a tenth of its
// life left, ten days at most.
func expectedBy(leaf pki.Certificate) time.Time {
	const most, share = 10 * 24 * time.Hour, 10
	return leaf.NotAfter().Add(-min(most, leaf.NotAfter().Sub(leaf.NotBefore())/share))
}
