package verifiers

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/testpki"
	"sallyport.dev/sallyport/pkg/pki"
)

// tools builds what tools/verify pins, once: zlint and BetterTLS.
var tools = sync.OnceValues(func() (string, error) {
	root, err := localstack.Root()
	if err != nil {
		return "", err
	}
	directory, err := os.MkdirTemp("", "verify-tools-")
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-mod=readonly", "-buildvcs=false", "-o", directory+string(filepath.Separator), "tool")
	build.Dir = filepath.Join(root, "tools", "verify")
	build.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	build.Stderr = os.Stderr
	return directory, build.Run()
})

func TestMain(m *testing.M) {
	code := m.Run()
	if directory, err := tools(); err == nil {
		os.RemoveAll(directory)
	}
	os.Exit(code)
}

func tool(t *testing.T, name string) string {
	t.Helper()
	directory, err := tools()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(directory, name)
}

// sources are the lints that fit a private PKI: the RFCs, and what the community found
// out the hard way. The browsers' and the CA/Browser Forum's rules are about public
// trust: they want OCSP, policies, certificate transparency.
const sources = "RFC3279,RFC5280,RFC5480,RFC5891,RFC8813,Community"

type finding struct {
	Result  string `json:"result"`
	Details string `json:"details"`
}

// zlint returns what each lint says of one certificate or CRL.
func zlint(t *testing.T, data []byte) map[string]finding {
	t.Helper()
	path := filepath.Join(t.TempDir(), "it.pem")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	output, err := exec.Command(tool(t, "zlint"), "-includeSources", sources, path).Output()
	if err != nil {
		t.Fatalf("running zlint: %v\n%s", err, output)
	}
	var findings map[string]finding
	if err := json.Unmarshal(output, &findings); err != nil {
		t.Fatalf("reading what zlint says: %v\n%s", err, output)
	}
	return findings
}

// assertClean counts the lints that applied, so that a run of none is seen.
func assertClean(t *testing.T, findings map[string]finding) {
	t.Helper()
	applied := 0
	for name, f := range findings {
		switch f.Result {
		case "NA", "NE":
		case "pass", "info":
			applied++
		default:
			t.Errorf("%s: %s %s", name, f.Result, f.Details)
		}
	}
	if applied < 10 {
		t.Errorf("%d lints applied, expected at least 10", applied)
	}
}

// zlint finds no error and no warning in any certificate or CRL that is made here.
func TestZlintFindsNothing(t *testing.T) {
	now := time.Now()
	for _, algorithm := range pki.Algorithms() {
		t.Run(string(algorithm), func(t *testing.T) {
			w := newWorld(t, algorithm, now)
			made := map[string][]byte{
				"root": w.old.Certificate().PEM(), "server": w.server.Leaf().PEM(), "client": w.client.Leaf().PEM(), "cross-signed": w.cross().PEM(),
				"empty CRL": w.crl(w.old, 0), "CRL": w.crl(w.old, 100, w.client, w.server),
			}
			for name, data := range made {
				t.Run(name, func(t *testing.T) { assertClean(t, zlint(t, data)) })
			}
		})
	}
}

// The same lints do see a CA without subject key identifier (RFC 5280 section 4.2.1.2).
func TestZlintSeesAFault(t *testing.T) {
	root := testpki.Root(t, "faulty", testpki.Around(time.Now()))
	faulty := root.Edited(t, root.Key, func(b *testpki.Body) { b.WithoutExtension(2, 5, 29, 14) })
	var errors []string
	for name, f := range zlint(t, faulty) {
		if f.Result == "error" || f.Result == "warn" {
			errors = append(errors, name)
		}
	}
	if len(errors) == 0 || !strings.Contains(strings.Join(errors, " "), "subject_key_id") {
		t.Errorf("findings %q, expected one about the subject key identifier", errors)
	}
}
