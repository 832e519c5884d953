package verifiers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
)

// answer is what a verifier says, with its words. An error is neither.
type answer struct {
	accepts bool
	words   string
}

// ours is what the product says of a question: it writes no bundle that it cannot read,
// which refuses everybody.
func ours(q question, now time.Time) (answer, error) {
	bundle, err := pki.ParseBundle(q.cas, q.crls, now)
	if err != nil {
		return answer{words: err.Error()}, nil //nolint:nilerr // that is its answer
	}
	chain, err := pki.ParseChain(q.chain)
	if err != nil {
		return answer{}, err
	}
	if q.host == "" {
		err = chain.VerifyClient(bundle, now)
	} else {
		leaf := chain.Leaf().X509()
		err = errors.Join(chain.VerifyServer(bundle, leaf.DNSNames, now), leaf.VerifyHostname(q.host))
	}
	return answer{accepts: err == nil, words: fmt.Sprint(err)}, nil
}

// command asks a program that ends with 0 for yes. The refusal is a word of its
// output, so that a wrong option is not taken for one.
func command(refusal, program string, arguments ...string) (answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	output, err := exec.CommandContext(ctx, program, arguments...).CombinedOutput()
	words := string(output)
	var ended *exec.ExitError
	switch {
	case err == nil:
		return answer{accepts: true, words: words}, nil
	case errors.As(err, &ended) && strings.Contains(words, refusal):
		return answer{words: words}, nil
	}
	return answer{}, fmt.Errorf("running %s: %w\n%s", program, err, words)
}

// openssl trusts a CA that is no root as gateways do (-partial_chain). Where there are
// CRLs it asks for that of every issuer (-crl_check_all), which it can only up to a root.
func openssl(q question, files paths) (answer, error) {
	arguments := []string{"verify", "-x509_strict", "-no-CApath", "-no-CAstore", "-CAfile", files.cas, "-untrusted", files.chain}
	if len(q.crls) > 0 {
		arguments = append(arguments, "-CRLfile", files.crls, "-crl_check_all")
	} else {
		arguments = append(arguments, "-partial_chain")
	}
	if q.host == "" {
		arguments = append(arguments, "-purpose", "sslclient")
	} else {
		arguments = append(arguments, "-purpose", "sslserver", "-verify_hostname", q.host)
	}
	return command("verification failed", "openssl", append(arguments, files.chain)...)
}

func certtool(q question, files paths) (answer, error) {
	arguments := []string{"--verify", "--infile", files.chain, "--load-ca-certificate", files.cas}
	if len(q.crls) > 0 {
		arguments = append(arguments, "--load-crl", files.crls)
	}
	if q.host == "" {
		arguments = append(arguments, "--verify-purpose", "1.3.6.1.5.5.7.3.2")
	} else {
		arguments = append(arguments, "--verify-purpose", "1.3.6.1.5.5.7.3.1", "--verify-hostname", q.host)
	}
	return command("Not verified", "certtool", arguments...)
}

// paths are the files of a question.
type paths struct{ chain, key, cas, crls string }

func (q question) write(t *testing.T, directory string) paths {
	t.Helper()
	write := func(name string, data []byte) string {
		path := filepath.Join(directory, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return paths{chain: write("chain.pem", q.chain), key: write("key.pem", q.key), cas: write("cas.pem", q.cas), crls: write("crls.pem", q.crls)}
}

// mustHave skips what needs a program that is not installed, unless it is required.
func mustHave(t *testing.T, program, from string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("SALLYPORT_VERIFIERS") == "required" {
		t.Fatalf("%s is not on the PATH; install the package %s", program, from)
	}
	t.Skipf("%s is not on the PATH; install the package %s to ask it too", program, from)
}

func assertAnswer(t *testing.T, got answer, err error, want bool) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if got.accepts != want {
		t.Errorf("accepts: %v, want %v; it says:\n%s", got.accepts, want, got.words)
	}
}

// Every verifier that a certificate of ours may meet gives the same answer, the right
// one, to every question, for every key algorithm.
func TestAllVerifiersAgree(t *testing.T) {
	now := time.Now()
	asked := 0
	for _, algorithm := range pki.Algorithms() {
		t.Run(string(algorithm), func(t *testing.T) {
			questions := newWorld(t, algorithm, now).questions()
			asked += len(questions)
			directories := make([]string, len(questions))
			files := make([]paths, len(questions))
			for i, q := range questions {
				directories[i] = t.TempDir()
				files[i] = q.write(t, directories[i])
			}
			t.Run("Go", func(t *testing.T) {
				for _, q := range questions {
					t.Run(q.name, func(t *testing.T) { got, err := ours(q, now); assertAnswer(t, got, err, q.accept) })
				}
			})
			t.Run("OpenSSL", func(t *testing.T) {
				mustHave(t, "openssl", "openssl")
				for i, q := range questions {
					t.Run(q.name, func(t *testing.T) { got, err := openssl(q, files[i]); assertAnswer(t, got, err, q.accept) })
				}
			})
			t.Run("GnuTLS", func(t *testing.T) {
				mustHave(t, "certtool", "gnutls-bin")
				for i, q := range questions {
					t.Run(q.name, func(t *testing.T) {
						got, err := certtool(q, files[i])
						assertAnswer(t, got, err, q.accept || q.lenient != "")
					})
				}
			})
			t.Run("Envoy", func(t *testing.T) {
				edge := startEnvoy(t, questions, files)
				for i, q := range questions {
					t.Run(q.name, func(t *testing.T) { got, err := edge.ask(i, q); assertAnswer(t, got, err, q.accept) })
				}
			})
		})
	}
	t.Logf("%d questions", asked)
}
