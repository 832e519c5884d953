package rotate

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
)

// BenchmarkIssueServer is a server certificate with all its checks, from nothing to
// what is stored, beside its floor: the same key, certificate and PEM by the standard
// library, with no check but its own.
func BenchmarkIssueServer(b *testing.B) {
	ca := root(b, 3650*day)
	trusted := trust(b, ca, start)
	b.Run("floor=standard-library", func(b *testing.B) {
		block, _ := pem.Decode(ca.Key().PEM())
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		signer, ok := parsed.(crypto.Signer)
		if err != nil || !ok {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				b.Fatal(err)
			}
			template := &x509.Certificate{
				SerialNumber: big.NewInt(1 << 62), NotBefore: start, NotAfter: start.Add(90 * day),
				Subject: pkix.Name{CommonName: hosts[0]}, DNSNames: hosts,
				KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
				BasicConstraintsValid: true,
			}
			der, err := x509.CreateCertificate(rand.Reader, template, ca.Certificate().X509(), key.Public(), signer)
			if err != nil {
				b.Fatal(err)
			}
			pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
			if err != nil {
				b.Fatal(err)
			}
			if pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) == nil || pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}) == nil {
				b.Fatal("no PEM")
			}
		}
	})
	b.Run("sallyport", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			pair, err := MaterializeServer(SignerOf(ca), trusted, hosts, leaves(), start)
			if err != nil || len(pair.CertificatePEM()) == 0 || len(pair.KeyPEM()) == 0 {
				b.Fatal(err)
			}
		}
	})
}
