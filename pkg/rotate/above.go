package rotate

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
)

// Brought is the CA that somebody brings: with its key, with those above it up to the root, and with what CRLs of
// theirs came along. The zero Brought is none.
type Brought struct {
	// CA signs. What it hands out beside its certificates leads up to the root.
	CA pki.Authority
	// Above are the CAs above it, from the one that signed it up to the root; none if it is a root.
	Above []pki.Certificate
	// CRLs are those that its owner has of CAs above this one, or above one that he brought before.
	CRLs []pki.CRL
}

// IsZero reports whether it is none.
func (b Brought) IsZero() bool { return b.CA.IsZero() }

// maxAbove bounds the CAs above one, maxAboveCRLs what their CRLs take in bytes of PEM: they stand beside the
// authority's own in its record and with each gateway.
const (
	maxAbove     = 4
	maxAboveCRLs = 128 << 10
)

// ParseBrought reads a CA and its key, what is above it, and their CRLs, all in PEM. Behind the CA's certificate there may be
// others, as some issuers store them. above and crls may be empty.
func ParseBrought(certificates, key, above, crls []byte) (Brought, error) {
	chain, err := pki.ParseCertificates(certificates)
	if err != nil {
		return Brought{}, fmt.Errorf("reading CA: %w", err)
	}
	ca, err := pki.ParseAuthority(chain[0].PEM(), key)
	if err != nil {
		return Brought{}, err
	}
	pool := chain[1:]
	if len(above) > 0 {
		more, err := pki.ParseCertificates(above)
		if err != nil {
			return Brought{}, fmt.Errorf("reading the CAs above it: %w", err)
		}
		pool = append(pool, more...)
	}
	b := Brought{CA: ca}
	if b.Above, err = pki.PathAbove(chain[0], pool, maxAbove); err != nil {
		return Brought{}, err
	}
	if b.CA, err = through(ca, b.Above); err != nil {
		return Brought{}, err
	}
	if len(crls) == 0 {
		return b, nil
	}
	if len(crls) > maxAboveCRLs {
		return Brought{}, fmt.Errorf("the CRLs of the CAs above it take %d bytes, at most %d are taken", len(crls), maxAboveCRLs)
	}
	b.CRLs, err = pki.ParseCRLs(crls)
	return b, err
}

// through has a CA hand out what leads from it up to the root, without the root.
func through(ca pki.Authority, above []pki.Certificate) (pki.Authority, error) {
	if len(above) == 0 {
		return ca, nil
	}
	return ca.Through(append([]pki.Certificate{ca.Certificate()}, above[:len(above)-1]...)...)
}

// Fit says why it cannot be the CA of an authority from now on, nil if it can: it is valid and outlives none of
// those above it, and with revocation it may sign CRLs, and each CA above it has a fresh one. What it constrains below
// itself is found out when it is tried.
func (b Brought) Fit(revocation bool, now time.Time) error {
	if err := b.CA.Fit(revocation, now); err != nil {
		return err
	}
	for _, above := range b.Above {
		if err := above.ValidAt(now); err != nil {
			return fmt.Errorf("above it: %w", err)
		}
		if b.CA.Certificate().NotAfter().After(above.NotAfter()) {
			return fmt.Errorf("it ends at %s, after CA %q above it, which ends at %s: what it signs would be refused in between",
				b.CA.Certificate().NotAfter().UTC().Format(time.RFC3339), above.X509().Subject.CommonName, above.NotAfter().UTC().Format(time.RFC3339))
		}
	}
	if !revocation {
		return nil
	}
	for _, entry := range b.entries(nil) {
		if entry.CRL.IsZero() {
			return fmt.Errorf("there is no CRL of CA %q above it, and with revocation CRL gateways refuse every caller of a chain without one for each CA: add it to ca.crl, or ask for revocation None", entry.CA.X509().Subject.CommonName)
		}
		if err := entry.CRL.FreshFor(entry.CA, now); err != nil {
			return fmt.Errorf("above it: %w", err)
		}
	}
	return nil
}

