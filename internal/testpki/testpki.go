package testpki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

// Option changes a template before it is signed.
type Option func(*x509.Certificate)

// Issued is a certificate with the key it is for.
type Issued struct {
	// X509 is the certificate, parsed back.
	X509 *x509.Certificate
	// Key is its private key.
	Key crypto.Signer
}

// Span is a validity.
type Span struct{ From, To time.Time }

// Around is an hour before an instant until a day after it.
func Around(now time.Time) Span { return Span{From: now.Add(-time.Hour), To: now.Add(24 * time.Hour)} }

// Root makes a self-signed CA with an ECDSA P-256 key.
func Root(t testing.TB, name string, span Span, options ...Option) Issued {
	t.Helper()
	return RootWith(t, P256(t), name, span, options...)
}

// RootWith makes a self-signed CA with a given key.
func RootWith(t testing.TB, key crypto.Signer, name string, span Span, options ...Option) Issued {
	t.Helper()
	template := caTemplate(t, name, span, options)
	return sign(t, template, template, key, key)
}

// CA makes an intermediate CA.
func (i Issued) CA(t testing.TB, name string, span Span, options ...Option) Issued {
	t.Helper()
	return i.CAWith(t, P256(t), name, span, options...)
}

// CAWith makes an intermediate CA with a given key.
func (i Issued) CAWith(t testing.TB, key crypto.Signer, name string, span Span, options ...Option) Issued {
	t.Helper()
	return sign(t, caTemplate(t, name, span, options), i.X509, key, i.Key)
}

// Leaf makes a certificate for both server and client authentication, with the name
// as common name and DNS name.
func (i Issued) Leaf(t testing.TB, name string, span Span, options ...Option) Issued {
	t.Helper()
	return i.LeafWith(t, P256(t), name, span, options...)
}

// LeafWith makes a leaf for a given key.
func (i Issued) LeafWith(t testing.TB, key crypto.Signer, name string, span Span, options ...Option) Issued {
	t.Helper()
	template := template(t, name, span)
	template.DNSNames = []string{name}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, option := range options {
		option(template)
	}
	return sign(t, template, i.X509, key, i.Key)
}

// CRL makes a CRL in PEM that lists the serial numbers.
func (i Issued) CRL(t testing.TB, number int64, span Span, revoked ...*big.Int) []byte {
	t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: span.From, NextUpdate: span.To}
	for _, serial := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: span.From})
	}
	return i.CRLFrom(t, template)
}

// CRLFrom makes a CRL in PEM from a template.
func (i Issued) CRLFrom(t testing.TB, template *x509.RevocationList) []byte {
	t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, template, i.X509, i.Key)
	if err != nil {
		t.Fatalf("signing CRL: %v", err)
	}
	return PEM("X509 CRL", der)
}

// PEM is the certificate in one block.
func (i Issued) PEM() []byte { return PEM("CERTIFICATE", i.X509.Raw) }

// KeyPEM is the key in PKCS #8.
func (i Issued) KeyPEM(t testing.TB) []byte { t.Helper(); return KeyPEM(t, i.Key) }

// KeyPEM is a key in PKCS #8.
func KeyPEM(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatalf("encoding key: %v", err)
	}
	return PEM("PRIVATE KEY", der)
}

// PEM is one block.
func PEM(label string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
}

// P256 makes an ECDSA key on P-256.
func P256(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("generating key: %v", err)
	}
	return key
}

func caTemplate(t testing.TB, name string, span Span, options []Option) *x509.Certificate {
	t.Helper()
	template := template(t, name, span)
	template.BasicConstraintsValid, template.IsCA = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	for _, option := range options {
		option(template)
	}
	return template
}

func template(t testing.TB, name string, span Span) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		t.Fatalf("drawing serial number: %v", err)
	}
	return &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    span.From, NotAfter: span.To,
	}
}

func sign(t testing.TB, template, parent *x509.Certificate, key, by crypto.Signer) Issued {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		t.Fatalf("signing certificate %q: %v", template.Subject.CommonName, err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatalf("reading certificate %q: %v", template.Subject.CommonName, err)
	}
	return Issued{X509: parsed, Key: key}
}
