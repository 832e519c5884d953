package pki_test

import (
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/testpki"
	"sallyport.dev/sallyport/pkg/pki"
)

// unknownExtension is an extension of nobody (RFC 7299 leaves the arc to examples).
func unknownExtension(critical bool) testpki.Option {
	return func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 32473, 1}, Critical: critical, Value: []byte{5, 0}})
	}
}

func TestCertificatesOfOthersAreReadIfVerifiersOfTodayTakeThem(t *testing.T) {
	span := testpki.Around(now)
	ca := testpki.Root(t, "ca", span)
	rsaCA := testpki.RootWith(t, rsaKey(t, 2048), "rsa ca", span)
	leaf := ca.Leaf(t, "shop.example", span)
	algorithm := func(a x509.SignatureAlgorithm) testpki.Option {
		return func(c *x509.Certificate) { c.SignatureAlgorithm = a }
	}
	withKey := func(spki any) []byte {
		return leaf.Edited(t, ca.Key, func(b *testpki.Body) { b.PublicKey = asn1.RawValue{FullBytes: mustDER(t, spki)} })
	}

	for sentence, row := range map[string]struct {
		data    []byte
		refusal string
	}{
		"ECDSA with SHA-256 is taken":                     {data: leaf.PEM()},
		"RSA with SHA-256 is taken":                       {data: rsaCA.Leaf(t, "shop.example", span).PEM()},
		"RSA-PSS is taken":                                {data: rsaCA.Leaf(t, "shop.example", span, algorithm(x509.SHA384WithRSAPSS)).PEM()},
		"P-521 of others is taken":                        {data: ca.LeafWith(t, ecKey(t, elliptic.P521()), "shop.example", span).PEM()},
		"a certificate out of its validity is still read": {data: ca.Leaf(t, "shop.example", testpki.Span{From: now.Add(-2 * year), To: now.Add(-year)}).PEM()},
		"an unknown extension is ignored":                 {data: ca.Leaf(t, "shop.example", span, unknownExtension(false)).PEM()},
		"an unknown critical extension is refused":        {data: ca.Leaf(t, "shop.example", span, unknownExtension(true)).PEM(), refusal: "critical extension 1.3.6.1.4.1.32473.1 is not understood (RFC 5280 section 4.2)"},
		"an RSA signature over SHA-1 is refused":          {data: rsaCA.Leaf(t, "shop.example", span, algorithm(x509.SHA1WithRSA)).PEM(), refusal: "signature algorithm is SHA1-RSA, expected SHA-256 or stronger"},
		"an ECDSA signature over SHA-1 is refused":        {data: ca.Leaf(t, "shop.example", span, algorithm(x509.ECDSAWithSHA1)).PEM(), refusal: "signature algorithm is ECDSA-SHA1, expected SHA-256 or stronger"},
		"RSA with 1024 bits is refused":                   {data: ca.LeafWith(t, rsaKey(t, 1024), "shop.example", span).PEM(), refusal: "RSA key has 1024 bits, expected 2048 to 8192"},
		"RSA with 16384 bits is refused":                  {data: withKey(rsaPublic(t, 16384)), refusal: "RSA key has 16384 bits, expected 2048 to 8192"},
		"P-224 is refused":                                {data: ca.LeafWith(t, ecKey(t, elliptic.P224()), "shop.example", span).PEM(), refusal: "ECDSA key has 224 bits, expected at least 256"},
		"a curve given by its parameters is refused":      {data: withKey(explicitCurve()), refusal: "ECDSA parameters"},
		"DSA is refused":                                  {data: withKey(dsaPublic(t)), refusal: "key is a *dsa.PublicKey, expected RSA, ECDSA or Ed25519"},
		"an extension that comes twice is refused":        {data: leaf.Edited(t, ca.Key, func(b *testpki.Body) { b.Extensions = append(b.Extensions, b.Extensions[0]) }), refusal: "duplicate extension"},
	} {
		t.Run(sentence, func(t *testing.T) {
			found, err := pki.ParseCertificates(row.data)
			if row.refusal != "" {
				wantError(t, err, "block 1: reading certificate", row.refusal)
				return
			}
			if err != nil || len(found) != 1 {
				t.Fatalf("found %d certificates, %v", len(found), err)
			}
		})
	}
}

