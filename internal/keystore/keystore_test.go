package keystore

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
)

// pairThrough is a caller's pair of a CA that another one vouches for.
func pairThrough(t *testing.T, a pki.Algorithm) pki.Pair {
	t.Helper()
	now := time.Now()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	root := func(name string) pki.Authority {
		key, err := pki.GenerateKey(pki.ECDSAP256)
		must(err)
		made, err := pki.NewRoot(pki.RootRequest{CommonName: name, Key: key, Lifetime: 48 * time.Hour}, now)
		must(err)
		return made
	}
	before, next := root("g1"), root("g2")
	cross, err := before.CrossSign(next.Certificate(), now)
	must(err)
	through, err := next.Through(cross)
	must(err)
	key, err := pki.GenerateKey(a)
	must(err)
	pair, err := through.IssueClient(pki.ClientRequest{CommonName: "billing", Identity: "spiffe://example.com/ns/shop/client/billing", Lifetime: time.Hour}, key, now)
	must(err)
	return pair
}

func password(t *testing.T, text string) Password {
	t.Helper()
	p, err := ParsePassword([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAKeyStoreHoldsThePairItWasMadeOf(t *testing.T) {
	for _, a := range []pki.Algorithm{pki.ECDSAP256, pki.ECDSAP384, pki.RSA2048} {
		pair, secret := pairThrough(t, a), password(t, "correct horse ✓")
		file, err := Encode(pair, secret)
		if err != nil {
			t.Fatal(err)
		}
		other := pairThrough(t, a)
		for name, test := range map[string]struct {
			holds bool
			want  bool
		}{
			"it":                 {Holds(file, pair, secret), true},
			"another pair":       {Holds(file, other, secret), false},
			"another password":   {Holds(file, pair, password(t, "wrong")), false},
			"a file cut off":     {Holds(file[:len(file)-1], pair, secret), false},
			"no file":            {Holds(nil, pair, secret), false},
			"a mebibyte of text": {Holds([]byte(strings.Repeat("x", 1<<20)), pair, secret), false},
		} {
			if test.holds != test.want {
				t.Errorf("%s, %s: holds %t", a, name, test.holds)
			}
		}
	}
}

func TestPasswordsThatCannotBeUsed(t *testing.T) {
	for text, want := range map[string]string{
		"": "is empty", "\n": "is empty", strings.Repeat("x", 257): "has 257 bytes", "a\xff": "no text in UTF-8", "a\x00b": "no place for", "🔒": "no place for",
	} {
		if _, err := ParsePassword([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: found error %v, expected one with %q", text, err, want)
		}
	}
	if password(t, "secret\r\n") != password(t, "secret") {
		t.Error("a line break at the end counts")
	}
	if _, err := Encode(pairThrough(t, pki.ECDSAP256), Password{}); err == nil {
		t.Error("a key store without a password was made")
	}
}

// What others make of it: OpenSSL and Java, where they are installed.
func TestOthersReadAKeyStore(t *testing.T) {
	pair := pairThrough(t, pki.ECDSAP256)
	file, err := Encode(pair, password(t, "correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keystore.p12")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	for program, test := range map[string]struct {
		arguments []string
		want      []string
	}{
		"openssl": {[]string{"pkcs12", "-in", path, "-passin", "pass:correct horse", "-nodes"}, []string{"BEGIN PRIVATE KEY", "CN = billing", "CN = g2"}},
		"keytool": {[]string{"-list", "-v", "-keystore", path, "-storetype", "PKCS12", "-storepass", "correct horse"}, []string{"PrivateKeyEntry", "Certificate chain length: 2", "CN=billing"}},
	} {
		t.Run(program, func(t *testing.T) {
			binary, err := exec.LookPath(program)
			if err != nil {
				t.Skipf("%s is not installed: it is not asked", program)
			}
			said, err := exec.CommandContext(t.Context(), binary, test.arguments...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
			for _, want := range test.want {
				if text := strings.ReplaceAll(string(said), "CN=", "CN = "); !strings.Contains(text, strings.ReplaceAll(want, "CN=", "CN = ")) {
					t.Errorf("it says\n%s\nexpected %q", said, want)
				}
			}
		})
	}
}
