package e2e

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/pkg/pki"
)

// teapot is what the workload behind mutual TLS answers, and nothing else at the edge.
const teapot = 418

// serverSecret puts a server certificate into the ingress namespace, as somebody does
// who makes his own, and returns its CA.
func serverSecret(t *testing.T, name, host string) pki.Authority {
	t.Helper()
	now := time.Now()
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	root, err := pki.NewRoot(pki.RootRequest{CommonName: name, Key: key, Lifetime: time.Hour}, now)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := root.IssueServer(pki.ServerRequest{Hosts: []string{host}, Key: key, Lifetime: time.Hour}, now)
	if err != nil {
		t.Fatal(err)
	}
	put(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: name}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: leaf.CertificatePEM(), corev1.TLSPrivateKeyKey: leaf.KeyPEM()},
	})
	return root
}

func put(t *testing.T, object client.Object) {
	t.Helper()
	if err := shared.stack.Client().Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}
