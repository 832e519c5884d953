package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// BundleEntry is one CA of a bundle, with its CRL or without one.
type BundleEntry struct {
	// CA is the certificate.
	CA Certificate
	// CRL is the CA's own; zero where the bundle works without revocation.
	CRL CRL
}

// Bundle is the CAs that a verifier trusts. Either each of them has exactly one
// CRL that was fresh when the bundle was made, or none has: with some, Envoy
// refuses every caller of the others (envoyproxy/envoy#18268).
type Bundle struct {
	entries []BundleEntry
}

// NewBundle makes a bundle that a gateway would work with at now. The order is
// kept: istiod looks at the first certificate only.
func NewBundle(entries []BundleEntry, now time.Time) (Bundle, error) {
	if len(entries) == 0 || len(entries) > maxBundle {
		return Bundle{}, fmt.Errorf("making bundle: found %d CAs, expected 1 to %d", len(entries), maxBundle)
	}
	for _, entry := range entries {
		if err := entry.check(now); err != nil {
			return Bundle{}, fmt.Errorf("making bundle: %w", err)
		}
		if entry.CRL.IsZero() != entries[0].CRL.IsZero() {
			return Bundle{}, errors.New("making bundle: some CAs have a CRL and some have none; gateways would refuse every caller of those without")
		}
	}
	bundle := Bundle{entries: slices.Clone(entries)}
	if err := bundle.complete(); err != nil {
		return Bundle{}, fmt.Errorf("making bundle: %w", err)
	}
	if err := distinct(bundle.Certificates()); err != nil {
		return Bundle{}, fmt.Errorf("making bundle: %w", err)
	}
	if size := len(bundle.CertificatesPEM()); size > maxBundlePEM {
		return Bundle{}, fmt.Errorf("making bundle: the CAs take %d bytes, at most %d fit", size, maxBundlePEM)
	}
	if size := len(bundle.CRLsPEM()); size > MaxCRLs {
		return Bundle{}, fmt.Errorf("making bundle: the CRLs take %d bytes, at most %d fit", size, MaxCRLs)
	}
	return bundle, nil
}

func (e BundleEntry) check(now time.Time) error {
	if e.CA.IsZero() {
		return errors.New("an entry has no CA")
	}
	if err := e.CA.asCA(); err != nil {
		return err
	}
	if err := e.CA.ValidAt(now); err != nil {
		return err
	}
	if e.CRL.IsZero() {
		return nil
	}
	return e.CRL.FreshFor(e.CA, now)
}

// complete says for which CA a gateway misses a CRL, nil if it has all: it wants one
// of every issuer up to the root, also of one above the CAs of the bundle. A CA that
// another one has revoked may stay: its callers are refused, those of the rest not.
func (b Bundle) complete() error {
	if b.entries[0].CRL.IsZero() {
		return nil
	}
	for _, entry := range b.entries {
		if _, err := b.crlFor(entry.CA.parsed); err != nil {
			return fmt.Errorf("CA %q: %w", entry.CA.parsed.Subject.CommonName, err)
		}
	}
	return nil
}

// distinct says why a bundle cannot hold all of the CAs, nil if it can.
func distinct(cas []Certificate) error {
	for i, ca := range cas {
		for _, earlier := range cas[:i] {
			if err := ca.besides(earlier); err != nil {
				return err
			}
		}
	}
	return nil
}

// besides says why a bundle cannot hold both CAs, nil if it can.
func (c Certificate) besides(other Certificate) error {
	name := c.parsed.Subject.CommonName
	switch {
	case c.Equal(other):
		return fmt.Errorf("CA %q is in it twice", name)
	case !bytes.Equal(c.parsed.RawSubject, other.parsed.RawSubject) || !bytes.Equal(c.parsed.SubjectKeyId, other.parsed.SubjectKeyId):
		return nil
	case !bytes.Equal(c.parsed.RawSubjectPublicKeyInfo, other.parsed.RawSubjectPublicKeyInfo):
		// Nothing then says whose a certificate or a CRL is, short of trying.
		return fmt.Errorf("two CAs %q have the same subject key identifier and different keys (RFC 5280 section 4.2.1.2)", name)
	}
	return nil
}

// ParseBundle reads CAs and their CRLs in PEM, as a CA Secret holds them, and
// judges them at now. Without CRLs, crls is empty. A CRL that belongs to no CA of
// the bundle is an error.
func ParseBundle(cas, crls []byte, now time.Time) (Bundle, error) {
	certificates, err := ParseCertificates(cas)
	if err != nil {
		return Bundle{}, fmt.Errorf("reading bundle: %w", err)
	}
	var lists []CRL
	if len(bytes.TrimSpace(crls)) > 0 {
		if lists, err = ParseCRLs(crls); err != nil {
			return Bundle{}, fmt.Errorf("reading bundle: %w", err)
		}
	}
	entries, err := PairEntries(certificates, lists)
	if err != nil {
		return Bundle{}, fmt.Errorf("reading bundle: %w", err)
	}
	return NewBundle(entries, now)
}

