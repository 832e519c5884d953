package rotate

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
)

// Adopted is what was taken over of what somebody made by hand for a Gateway: the certificate that its server goes on with
// for a while, and the CAs whose callers go on being accepted there. The zero Adopted is nothing.
type Adopted struct {
	server  pki.Chain
	entries []pki.BundleEntry
}

// ParseAdopted reads a server's certificate with the CAs above it, CAs of callers, and their CRLs, all in PEM. Each may be
// empty.
func ParseAdopted(server, cas, crls []byte) (Adopted, error) {
	var a Adopted
	if len(server) > 0 {
		var err error
		if a.server, err = pki.ParseChain(server); err != nil {
			return Adopted{}, err
		}
	}
	if len(cas) == 0 {
		if len(crls) > 0 {
			return Adopted{}, errors.New("there are CRLs, and no CA that they could belong to")
		}
		return a, nil
	}
	whole := ParseTrustedCertificate("", cas, crls)
	a.entries = whole.Entries
	if len(a.entries) > maxAdopted {
		return Adopted{}, fmt.Errorf("there are %d CAs, at most %d are taken over: state the others under spec.trustedCertificates of the authority", len(a.entries), maxAdopted)
	}
	return a, whole.Unreadable
}

// maxAdopted bounds the CAs that are taken over. Which of them signed which costs a signature for each pair.
const maxAdopted = 16

// At is what is worth to be taken over at now: all but the CAs that have ended, whose callers gateways refuse already.
func (a Adopted) At(now time.Time) Adopted {
	current, _ := a.split(now)
	return Adopted{server: a.server, entries: current}
}

// split tells the CAs that go on at now from those that have ended, or of which nobody who signed them goes on.
func (a Adopted) split(now time.Time) (current, ended []pki.BundleEntry) {
	current = slices.Clone(a.entries)
	over := func(e pki.BundleEntry) bool {
		if now.After(e.CA.NotAfter()) {
			return true
		}
		if e.CA.SignedBy(e.CA) {
			return false
		}
		signed := func(issuer pki.BundleEntry) bool { return e.CA.SignedBy(issuer.CA) }
		return slices.ContainsFunc(ended, signed) && !slices.ContainsFunc(current, signed)
	}
	for {
		i := slices.IndexFunc(current, over)
		if i < 0 {
			return current, ended
		}
		ended, current = append(ended, current[i]), slices.Delete(current, i, i+1)
	}
}

// IsZero reports whether it is nothing.
func (a Adopted) IsZero() bool { return a.server.Leaf().IsZero() && len(a.entries) == 0 }

// ServerPEM is the server's certificate with the CAs above it; nil if there is none.
func (a Adopted) ServerPEM() []byte {
	if a.server.Leaf().IsZero() {
		return nil
	}
	return a.server.PEM()
}

// CAsPEM are the CAs; nil if there are none.
func (a Adopted) CAsPEM() []byte {
	var all []byte
	for _, e := range a.entries {
		all = append(all, e.CA.PEM()...)
	}
	return all
}

// CRLsPEM are the CRLs of the CAs; nil if there are none.
func (a Adopted) CRLsPEM() []byte {
	var all []byte
	for _, e := range a.entries {
		if !e.CRL.IsZero() {
			all = append(all, e.CRL.PEM()...)
		}
	}
	return all
}

// Made reports whether a pair is the one that was taken over.
func (a Adopted) Made(pair pki.Pair) bool {
	return !pair.IsZero() && !a.server.Leaf().IsZero() && a.server.Leaf().Equal(pair.Leaf())
}

// Handover is when a certificate of another issuer takes the place of a server's, unless its callers are said to know that
// issuer before: with a sixth of its life left, so that there is one after it.
func Handover(leaf pki.Certificate) time.Time {
	const divisor = 6
	return leaf.NotAfter().Add(-leaf.NotAfter().Sub(leaf.NotBefore()) / divisor)
}

// CAs are the CAs in groups, each to be judged by itself at now: those of which one signed another. One that has ended takes with
// it what it signed, and not what signed it.
func (a Adopted) CAs(now time.Time) []TrustedCertificate {
	current, ended := a.split(now)
	return append(groups(current), groups(ended)...)
}

func groups(entries []pki.BundleEntry) []TrustedCertificate {
	var groups []TrustedCertificate
	for _, entry := range entries {
		joined := []pki.BundleEntry{entry}
		groups = slices.DeleteFunc(groups, func(g TrustedCertificate) bool {
			hangs := slices.ContainsFunc(g.Entries, func(e pki.BundleEntry) bool { return e.CA.SignedBy(entry.CA) || entry.CA.SignedBy(e.CA) })
			if hangs {
				joined = append(joined, g.Entries...)
			}
			return hangs
		})
		groups = append(groups, TrustedCertificate{Name: fmt.Sprintf("CA %q", entry.CA.X509().Subject.CommonName), Entries: joined})
	}
	return groups
}
