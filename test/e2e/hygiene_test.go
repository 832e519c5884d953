package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	"sallyport.dev/sallyport/pkg/pki"
)

// keys are all private keys that were stored in the run, each in the forms in which it
// could get out.
type keys struct {
	mu sync.Mutex
	// forms are by how they begin: form to the Secret it was seen in. A text is gone through once,
	// however many keys there are.
	forms map[beginning]map[string]string
	count int
	seen  map[string]bool
	// ended is whether the watch ended before the run did: then keys may be missing.
	ended bool
}

// beginning is how a form begins; each is longer.
type beginning [8]byte

func newKeys() *keys {
	return &keys{forms: map[beginning]map[string]string{}, seen: map[string]bool{}}
}

// watchKeys learns every key of every revision of every Secret until the context ends.
func watchKeys(ctx context.Context) (*keys, error) {
	kube, err := kubernetes.NewForConfig(shared.stack.Config())
	if err != nil {
		return nil, err
	}
	watch, err := kube.CoreV1().Secrets("").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	k := newKeys()
	go func() {
		for event := range watch.ResultChan() {
			if secret, ok := event.Object.(*corev1.Secret); ok {
				for key, value := range secret.Data {
					k.learn(secret.Namespace+"/"+secret.Name+" "+key, value)
				}
			}
		}
		k.mu.Lock()
		k.ended = true
		k.mu.Unlock()
	}()
	return k, nil
}

// learn takes the private keys out of a value.
func (k *keys) learn(from string, value []byte) {
	for block, rest := pem.Decode(value); block != nil; block, rest = pem.Decode(rest) {
		if !strings.Contains(block.Type, "PRIVATE KEY") {
			continue
		}
		k.mu.Lock()
		if id := string(block.Bytes); !k.seen[id] {
			k.seen[id] = true
			k.count++
			for _, secret := range secretParts(block.Bytes) {
				for _, form := range []string{
					string(secret), hex.EncodeToString(secret), strings.ToUpper(hex.EncodeToString(secret)),
					base64.StdEncoding.EncodeToString(secret), base64.RawURLEncoding.EncodeToString(secret),
					decimal(secret, " "), decimal(secret, ","),
				} {
					k.add(form, from)
				}
			}
			// As PEM, and as PEM in the data of a Secret: a line of each.
			lines := strings.Split(strings.TrimSpace(string(pem.EncodeToMemory(block))), "\n")
			k.add(lines[len(lines)/2], from)
			k.add(base64.StdEncoding.EncodeToString(value)[60:120], from)
		}
		k.mu.Unlock()
	}
}

func (k *keys) add(form, from string) {
	begins := beginning([]byte(form))
	if k.forms[begins] == nil {
		k.forms[begins] = map[string]string{}
	}
	k.forms[begins][form] = from
}

// decimal is what a slice of bytes is printed as.
func decimal(secret []byte, separator string) string {
	numbers := make([]string, len(secret))
	for i, b := range secret {
		numbers[i] = strconv.Itoa(int(b))
	}
	return strings.Join(numbers, separator)
}

// secretParts are the bytes that nobody may see: the number that is the key.
func secretParts(der []byte) [][]byte {
	parts := [][]byte{der}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if ec, ok := key.(*ecdsa.PrivateKey); err == nil && ok {
		if scalar, err := ec.Bytes(); err == nil {
			parts = append(parts, scalar)
		}
	}
	return parts
}

// in says which keys a text holds.
func (k *keys) in(text []byte) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var found []string
	for at := range max(0, len(text)-len(beginning{})+1) {
		for form, from := range k.forms[beginning(text[at:])] {
			if bytes.HasPrefix(text[at:], []byte(form)) && !slices.Contains(found, from) {
				found = append(found, from)
			}
		}
	}
	return found
}

// checkHygiene searches all that the run has left behind, but for the Secrets
// themselves: logs, the audit log, metrics, Events, ConfigMaps, our own kinds, Gateways.
func checkHygiene(ctx context.Context, k *keys, directory string) error {
	texts := map[string][]byte{}
	logs, err := filepath.Glob(filepath.Join(directory, "*.log"))
	if err != nil {
		return err
	}
	for _, path := range logs {
		if texts[filepath.Base(path)], err = os.ReadFile(path); err != nil {
			return err
		}
	}
	for _, replica := range append(shared.product.Agents, shared.product.Webhooks...) {
		if texts["metrics of "+replica.Pod], err = scrape(ctx, replica); err != nil {
			return fmt.Errorf("reading the metrics of %s: %w", replica.Pod, err)
		}
	}
	for _, kind := range []string{
		"v1/Event", "events.k8s.io/v1/Event", "v1/ConfigMap", "networking.istio.io/v1/Gateway", "gateway.kyma-project.io/v2/APIRule",
		"mtls.sallyport.dev/v1alpha1/CertificateAuthority", "mtls.sallyport.dev/v1alpha1/ClientCertificate", "mtls.sallyport.dev/v1alpha1/MutualTLSEndpoint",
		"mtls.sallyport.dev/v1alpha1/MutualTLSPolicy", "v1/Namespace", "v1/Pod", "coordination.k8s.io/v1/Lease",
		"admissionregistration.k8s.io/v1/MutatingWebhookConfiguration",
	} {
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion(kind[:strings.LastIndex(kind, "/")])
		list.SetKind(kind[strings.LastIndex(kind, "/")+1:] + "List")
		if err := shared.stack.Client().List(ctx, list); err != nil {
			return fmt.Errorf("listing %s: %w", kind, err)
		}
		if texts[kind], err = json.Marshal(list); err != nil {
			return err
		}
	}
	searched := 0
	for name, text := range texts {
		searched += len(text)
		if found := k.in(text); len(found) > 0 {
			return fmt.Errorf("%s holds the keys of %q", name, found)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ended {
		return errors.New("the watch on Secrets ended before the run: keys may be missing")
	}
	if k.count == 0 || len(logs) < 5 {
		return fmt.Errorf("%d keys were searched for in %d logs: that shows nothing", k.count, len(logs))
	}
	fmt.Printf("key hygiene: %d keys in none of %d texts, %d bytes\n", k.count, len(texts), searched)
	return nil
}

// A key that gets out is found, in whatever form.
func TestAKeyThatGetsOutIsFound(t *testing.T) {
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(key.PEM())
	scalar := secretParts(block.Bytes)[1]
	k := newKeys()
	k.learn("a Secret", key.PEM())
	for name, text := range map[string]string{
		"as it is":           string(key.PEM()),
		"its number in hex":  fmt.Sprintf("d=%x", scalar),
		"printed as a slice": fmt.Sprintf("%v", scalar),
		"in JSON":            `{"tls.key":"` + base64.StdEncoding.EncodeToString(key.PEM()) + `"}`,
		"in a JWK":           `{"d":"` + base64.RawURLEncoding.EncodeToString(scalar) + `"}`,
	} {
		if len(k.in([]byte("before "+text+" after"))) == 0 {
			t.Errorf("not found: %s", name)
		}
	}
	if found := k.in([]byte("nothing of it")); len(found) > 0 {
		t.Errorf("found in a text without it: %q", found)
	}
}
