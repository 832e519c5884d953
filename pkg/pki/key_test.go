package pki_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/testpki"
	"sallyport.dev/sallyport/pkg/pki"
)

func TestEveryAlgorithmMakesAKeyThatIsReadBack(t *testing.T) {
	for _, algorithm := range pki.Algorithms() {
		t.Run(string(algorithm), func(t *testing.T) {
			if algorithm == pki.RSA4096 && testing.Short() {
				t.Skip("an RSA key of 4096 bits takes seconds to make; run without -short")
			}
			named, err := pki.ParseAlgorithm(string(algorithm))
			if err != nil || named != algorithm {
				t.Fatalf("reading the name gave %q, %v", named, err)
			}
			key := generateKey(t, algorithm)
			if key.Algorithm() != algorithm {
				t.Errorf("algorithm is %s", key.Algorithm())
			}
			again, err := pki.ParseKey(key.PEM())
			if err != nil {
				t.Fatal(err)
			}
			if again.Algorithm() != algorithm || string(again.PEM()) != string(key.PEM()) {
				t.Errorf("reading the key again gave %s", again.Algorithm())
			}
			first, err := key.ID()
			if err != nil || len(first) != 40 {
				t.Errorf("key id is %q, %v, expected 160 bits", first, err)
			}
			if second, _ := again.ID(); first != second {
				t.Errorf("key id is %s, and %s after reading", first, second)
			}
		})
	}
}

func TestAlgorithmsHaveExactNames(t *testing.T) {
	for _, name := range []string{"", "RSA", "rsa-2048", "ECDSA-P521", "Ed25519", "ECDSA-P256 ", strings.Repeat("x", 1000)} {
		_, err := pki.ParseAlgorithm(name)
		wantError(t, err, "reading key algorithm: found ", `expected one of ["ECDSA-P256" "ECDSA-P384" "RSA-2048" "RSA-3072" "RSA-4096"]`)
		_, err = pki.GenerateKey(pki.Algorithm(name))
		wantError(t, err, "generating key: found algorithm ", "expected one of")
	}
	if all := pki.Algorithms(); all[0] != pki.ECDSAP256 || slices.Contains(all, "") {
		t.Errorf("algorithms are %q, expected the default ECDSA-P256 first", all)
	}
}

func TestPrivateKeysAreReadStrictly(t *testing.T) {
	ec := testpki.P256(t)
	p384 := ecKey(t, elliptic.P384())
	rsa2048 := rsaKey(t, 2048)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1 := func(key *ecdsa.PrivateKey) []byte {
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return testpki.PEM("EC PRIVATE KEY", der)
	}
	encrypted := "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0102030405060708090A0B0C0D0E0F10\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"

	for sentence, row := range map[string]struct {
		data    []byte
		want    pki.Algorithm
		refusal string
	}{
		"PKCS #8 is read":                             {data: testpki.KeyPEM(t, p384), want: pki.ECDSAP384},
		"the older form of EC is read":                {data: sec1(ec), want: pki.ECDSAP256},
		"the older form of RSA is read":               {data: testpki.PEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsa2048)), want: pki.RSA2048},
		"RSA in PKCS #8 is read":                      {data: testpki.KeyPEM(t, rsa2048), want: pki.RSA2048},
		"Ed25519 is refused":                          {data: testpki.KeyPEM(t, ed), refusal: "key is a ed25519.PublicKey, expected ECDSA or RSA"},
		"RSA with 1024 bits is refused":               {data: testpki.KeyPEM(t, rsaKey(t, 1024)), refusal: "RSA key has 1024 bits, expected 2048, 3072 or 4096"},
		"RSA of an odd size is refused":               {data: testpki.KeyPEM(t, rsaKey(t, 2056)), refusal: "RSA key has 2056 bits, expected 2048, 3072 or 4096"},
		"P-521 is refused":                            {data: testpki.KeyPEM(t, ecKey(t, elliptic.P521())), refusal: "key is on the curve P-521, expected P-256 or P-384"},
		"P-224 is refused":                            {data: sec1(ecKey(t, elliptic.P224())), refusal: "key is on the curve P-224, expected P-256 or P-384"},
		"a key under the label of another is refused": {data: testpki.PEM("RSA PRIVATE KEY", mustPKCS8(t, ec)), refusal: "the block does not hold a key of its label"},
		"a key encrypted by OpenSSL is refused":       {data: []byte(encrypted), refusal: "encrypted keys are not read"},
		"an encrypted PKCS #8 key is refused":         {data: testpki.PEM("ENCRYPTED PRIVATE KEY", []byte("x")), refusal: `block 1 is a "ENCRYPTED PRIVATE KEY", expected ["PRIVATE KEY" "EC PRIVATE KEY" "RSA PRIVATE KEY"]`},
		"EC parameters before the key are refused":    {data: join(testpki.PEM("EC PARAMETERS", []byte{6, 0}), sec1(ec)), refusal: `block 1 is a "EC PARAMETERS"`},
		"two keys are refused":                        {data: join(testpki.KeyPEM(t, ec), testpki.KeyPEM(t, p384)), refusal: "more than 1 blocks"},
		"a certificate beside the key is refused":     {data: join(testpki.KeyPEM(t, ec), testpki.Root(t, "ca", testpki.Around(now)).PEM()), refusal: `block 2 is a "CERTIFICATE"`},
		"a public key is refused":                     {data: testpki.PEM("PUBLIC KEY", []byte("x")), refusal: `block 1 is a "PUBLIC KEY"`},
		"nothing is refused":                          {data: nil, refusal: "no block found"},
		"more than 32 KiB are refused unread":         {data: make([]byte, 32<<10+1), refusal: "32769 bytes, at most 32768 are read"},
	} {
		t.Run(sentence, func(t *testing.T) {
			key, err := pki.ParseKey(row.data)
			if row.refusal != "" {
				wantError(t, err, "reading private key: ", row.refusal)
				if key.PEM() != nil {
					t.Error("a refused key was returned")
				}
				return
			}
			if err != nil || key.Algorithm() != row.want {
				t.Fatalf("found %q, %v, expected %s", key.Algorithm(), err, row.want)
			}
			if !strings.HasPrefix(string(key.PEM()), "-----BEGIN PRIVATE KEY-----\n") {
				t.Error("the key is not written as PKCS #8")
			}
		})
	}
}

func TestTheZeroKeySignsNothing(t *testing.T) {
	var key pki.Key
	if key.Public() != nil || key.PEM() != nil || key.Algorithm() != "" {
		t.Error("the zero key has content")
	}
	if id, err := key.ID(); err == nil {
		t.Errorf("the zero key has the id %q", id)
	}
	_, err := pki.NewRoot(pki.RootRequest{CommonName: "ca", Lifetime: day}, now)
	wantError(t, err, "making root: there is no key to certify")
	_, err = root(t, "ca").IssueServer(pki.ServerRequest{Hosts: []string{"shop.example"}, Lifetime: day}, now)
	wantError(t, err, "issuing server certificate for shop.example: there is no key to certify")
}

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func mustPKCS8(t testing.TB, key crypto.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