func TestAccessorsSayWhatIsInTheCertificate(t *testing.T) {
	span := testpki.Around(now.Add(time.Millisecond))
	ca := testpki.Root(t, "ca", span)
	leaf := ca.Leaf(t, "shop.example", span)
	found, err := pki.ParseCertificates(join(leaf.PEM(), ca.PEM()))
	if err != nil {
		t.Fatal(err)
	}
	got, issuer := found[0], found[1]
	if got.IsZero() || !(pki.Certificate{}).IsZero() {
		t.Error("IsZero is wrong")
	}
	if got.Serial().String() != mustSerial(t, leaf.X509.SerialNumber.Text(16)).String() {
		t.Errorf("serial number is %s, expected %x", got.Serial(), leaf.X509.SerialNumber)
	}
	if got.AuthorityKeyID() == "" || got.AuthorityKeyID() != issuer.SubjectKeyID() || got.SubjectKeyID() != "" {
		t.Errorf("key ids are %q under %q", got.SubjectKeyID(), got.AuthorityKeyID())
	}
	if !got.NotBefore().Equal(now.Add(-time.Hour)) || !got.NotAfter().Equal(now.Add(day)) {
		t.Errorf("valid from %s to %s", got.NotBefore(), got.NotAfter())
	}
	if string(got.PEM()) != string(leaf.PEM()) {
		t.Error("PEM is not what was read")
	}
	if !got.Equal(found[0]) || got.Equal(issuer) || got.Equal(pki.Certificate{}) || (pki.Certificate{}).Equal(got) {
		t.Error("Equal is wrong")
	}
}

func mustSerial(t testing.TB, text string) pki.Serial {
	t.Helper()
	serial, err := pki.ParseSerial(text)
	if err != nil {
		t.Fatal(err)
	}
	return serial
}

func mustDER(t testing.TB, value any) []byte {
	t.Helper()
	der, err := asn1.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// publicKeyInfo is SubjectPublicKeyInfo (RFC 5280 section 4.1).
type publicKeyInfo struct {
	Algorithm pkix.AlgorithmIdentifier
	Key       asn1.BitString
}

// rsaPublic is an odd number of so many bits in the place of a modulus: making a
// real one takes minutes, and nobody gets as far as using it.
func rsaPublic(t testing.TB, bits int) publicKeyInfo {
	t.Helper()
	modulus, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits-1)))
	if err != nil {
		t.Fatal(err)
	}
	modulus.SetBit(modulus, bits-1, 1).SetBit(modulus, 0, 1)
	key := mustDER(t, struct {
		N *big.Int
		E int
	}{modulus, 65537})
	return publicKeyInfo{
		Algorithm: pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, Parameters: asn1.NullRawValue},
		Key:       asn1.BitString{Bytes: key, BitLength: 8 * len(key)},
	}
}

// explicitCurve has curve parameters in the place of a curve's name, the form that
// CVE-2020-0601 abused (RFC 5480 section 2.1.1 forbids it).
func explicitCurve() publicKeyInfo {
	return publicKeyInfo{
		Algorithm: pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}, Parameters: asn1.RawValue{FullBytes: []byte{0x30, 3, 2, 1, 1}}},
		Key:       asn1.BitString{Bytes: []byte{4, 1, 1}, BitLength: 24},
	}
}

func dsaPublic(t testing.TB) publicKeyInfo {
	t.Helper()
	parameters := mustDER(t, struct{ P, Q, G *big.Int }{big.NewInt(23), big.NewInt(11), big.NewInt(4)})
	return publicKeyInfo{
		Algorithm: pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}, Parameters: asn1.RawValue{FullBytes: parameters}},
		Key:       asn1.BitString{Bytes: []byte{2, 1, 8}, BitLength: 24},
	}
}
