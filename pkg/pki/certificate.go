package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"time"
)

// Certificate is one certificate that was parsed and found fit to be used: a
// serial number, a signature and a key that verifiers of today accept, and no
// critical extension that nobody here understands. It may be out of its validity.
type Certificate struct {
	parsed  *x509.Certificate
	serial  Serial
	encoded []byte
}

// newCertificate parses DER and applies the checks.
func newCertificate(der []byte) (Certificate, error) {
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return Certificate{}, fmt.Errorf("reading certificate: %w", err)
	}
	serial, err := serialOf(parsed.SerialNumber)
	if err != nil {
		return Certificate{}, fmt.Errorf("reading certificate: %w", err)
	}
	if err := strongEnough(parsed); err != nil {
		return Certificate{}, fmt.Errorf("reading certificate %s: %w", serial, err)
	}
	return Certificate{parsed: parsed, serial: serial, encoded: encode(labelCertificate, der)}, nil
}

// strongEnough refuses what no current verifier takes, so that it fails here with
// a reason and not at the edge without one.
func strongEnough(c *x509.Certificate) error {
	if len(c.UnhandledCriticalExtensions) > 0 {
		return fmt.Errorf("critical extension %s is not understood (RFC 5280 section 4.2)", c.UnhandledCriticalExtensions[0])
	}
	if err := strongSignature(c.SignatureAlgorithm); err != nil {
		return err
	}
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		// Above 8192 bits Go and BoringSSL refuse to verify a handshake.
		if bits := key.N.BitLen(); bits < 2048 || bits > 8192 {
			return fmt.Errorf("RSA key has %d bits, expected 2048 to 8192", bits)
		}
	case *ecdsa.PublicKey:
		if bits := key.Params().BitSize; bits < 256 {
			return fmt.Errorf("ECDSA key has %d bits, expected at least 256", bits)
		}
	case ed25519.PublicKey:
	default:
		return fmt.Errorf("key is a %T, expected RSA, ECDSA or Ed25519", c.PublicKey)
	}
	return nil
}

func strongSignature(a x509.SignatureAlgorithm) error {
	switch a {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1, x509.DSAWithSHA256, x509.UnknownSignatureAlgorithm:
		return fmt.Errorf("signature algorithm is %s, expected SHA-256 or stronger", a)
	}
	return nil
}

// ParseCertificates reads one certificate or more in PEM, in their order.
func ParseCertificates(data []byte) ([]Certificate, error) {
	return parseCertificates(data, maxBundlePEM, maxBundle)
}

func parseCertificates(data []byte, size, most int) ([]Certificate, error) {
	found, err := blocks(data, size, most, labelCertificate)
	if err != nil {
		return nil, err
	}
	certificates := make([]Certificate, len(found))
	for i, block := range found {
		if certificates[i], err = newCertificate(block.Bytes); err != nil {
			return nil, fmt.Errorf("block %d: %w", i+1, err)
		}
	}
	return certificates, nil
}

// IsZero reports whether there is no certificate.
func (c Certificate) IsZero() bool { return c.parsed == nil }

// X509 is the parsed form. Callers must not change it.
func (c Certificate) X509() *x509.Certificate { return c.parsed }

// PEM is the certificate in one PEM block. Callers must not change it.
func (c Certificate) PEM() []byte { return c.encoded }

// Serial is its serial number.
func (c Certificate) Serial() Serial { return c.serial }

// NotBefore is the first instant of its validity, in whole seconds.
func (c Certificate) NotBefore() time.Time { return c.parsed.NotBefore }

// NotAfter is the last instant of its validity, in whole seconds.
func (c Certificate) NotAfter() time.Time { return c.parsed.NotAfter }

// SubjectKeyID is in lower-case hexadecimal; empty if the certificate has none.
func (c Certificate) SubjectKeyID() string { return hex.EncodeToString(c.parsed.SubjectKeyId) }

// SameKey reports whether both certify the same public key, whatever they call it.
func (c Certificate) SameKey(other Certificate) bool {
	return c.parsed != nil && other.parsed != nil && bytes.Equal(c.parsed.RawSubjectPublicKeyInfo, other.parsed.RawSubjectPublicKeyInfo)
}

// KeyID is the key id that this package gives its public key, in lower-case hexadecimal; whoever made
// the certificate may have given it another.
func (c Certificate) KeyID() (string, error) {
	id, err := keyID(c.parsed.PublicKey)
	return hex.EncodeToString(id), err
}

// AuthorityKeyID is the key id of its issuer, in lower-case hexadecimal.
func (c Certificate) AuthorityKeyID() string { return hex.EncodeToString(c.parsed.AuthorityKeyId) }

// Equal reports whether both are the same bytes.
func (c Certificate) Equal(other Certificate) bool {
	return c.parsed != nil && other.parsed != nil && bytes.Equal(c.parsed.Raw, other.parsed.Raw)
}

// ValidAt says why the certificate is not valid at an instant, nil if it is.
// Validity includes both ends (RFC 5280 section 4.1.2.5).
func (c Certificate) ValidAt(now time.Time) error {
	if now.Before(c.NotBefore()) {
		return fmt.Errorf("certificate %s is not valid before %s", c.serial, stamp(c.NotBefore()))
	}
	if now.After(c.NotAfter()) {
		return fmt.Errorf("certificate %s ended at %s", c.serial, stamp(c.NotAfter()))
	}
	return nil
}

// asCA says why the certificate cannot stand in a bundle of CAs, nil if it can.
func (c Certificate) asCA() error {
	switch {
	case !c.parsed.BasicConstraintsValid || !c.parsed.IsCA:
		return fmt.Errorf("certificate %s is not a CA (RFC 5280 section 4.2.1.9)", c.serial)
	case c.parsed.KeyUsage&x509.KeyUsageCertSign == 0:
		return fmt.Errorf("CA certificate %s may not sign certificates: key usage keyCertSign is missing (RFC 5280 section 4.2.1.3)", c.serial)
	case len(c.parsed.SubjectKeyId) == 0:
		return fmt.Errorf("CA certificate %s has no subject key identifier (RFC 5280 section 4.2.1.2)", c.serial)
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
