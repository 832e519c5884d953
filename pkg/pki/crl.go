package pki

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"sync/atomic"
	"time"
)

// maxCRLNumberOctets is the longest CRL number (RFC 5280 section 5.2.3).
const maxCRLNumberOctets = 20

// Revoked is one entry of a CRL.
type Revoked struct {
	// Serial of the certificate.
	Serial Serial
	// At is the moment of revocation, in whole seconds.
	At time.Time
	// Reason is a reason code of RFC 5280 section 5.3.1; 0 gives none.
	Reason int
}

// CRL is a certificate revocation list that was parsed. Whose it is, and whether it
// is fresh, is judged against a CA and an instant by NewBundle.
type CRL struct {
	parsed  *x509.RevocationList
	revoked map[Serial]Revoked
	encoded []byte
	// signer is the CA whose signature was found on it, so that it is looked for once.
	signer *atomic.Pointer[x509.Certificate]
}

// CRLRequest describes a CRL.
type CRLRequest struct {
	// Number rises with every CRL of one CA; positive.
	Number *big.Int
	// Entries are all revoked certificates of the CA that have not ended.
	Entries []Revoked
	// NextUpdate is when the CRL ends. Gateways refuse every caller from then on.
	NextUpdate time.Time
}

// SignCRL signs a complete CRL of the authority, without any scope extension
// (Envoy has refused those: envoyproxy/envoy#37207). It is back-dated like a
// certificate, and so is an entry younger than that: a list cannot say what happened
// after it was made (RFC 5280 section 5.1.2.4).
func (a Authority) SignCRL(r CRLRequest, now time.Time) (CRL, error) {
	if a.IsZero() {
		return CRL{}, fmt.Errorf("signing CRL: %w", errNoAuthority)
	}
	span, err := validityOf(r.NextUpdate.Sub(now), now)
	if err != nil {
		return CRL{}, fmt.Errorf("signing CRL: next update at %s: %w", stamp(r.NextUpdate), err)
	}
	span.from = span.inside(a.certificate).from
	for _, entry := range r.Entries {
		if entry.Serial.IsZero() {
			return CRL{}, fmt.Errorf("signing CRL: an entry has no serial number")
		}
	}
	der, err := a.signList(&x509.RevocationList{Number: r.Number, ThisUpdate: span.from, NextUpdate: span.to}, r.Entries, span.from)
	if err != nil {
		return CRL{}, fmt.Errorf("signing CRL: %w", err)
	}
	crl, err := newCRL(der)
	if err != nil {
		return CRL{}, err
	}
	if err := crl.FreshFor(a.certificate, now); err != nil {
		return CRL{}, fmt.Errorf("signing CRL: %w", err)
	}
	if err := crl.holds(r.Entries, span.from); err != nil {
		return CRL{}, fmt.Errorf("signing CRL: %w", err)
	}
	return crl, nil
}

// holds says why a CRL does not list what it was made to, none later than latest; nil if it does.
func (c CRL) holds(entries []Revoked, latest time.Time) error {
	if len(c.parsed.RevokedCertificateEntries) != len(entries) {
		return fmt.Errorf("it has %d entries, expected %d", len(c.parsed.RevokedCertificateEntries), len(entries))
	}
	for i, read := range c.parsed.RevokedCertificateEntries {
		wanted := entries[i]
		if serial, err := serialOf(read.SerialNumber); err != nil || serial != wanted.Serial || !read.RevocationTime.Equal(earlier(wanted.At, latest)) || read.ReasonCode != wanted.Reason {
			return fmt.Errorf("entry %d is %s of %s for reason %d, expected %s", i, read.SerialNumber.Text(16), stamp(read.RevocationTime), read.ReasonCode, wanted.Serial)
		}
	}
	return nil
}

// earlier of two instants, in whole seconds.
func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		a = b
	}
	return a.Truncate(time.Second)
}

// ParseCRLs reads one CRL or more in PEM, in their order.
func ParseCRLs(data []byte) ([]CRL, error) {
	found, err := blocks(data, maxCRLPEM, maxBundle, labelCRL)
	if err != nil {
		return nil, fmt.Errorf("reading CRL: %w", err)
	}
	crls := make([]CRL, len(found))
	for i, block := range found {
		if crls[i], err = newCRL(block.Bytes); err != nil {
			return nil, fmt.Errorf("block %d: %w", i+1, err)
		}
	}
	return crls, nil
}

