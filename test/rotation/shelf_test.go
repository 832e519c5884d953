package rotation

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/pkg/pki"
)

// credentials are what a caller may take at a moment.
type credentials struct {
	pair  tls.Certificate
	trust []pki.Certificate
}

// shelf is where a caller finds its newest credentials.
type shelf struct {
	ns, name string
	// key is the caller's own, of which the certificate is in the status; nil if both are in a
	// Secret.
	key *ecdsa.PrivateKey

	mu     sync.Mutex
	newest credentials
	// looked is when it was looked at with success, failure why it could not be since.
	looked  time.Time
	failure error
	// issued counts the certificates that lay there.
	issued int
}

// lookEvery is how often a shelf is looked at.
const lookEvery = 200 * time.Millisecond

// newShelf asks for the certificate of a caller, whose key the agent makes or who makes its own.
func newShelf(t *testing.T, ns, name string, own bool) *shelf {
	t.Helper()
	s := &shelf{ns: ns, name: name}
	manifest := fmt.Sprintf(`
apiVersion: mtls.sallyport.dev/v1alpha1
kind: ClientCertificate
metadata: {name: %s, namespace: %s}
spec:
  authorityRef: {name: default}
`, name, ns)
	if own {
		var err error
		if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, s.key)
		if err != nil {
			t.Fatal(err)
		}
		request := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
		manifest += "  csr: |\n    " + strings.ReplaceAll(strings.TrimSpace(request), "\n", "\n    ") + "\n"
	} else {
		manifest += "  secretName: " + name + "\n"
	}
	if err := stack.ApplyYAML(t.Context(), manifest); err != nil {
		t.Fatal(err)
	}
	return s
}

// look takes what lies there now.
func (s *shelf) look(ctx context.Context) error {
	begun := time.Now()
	found, err := s.read(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure = err; err != nil {
		return err
	}
	s.looked = begun
	if last := s.newest.pair.Leaf; last == nil || !last.Equal(found.pair.Leaf) {
		s.issued++
	}
	s.newest = found
	return nil
}

// take is the newest that was seen.
func (s *shelf) take() credentials {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest
}

// told says what lies there, for a refusal: whether the agent was late, or who looks.
func (s *shelf) told(begun time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("on its shelf: a certificate until %s, looked at %s ago (error %v)",
		s.newest.pair.Leaf.NotAfter.Sub(begun).Round(time.Millisecond), time.Since(s.looked).Round(time.Millisecond), s.failure)
}

func (s *shelf) read(ctx context.Context) (credentials, error) {
	if s.key == nil {
		var secret corev1.Secret
		if err := stack.Client().Get(ctx, client.ObjectKey{Namespace: s.ns, Name: s.name}, &secret); err != nil {
			return credentials{}, err
		}
		return credentialsFrom(secret.Data["tls.crt"], secret.Data["tls.key"], secret.Data["ca.crt"])
	}
	object, err := stored(ctx, "mtls.sallyport.dev/v1alpha1", "ClientCertificate", s.ns, s.name)
	if err != nil {
		return credentials{}, err
	}
	issued, _, _ := unstructured.NestedString(object.Object, "status", "certificate")
	if issued == "" {
		return credentials{}, errors.New("no certificate was issued to " + s.name)
	}
	var trust corev1.ConfigMap
	if err := stack.Client().Get(ctx, client.ObjectKey{Namespace: s.ns, Name: "default-mtls-trust"}, &trust); err != nil {
		return credentials{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(s.key)
	if err != nil {
		return credentials{}, err
	}
	return credentialsFrom([]byte(issued), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), []byte(trust.Data["ca.crt"]))
}

func credentialsFrom(certificate, key, roots []byte) (credentials, error) {
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return credentials{}, err
	}
	trust, err := pki.ParseCertificates(roots)
	return credentials{pair: pair, trust: trust}, err
}

func stored(ctx context.Context, apiVersion, kind, ns, name string) (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion(apiVersion)
	object.SetKind(kind)
	err := stack.Client().Get(ctx, client.ObjectKey{Namespace: ns, Name: name}, object)
	return object, err
}