// PairEntries finds for each CA the CRL that it signed, in the order of the CAs. Without CRLs
// none has one; with some, each has to have one, and each CRL to belong to one of them.
func PairEntries(cas []Certificate, crls []CRL) ([]BundleEntry, error) {
	// First, because it bounds how many signatures are checked below.
	if err := distinct(cas); err != nil {
		return nil, err
	}
	if len(crls) > 0 && len(crls) != len(cas) {
		return nil, fmt.Errorf("found %d CRLs for %d CAs, expected one for each", len(crls), len(cas))
	}
	unnamed := 0
	for _, crl := range crls {
		if len(crl.parsed.AuthorityKeyId) == 0 {
			unnamed++
		}
	}
	if unnamed > maxUnnamed {
		return nil, fmt.Errorf("%d CRLs do not say which key signed them (RFC 5280 section 5.2.1), at most %d such are taken: sign them with the authority key identifier", unnamed, maxUnnamed)
	}
	entries := make([]BundleEntry, len(cas))
	for i, ca := range cas {
		entries[i].CA = ca
		var why error
		for _, crl := range crls {
			if !entries[i].CRL.IsZero() {
				break
			}
			if err := crl.SignedBy(ca); err == nil {
				entries[i].CRL = crl
			} else if why == nil || bytes.Equal(crl.parsed.RawIssuer, ca.parsed.RawSubject) {
				why = err
			}
		}
		if len(crls) > 0 && entries[i].CRL.IsZero() {
			return nil, fmt.Errorf("no CRL is signed by CA %q: %w", ca.parsed.Subject.CommonName, why)
		}
	}
	return entries, nil
}

// maxUnnamed bounds the CRLs without an authority key identifier: each costs a signature for each CA of its name.
const maxUnnamed = 4

// With is the bundle with further CAs. One that is in it already stays as it is: two partners may have the same root.
func (b Bundle) With(further []BundleEntry, now time.Time) (Bundle, error) {
	all := slices.Clone(b.entries)
	for _, entry := range further {
		if !slices.ContainsFunc(all, func(e BundleEntry) bool { return e.CA.Equal(entry.CA) }) {
			all = append(all, entry)
		}
	}
	return NewBundle(all, now)
}

// Entries are the CAs with their CRLs, in order. Callers must not change the slice.
func (b Bundle) Entries() []BundleEntry { return b.entries }

// IsZero reports whether there is no bundle.
func (b Bundle) IsZero() bool { return len(b.entries) == 0 }

// Certificates are the CAs, in order.
func (b Bundle) Certificates() []Certificate {
	certificates := make([]Certificate, len(b.entries))
	for i, entry := range b.entries {
		certificates[i] = entry.CA
	}
	return certificates
}

// CertificatesPEM are the CAs, in order.
func (b Bundle) CertificatesPEM() []byte {
	var all []byte
	for _, entry := range b.entries {
		all = append(all, entry.CA.encoded...)
	}
	return all
}

// CRLsPEM are the CRLs, in the order of their CAs; nil without revocation.
func (b Bundle) CRLsPEM() []byte {
	var all []byte
	for _, entry := range b.entries {
		all = append(all, entry.CRL.encoded...)
	}
	return all
}

// NextUpdate is when the first of the CRLs ends; false without revocation.
func (b Bundle) NextUpdate() (time.Time, bool) {
	var first time.Time
	for _, entry := range b.entries {
		if entry.CRL.IsZero() {
			return time.Time{}, false
		}
		if next := entry.CRL.NextUpdate(); first.IsZero() || next.Before(first) {
			first = next
		}
	}
	return first, !first.IsZero()
}

// admits says why the CRLs of the bundle refuse a path, nil if they do not. As a
// gateway does, it asks for the CRL of every issuer on the path, up to the root.
func (b Bundle) admits(path []*x509.Certificate) error {
	if b.IsZero() || b.entries[0].CRL.IsZero() {
		return nil
	}
	for _, c := range path {
		crl, err := b.crlFor(c)
		if err != nil {
			return err
		}
		serial, err := serialOf(c.SerialNumber)
		if err != nil {
			return err
		}
		if crl.Lists(serial) {
			return fmt.Errorf("certificate %s is revoked by CRL %s of %q", serial, crl.Number(), c.Issuer)
		}
	}
	return nil
}

// crlFor is the CRL of the certificate's issuer, in a bundle with CRLs.
func (b Bundle) crlFor(c *x509.Certificate) (CRL, error) {
	i := slices.IndexFunc(b.entries, func(e BundleEntry) bool { return e.CA.mayHaveIssued(c) })
	if i < 0 {
		return CRL{}, fmt.Errorf("certificate %x: the bundle has CRLs, but none of its issuer %q", c.SerialNumber, c.Issuer)
	}
	return b.entries[i].CRL, nil
}

// mayHaveIssued compares names, and keys where the certificate names the key of its
// issuer (RFC 5280 section 4.2.1.1).
func (c Certificate) mayHaveIssued(other *x509.Certificate) bool {
	return bytes.Equal(c.parsed.RawSubject, other.RawIssuer) &&
		(len(other.AuthorityKeyId) == 0 || bytes.Equal(c.parsed.SubjectKeyId, other.AuthorityKeyId))
}
