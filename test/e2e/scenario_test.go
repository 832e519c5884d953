package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack/edge"
	"sallyport.dev/sallyport/internal/testenv"
	"sallyport.dev/sallyport/pkg/pki"
)

// patience is how long anything may take that is waited for.
const patience = 30 * time.Second

// eventually asks again until there is no error.
func eventually(t *testing.T, what string, ask func(ctx context.Context) error) {
	t.Helper()
	testenv.Eventually(t, patience, what, ask)
}

// namespace makes one for a test, with a workload named httpbin.
func namespace(t *testing.T, name string, labels ...string) {
	t.Helper()
	manifest := "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: " + name + "\n"
	if len(labels) > 0 {
		manifest += "  labels: {" + strings.Join(labels, ", ") + "}\n"
	}
	apply(t, manifest)
	if err := shared.stack.Httpbin(t.Context(), name, "httpbin", 80); err != nil {
		t.Fatal(err)
	}
}

func apply(t *testing.T, manifest string) {
	t.Helper()
	if err := shared.stack.ApplyYAML(t.Context(), manifest); err != nil {
		t.Fatal(err)
	}
}

// ready waits until an object of ours is Ready, as kubectl wait would.
func ready(t *testing.T, kind, namespace, name string) *unstructured.Unstructured {
	t.Helper()
	object := &unstructured.Unstructured{}
	object.SetAPIVersion("mtls.sallyport.dev/v1alpha1")
	object.SetKind(kind)
	eventually(t, fmt.Sprintf("%s %s/%s is Ready", kind, namespace, name), func(ctx context.Context) error {
		if err := shared.stack.Client().Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object); err != nil {
			return err
		}
		conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
		for _, c := range conditions {
			condition, _ := c.(map[string]any)
			if condition["type"] == "Ready" && condition["status"] == "True" {
				return nil
			}
		}
		return fmt.Errorf("conditions %v", conditions)
	})
	return object
}

// certificateFor asks for a client certificate of an authority into a Secret, and
// waits for it.
func certificateFor(t *testing.T, namespace, name, authority string) edge.Caller {
	t.Helper()
	apply(t, fmt.Sprintf(`
apiVersion: mtls.sallyport.dev/v1alpha1
kind: ClientCertificate
metadata: {name: %[2]s, namespace: %[1]s}
spec: {authorityRef: {name: %[3]s}, secretName: %[2]s-client}
`, namespace, name, authority))
	ready(t, "ClientCertificate", namespace, name)
	var secret corev1.Secret
	if err := shared.stack.Client().Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name + "-client"}, &secret); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(secret.Data["tls.crt"], secret.Data["tls.key"])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(secret.Data["ca.crt"]) {
		t.Fatal("ca.crt holds no certificate")
	}
	return edge.Caller{Certificates: []tls.Certificate{pair}, Roots: roots}
}

// foreigner is a caller with a certificate of a CA that nobody trusts.
func foreigner(t *testing.T) edge.Caller {
	t.Helper()
	now := time.Now()
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	root, err := pki.NewRoot(pki.RootRequest{CommonName: "foreign", Key: key, Lifetime: time.Hour}, now)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := root.IssueClient(pki.ClientRequest{CommonName: "billing", Identity: "spiffe://" + trustDomain + "/ns/x/client/billing", Lifetime: time.Hour}, key, now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(leaf.CertificatePEM(), leaf.KeyPEM())
	if err != nil {
		t.Fatal(err)
	}
	return edge.Caller{Certificates: []tls.Certificate{pair}}
}

// checkThreeAnswers is the point of it all, on every gateway: the issued certificate
// reaches the workload, no certificate and a foreign one are refused by an alert.
func checkThreeAnswers(t *testing.T, friend edge.Caller, host string) {
	t.Helper()
	strangers := map[string]edge.Caller{"no certificate": {Roots: friend.Roots}, "a foreign certificate": foreigner(t)}
	for _, gateway := range shared.stack.Gateways() {
		call := func(ctx context.Context, c edge.Caller) edge.Answer {
			return c.Call(ctx, gateway.HTTPS, host, host, "/status/418", nil)
		}
		eventually(t, fmt.Sprintf("%s accepts the issued certificate for %s", gateway.Pod, host), func(ctx context.Context) error {
			if a := call(ctx, friend); a.Status != 418 {
				return fmt.Errorf("answer %s", a)
			}
			return nil
		})
		for who, stranger := range strangers {
			if a := call(t.Context(), stranger); a.Refusal == "" {
				t.Errorf("%s answers %s with %s for %s", gateway.Pod, who, a, host)
			}
		}
	}
}

// newRequest makes a key that never leaves the caller, and a certificate request.
func newRequest(t *testing.T) (key *ecdsa.PrivateKey, request string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"admin.example.com"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// stored reads an object as unstructured.
func stored(t *testing.T, apiVersion, kind, namespace, name string) map[string]any {
	t.Helper()
	object := &unstructured.Unstructured{}
	object.SetAPIVersion(apiVersion)
	object.SetKind(kind)
	if err := shared.stack.Client().Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, object); err != nil {
		t.Fatal(err)
	}
	return object.Object
}

func keyPEM(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
