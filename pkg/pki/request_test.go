package pki_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/internal/testpki"
	"sallyport.dev/sallyport/pkg/pki"
)

// requested is a certificate request in DER, as somebody makes it.
func requested(t *testing.T, key crypto.Signer, change ...func(*x509.CertificateRequest)) []byte {
	t.Helper()
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "somebody"}}
	for _, apply := range change {
		apply(template)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// greedy asks for everything that a certificate can give.
func greedy(t *testing.T) func(*x509.CertificateRequest) {
	t.Helper()
	extension := func(id asn1.ObjectIdentifier, value any) pkix.Extension {
		der, err := asn1.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return pkix.Extension{Id: id, Critical: true, Value: der}
	}
	return func(r *x509.CertificateRequest) {
		r.Subject = pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}}
		r.DNSNames = []string{"*.example.com", "victim.example.com"}
		r.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.com", Path: "/ns/victim/client/victim"}}
		r.IPAddresses, r.EmailAddresses = []net.IP{net.IPv4(192, 0, 2, 1)}, []string{"root@example.com"}
		r.ExtraExtensions = []pkix.Extension{
			extension(asn1.ObjectIdentifier{2, 5, 29, 19}, struct{ IsCA bool }{true}),
			extension(asn1.ObjectIdentifier{2, 5, 29, 37}, []asn1.ObjectIdentifier{{2, 5, 29, 37, 0}, {1, 3, 6, 1, 5, 5, 7, 3, 1}}),
			extension(asn1.ObjectIdentifier{2, 5, 29, 15}, asn1.BitString{Bytes: []byte{0xff}, BitLength: 8}),
		}
	}
}

// Of a request nothing gets into the certificate but the key.
func TestARequestGivesItsKeyAndNothingElse(t *testing.T) {
	authority := root(t, "shop g1")
	names := func(n int) func(*x509.CertificateRequest) {
		return func(r *x509.CertificateRequest) {
			for i := range n {
				r.DNSNames = append(r.DNSNames, fmt.Sprintf("n%d.example.com", i))
			}
		}
	}
	for sentence, change := range map[string]func(*x509.CertificateRequest){
		"a plain one":               func(*x509.CertificateRequest) {},
		"one without a subject":     func(r *x509.CertificateRequest) { r.Subject = pkix.Name{} },
		"one that wants everything": greedy(t),
		"one of 500 names":          names(500),
	} {
		t.Run(sentence, func(t *testing.T) {
			for _, key := range []crypto.Signer{ecKey(t, elliptic.P256()), ecKey(t, elliptic.P384()), rsaKey(t, 2048)} {
				request, err := pki.ParseCertificateRequest(testpki.PEM("CERTIFICATE REQUEST", requested(t, key, change)))
				if err != nil {
					t.Fatal(err)
				}
				chain, err := authority.IssueClientFor(pki.ClientRequest{CommonName: "billing", Identity: "spiffe://example.com/ns/shop/client/billing", Lifetime: day}, request, now)
				if err != nil {
					t.Fatal(err)
				}
				if !request.Certifies(chain.Leaf()) {
					t.Error("the certificate is for another key")
				}
				want := profile{
					CommonName: "billing", URIs: []string{"spiffe://example.com/ns/shop/client/billing"},
					Usage: x509.KeyUsageDigitalSignature, ExtendedUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
				}
				if diff := cmp.Diff(want, profileOf(chain.Leaf().X509())); diff != "" {
					t.Errorf("certificate (-want +found):\n%s", diff)
				}
			}
		})
	}
}

func TestRequestsAreReadStrictly(t *testing.T) {
	ec := ecKey(t, elliptic.P256())
	good := requested(t, ec)
	// The signature is the last thing in it.
	forged := append([]byte{}, good...)
	forged[len(forged)-1] ^= 1
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sha1 := func(r *x509.CertificateRequest) { r.SignatureAlgorithm = x509.SHA1WithRSA }
	many := func(r *x509.CertificateRequest) {
		for i := range 1000 {
			r.DNSNames = append(r.DNSNames, fmt.Sprintf("name-%d.example.com", i))
		}
	}
	inPEM := func(der []byte) []byte { return testpki.PEM("CERTIFICATE REQUEST", der) }
	for sentence, row := range map[string]struct {
		data    []byte
		refusal string
	}{
		"a signature of another key is refused": {inPEM(forged), "it is not signed by its own key; make it again with the key it is for"},
		"RSA with 1024 bits is refused":         {inPEM(requested(t, rsaKey(t, 1024))), "RSA key has 1024 bits"},
		"P-224 is refused":                      {inPEM(requested(t, ecKey(t, elliptic.P224()))), "key is on the curve P-224"},
		"P-521 is refused":                      {inPEM(requested(t, ecKey(t, elliptic.P521()))), "key is on the curve P-521"},
		"Ed25519 is refused":                    {inPEM(requested(t, ed)), "key is a ed25519.PublicKey"},
		"a signature over SHA-1 is refused":     {inPEM(requested(t, rsaKey(t, 2048), sha1)), "signature algorithm is SHA1-RSA, expected SHA-256 or stronger"},
		"1,000 names are refused unread":        {inPEM(requested(t, ec, many)), "at most 16384 are read"},
		"two requests are refused":              {join(inPEM(good), inPEM(good)), "more than 1 blocks"},
		"a certificate is refused":              {testpki.Root(t, "ca", testpki.Around(now)).PEM(), `block 1 is a "CERTIFICATE"`},
		"the key itself is refused":             {testpki.KeyPEM(t, ec), `block 1 is a "PRIVATE KEY"`},
		"bytes after it are refused":            {inPEM(append(append([]byte{}, good...), 0)), "trailing data"},
		"half of it is refused":                 {inPEM(good[:len(good)/2]), "data truncated"},
		"an empty block is refused":             {inPEM(nil), "sequence truncated"},
		"nothing is refused":                    {nil, "no block found"},
	} {
		t.Run(sentence, func(t *testing.T) {
			_, err := pki.ParseCertificateRequest(row.data)
			wantError(t, err, "reading certificate request: ", row.refusal)
		})
	}
}