// entries are the CAs above it, each with its newest CRL: of those that came along, or of those that are known.
func (b Brought) entries(known []pki.BundleEntry) []pki.BundleEntry {
	entries := make([]pki.BundleEntry, len(b.Above))
	for i, ca := range b.Above {
		entries[i].CA = ca
		if at := slices.IndexFunc(known, func(e pki.BundleEntry) bool { return e.CA.SameKey(ca) }); at >= 0 {
			entries[i].CRL = known[at].CRL
		}
	}
	return newest(entries, b.CRLs)
}

// newest gives each CA the newest CRL that it signed.
func newest(entries []pki.BundleEntry, crls []pki.CRL) []pki.BundleEntry {
	entries = slices.Clone(entries)
	for i, e := range entries {
		for _, crl := range crls {
			if (entries[i].CRL.IsZero() || crl.ThisUpdate().After(entries[i].CRL.ThisUpdate())) && crl.SignedBy(e.CA) == nil {
				entries[i].CRL = crl
			}
		}
	}
	return entries
}

// root is the top of what a generation's certificates lead up to.
func (g Generation) root() pki.Certificate {
	if n := len(g.Above); n > 0 {
		return g.Above[n-1].CA
	}
	return g.Authority.Certificate()
}

// sameRoot reports whether who knows the one's root can verify what the other signs.
func (g Generation) sameRoot(other Generation) bool {
	return g.root().SameKey(other.root())
}

// above are the CAs above a generation.
func (g Generation) above() []pki.Certificate {
	cas := make([]pki.Certificate, len(g.Above))
	for i, e := range g.Above {
		cas[i] = e.CA
	}
	return cas
}

var errStale = errors.New("a CA above it has no fresh CRL")

// entries are what gateways have to trust for a generation: with revocation all CAs up to its root, each with its CRL, and
// without only itself, so that no other CA below that root is let in.
func (g Generation) entries(revocation bool, now time.Time) ([]pki.BundleEntry, error) {
	own := pki.BundleEntry{CA: g.Authority.Certificate()}
	if !revocation {
		return []pki.BundleEntry{own}, nil
	}
	if own.CRL = g.CRL; own.CRL.IsZero() {
		return nil, fmt.Errorf("generation %s has no CRL", g.ID)
	}
	for _, e := range g.Above {
		if err := e.CRL.FreshFor(e.CA, now); err != nil {
			return nil, fmt.Errorf("generation %s: %w: CA %q: %w", g.ID, errStale, e.CA.X509().Subject.CommonName, err)
		}
	}
	return append([]pki.BundleEntry{own}, g.Above...), nil
}

// SourceEntry names what is told of the CAs above the authority's own.
const SourceEntry = "spec.source"

// StandingAbove is how the CAs above the active generation stand, and their CRLs; false if there are none.
func (l Ledger) StandingAbove(revocation bool, now time.Time) (Standing, bool) {
	active, _ := l.Active()
	if len(active.Above) == 0 {
		return Standing{}, false
	}
	s := TrustedCertificate{Name: SourceEntry, Entries: active.Above}.standing(revocation, now)
	_, s.LeftOut = active.entries(revocation, now)
	return s, true
}

// Published is what callers are told to trust at now: what gateways trust of the authority, and the roots, because most
// callers follow a chain up to one.
func (l Ledger) Published(revocation bool, now time.Time) (pki.Bundle, error) {
	bundle, err := l.Bundle(revocation, now)
	if err != nil || revocation {
		return bundle, err
	}
	all := slices.Clone(bundle.Entries())
	for _, g := range l.generations {
		trusted := slices.ContainsFunc(bundle.Entries(), func(e pki.BundleEntry) bool { return e.CA.Equal(g.Authority.Certificate()) })
		for _, e := range g.Above {
			if trusted {
				all = with(all, pki.BundleEntry{CA: e.CA})
			}
		}
	}
	return pki.NewBundle(all, now)
}

// with adds an entry whose CA is not there yet. Where it is, the fresher CRL counts.
func with(entries []pki.BundleEntry, e pki.BundleEntry) []pki.BundleEntry {
	at := slices.IndexFunc(entries, func(known pki.BundleEntry) bool { return known.CA.Equal(e.CA) })
	if at < 0 {
		return append(entries, e)
	}
	if !e.CRL.IsZero() && e.CRL.ThisUpdate().After(entries[at].CRL.ThisUpdate()) {
		entries = slices.Clone(entries)
		entries[at] = e
	}
	return entries
}