func newCRL(der []byte) (CRL, error) {
	parsed, err := x509.ParseRevocationList(der)
	if err != nil {
		return CRL{}, fmt.Errorf("reading CRL: %w", err)
	}
	if parsed.Number == nil || parsed.Number.Sign() < 0 || len(parsed.Number.Bytes()) > maxCRLNumberOctets {
		return CRL{}, fmt.Errorf("reading CRL: number is %v, expected one of at most %d octets (RFC 5280 section 5.2.3)", parsed.Number, maxCRLNumberOctets)
	}
	// crypto/x509 checks signatures of CRLs over SHA-1 too.
	if err := strongSignature(parsed.SignatureAlgorithm); err != nil {
		return CRL{}, fmt.Errorf("reading CRL %s: %w", parsed.Number, err)
	}
	if id := firstCritical(parsed.Extensions); id != nil {
		return CRL{}, fmt.Errorf("reading CRL %s: critical extension %s is not understood (RFC 5280 section 5.2)", parsed.Number, id)
	}
	crl := CRL{parsed: parsed, revoked: make(map[Serial]Revoked, len(parsed.RevokedCertificateEntries)), encoded: encode(labelCRL, der), signer: &atomic.Pointer[x509.Certificate]{}}
	for _, entry := range parsed.RevokedCertificateEntries {
		serial, err := serialOf(entry.SerialNumber)
		if err != nil {
			return CRL{}, fmt.Errorf("reading CRL %s: %w", parsed.Number, err)
		}
		// Such an entry may be about the certificate of another CA.
		if id := firstCritical(entry.Extensions); id != nil {
			return CRL{}, fmt.Errorf("reading CRL %s: entry %s: critical extension %s is not understood (RFC 5280 section 5.3)", parsed.Number, serial, id)
		}
		crl.revoked[serial] = Revoked{Serial: serial, At: entry.RevocationTime, Reason: entry.ReasonCode}
	}
	return crl, nil
}

func firstCritical(extensions []pkix.Extension) asn1.ObjectIdentifier {
	for _, extension := range extensions {
		if extension.Critical {
			return extension.Id
		}
	}
	return nil
}

// IsZero reports whether there is no CRL.
func (c CRL) IsZero() bool { return c.parsed == nil }

// Equal reports whether two CRLs are the same; none is the same as none.
func (c CRL) Equal(other CRL) bool { return bytes.Equal(c.encoded, other.encoded) }

// PEM is the CRL in one PEM block. Callers must not change it.
func (c CRL) PEM() []byte { return c.encoded }

// Number is the CRL number. Callers must not change it.
func (c CRL) Number() *big.Int { return c.parsed.Number }

// ThisUpdate is when the CRL begins, in whole seconds.
func (c CRL) ThisUpdate() time.Time { return c.parsed.ThisUpdate }

// NextUpdate is when the CRL ends, in whole seconds.
func (c CRL) NextUpdate() time.Time { return c.parsed.NextUpdate }

// Entries is how many certificates it lists.
func (c CRL) Entries() int { return len(c.revoked) }

// Revoked are all entries, in no order.
func (c CRL) Revoked() []Revoked { return slices.Collect(maps.Values(c.revoked)) }

// Lists reports whether it lists the certificate of this serial number.
func (c CRL) Lists(s Serial) bool { _, listed := c.revoked[s]; return listed }

// FreshFor says why a gateway would refuse every caller of the CA with this CRL at
// now, nil if it would not.
func (c CRL) FreshFor(ca Certificate, now time.Time) error {
	if c.IsZero() {
		return errors.New("there is none")
	}
	if err := c.SignedBy(ca); err != nil {
		return err
	}
	if now.Before(c.ThisUpdate()) {
		return fmt.Errorf("CRL %s begins at %s", c.Number(), stamp(c.ThisUpdate()))
	}
	if !now.Before(c.NextUpdate()) {
		return fmt.Errorf("CRL %s ended at %s", c.Number(), stamp(c.NextUpdate()))
	}
	return nil
}

// SignedBy says why the CRL is not the CA's own, nil if it is.
func (c CRL) SignedBy(ca Certificate) error {
	if !bytes.Equal(c.parsed.RawIssuer, ca.parsed.RawSubject) {
		return fmt.Errorf("CRL %s is of %q, expected %q", c.Number(), c.parsed.Issuer, ca.parsed.Subject)
	}
	// Cheaper than a signature, and of CAs with one name it finds the right one. A hand-made CRL has none.
	if len(c.parsed.AuthorityKeyId) > 0 && !bytes.Equal(c.parsed.AuthorityKeyId, ca.parsed.SubjectKeyId) {
		return fmt.Errorf("CRL %s is of the key %x, expected the key %s of CA %q (RFC 5280 section 5.2.1)", c.Number(), c.parsed.AuthorityKeyId, ca.SubjectKeyID(), ca.parsed.Subject.CommonName)
	}
	if c.signer.Load() == ca.parsed {
		return nil
	}
	if err := c.parsed.CheckSignatureFrom(ca.parsed); err != nil {
		return fmt.Errorf("CRL %s is not signed by CA %q: %w", c.Number(), ca.parsed.Subject.CommonName, err)
	}
	c.signer.Store(ca.parsed)
	return nil
}
