package verifiers

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/testpki"
	"sallyport.dev/sallyport/pkg/pki"
)

// vectors are BetterTLS's: a root, and chains that a validator that trusts it has to
// accept or refuse.
type vectors struct {
	Root   []byte `json:"trustRoot"`
	Suites map[string]struct {
		TestCases []vector `json:"testCases"`
	} `json:"suites"`
}

type vector struct {
	ID           int      `json:"id"`
	Certificates [][]byte `json:"certificates"`
	Hostname     string   `json:"hostname"`
	Expected     string   `json:"expected"`
}

func exportVectors(t *testing.T) vectors {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vectors.json")
	if output, err := exec.Command(tool(t, "bettertls"), "export-tests", "--out", path).CombinedOutput(); err != nil {
		t.Fatalf("exporting the vectors: %v\n%s", err, output)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// validate asks the product's own types, as its agent does before it writes anything.
func (v vector) validate(trusted pki.Bundle, now time.Time) error {
	var data bytes.Buffer
	for _, der := range v.Certificates {
		data.Write(testpki.PEM("CERTIFICATE", der))
	}
	chain, err := pki.ParseChain(data.Bytes())
	if err != nil {
		return err
	}
	leaf := chain.Leaf().X509()
	if err := chain.VerifyServer(trusted, leaf.DNSNames, now); err != nil {
		return err
	}
	return leaf.VerifyHostname(v.Hostname)
}

// Nothing that BetterTLS wants refused gets through. Some that it lets a validator accept
// are refused: a chain here has one order, without other certificates and SHA-1 in it.
func TestBetterTLSVectors(t *testing.T) {
	v := exportVectors(t)
	now := time.Now()
	trusted, err := pki.ParseBundle(testpki.PEM("CERTIFICATE", v.Root), nil, now)
	if err != nil {
		t.Fatal(err)
	}
	all, accepted := 0, 0
	for name, suite := range v.Suites {
		t.Run(name, func(t *testing.T) {
			strict := 0
			for _, test := range suite.TestCases {
				all++
				err := test.validate(trusted, now)
				switch {
				case test.Expected == "REJECT" && err == nil:
					t.Errorf("vector %d: accepted, and has to be refused", test.ID)
				case test.Expected == "ACCEPT" && err != nil:
					strict++
				case err == nil:
					accepted++
				}
			}
			t.Logf("%d vectors; %d refused that a laxer validator may accept", len(suite.TestCases), strict)
		})
	}
	// Refusing everything would be no answer.
	if all < 9500 || accepted < 800 {
		t.Errorf("%d vectors of which %d were accepted, expected at least 9500 and 800", all, accepted)
	}
	t.Logf("%d vectors, %d accepted", all, accepted)
}
