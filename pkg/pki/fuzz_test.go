package pki_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"sallyport.dev/sallyport/pkg/pki"
)

// inPEM is DER in a block of a type: fuzzers change DER, PEM hides it from them.
func inPEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func derOf(t testing.TB, encoded []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(encoded)
	if block == nil {
		t.Fatal("there is no PEM block")
	}
	return block.Bytes
}

// FuzzPEM gives any text to every reader of PEM. What one takes, it takes again from
// its own PEM, and finds the same.
func FuzzPEM(f *testing.F) {
	ca := root(f, "fuzz")
	pair := server(f, ca, "a.example.com")
	for _, seed := range [][]byte{ca.Certificate().PEM(), ca.Key().PEM(), pair.CertificatePEM(), crl(f, ca, 1).PEM(), join(ca.Certificate().PEM(), pair.KeyPEM()), bytes.Repeat([]byte("-----BEGIN "), 50)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if certificates, err := pki.ParseCertificates(text); err == nil {
			var all []byte
			for _, c := range certificates {
				all = append(all, c.PEM()...)
			}
			again, err := pki.ParseCertificates(all)
			if err != nil || len(again) != len(certificates) {
				t.Errorf("%d certificates were read, of their own PEM %d: %v", len(certificates), len(again), err)
			}
		}
		if key, err := pki.ParseKey(text); err == nil {
			if again, err := pki.ParseKey(key.PEM()); err != nil || again.Algorithm() != key.Algorithm() {
				t.Errorf("a key was read, of its own PEM it was not: %v", err)
			}
		}
		if chain, err := pki.ParseChain(text); err == nil && chain.Leaf().IsZero() {
			t.Error("a chain was read that has no leaf")
		}
		if pair, err := pki.ParsePair(text, text); err == nil && pair.IsZero() {
			t.Error("a pair was read that is none")
		}
	})
}

// FuzzCertificate gives any DER in a certificate's block: what is read as an authority
// can sign, and as a bundle it holds CAs alone.
func FuzzCertificate(f *testing.F) {
	ca := root(f, "fuzz")
	key := ca.Key().PEM()
	f.Add(derOf(f, ca.Certificate().PEM()))
	f.Add(derOf(f, server(f, ca, "a.example.com").CertificatePEM()))
	f.Add(derOf(f, client(f, ca, "caller").CertificatePEM()))
	f.Fuzz(func(t *testing.T, der []byte) {
		encoded := inPEM("CERTIFICATE", der)
		if bundle, err := pki.ParseBundle(encoded, nil, now); err == nil {
			for _, c := range bundle.Certificates() {
				if !c.X509().IsCA {
					t.Error("a bundle holds what is no CA")
				}
			}
		}
		if authority, err := pki.ParseAuthority(encoded, key); err == nil {
			if _, err := authority.IssueServer(pki.ServerRequest{Hosts: []string{"a.example.com"}, Key: authority.Key(), Lifetime: day}, now); err == nil && !authority.Certificate().X509().IsCA {
				t.Error("what is no CA has signed")
			}
		}
	})
}

// FuzzCRL gives any DER as the CRL of a CA. A bundle takes it only if the CA signed it.
func FuzzCRL(f *testing.F) {
	ca := root(f, "fuzz")
	leaf := client(f, ca, "caller")
	signed := derOf(f, crl(f, ca, 7, leaf.Leaf().Serial()).PEM())
	f.Add(signed)
	f.Add(derOf(f, crl(f, root(f, "other"), 1).PEM()))
	f.Fuzz(func(t *testing.T, der []byte) {
		encoded := inPEM("X509 CRL", der)
		if _, err := pki.ParseCRLs(encoded); err != nil {
			return
		}
		if _, err := pki.ParseBundle(ca.Certificate().PEM(), encoded, now); err != nil {
			return
		}
		list, err := x509.ParseRevocationList(der)
		if err != nil || list.CheckSignatureFrom(ca.Certificate().X509()) != nil {
			t.Error("a bundle took a CRL that its CA has not signed")
		}
	})
}

// FuzzCertificateRequest gives any DER as a request. Whatever it asks for, the
// certificate says what the agent decided.
func FuzzCertificateRequest(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"admin.example.com"}}, key)
	if err != nil {
		f.Fatal(err)
	}
	ca := root(f, "fuzz")
	f.Add(der)
	f.Fuzz(func(t *testing.T, der []byte) {
		request, err := pki.ParseCertificateRequest(inPEM("CERTIFICATE REQUEST", der))
		if err != nil {
			return
		}
		chain, err := ca.IssueClientFor(clientRequest("caller"), request, now)
		if err != nil {
			return
		}
		leaf := chain.Leaf().X509()
		if leaf.IsCA || len(leaf.DNSNames) > 0 || len(leaf.URIs) != 1 || leaf.Subject.CommonName != "caller" {
			t.Errorf("the request got itself into the certificate: %v %v %v, CA %t", leaf.Subject, leaf.DNSNames, leaf.URIs, leaf.IsCA)
		}
	})
}
