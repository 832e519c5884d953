package e2e

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack/edge"
	"sallyport.dev/sallyport/pkg/pki"
)

// provide makes the server Secret of somebody else, with his CA beside it, as cert-manager does, and
// returns the CA.
func provide(t *testing.T, name, host string) pki.Authority {
	t.Helper()
	now := time.Now()
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	root, err := pki.NewRoot(pki.RootRequest{CommonName: "somebody else's", Key: key, Lifetime: time.Hour}, now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := root.IssueServer(pki.ServerRequest{Hosts: []string{host}, Key: key, Lifetime: time.Hour}, now)
	if err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: name}, Type: corev1.SecretTypeTLS, Data: map[string][]byte{
		"tls.crt": pair.CertificatePEM(), "tls.key": pair.KeyPEM(), "ca.crt": root.Certificate().PEM(),
	}}
	if err := shared.stack.Client().Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	return root
}

// ofProvider is a caller with a certificate of whoever provides the server's.
func ofProvider(t *testing.T, root pki.Authority) edge.Caller {
	t.Helper()
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := root.IssueClient(pki.ClientRequest{CommonName: "guest", Identity: "spiffe://example.com/guest", Lifetime: time.Hour}, key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return caller(t, pair)
}

// trusting has a caller verify the server by another root.
func trusting(c edge.Caller, root pki.Authority) edge.Caller {
	c.Roots = x509.NewCertPool()
	c.Roots.AddCert(root.Certificate().X509())
	return c
}

// A server certificate may be somebody else's: it is served, and who calls is ours to say. Without the
// Secret that says it nobody is let in, least of all by the CA that stands beside the certificate.
func TestAProvidedServerCertificate(t *testing.T) {
	const ns = "provided"
	namespace(t, ns)
	for name, test := range map[string]struct{ host, secret, ca, object, endpoint string }{
		"Gateway": {"gateway.provided.example.com", "gateway-tls", "provided.edge.mtls-cacert", strings.Replace(
			gatewayYAML("v1", ns, "edge", "gateway.provided.example.com", "mtls.sallyport.dev/server-certificate: provided"),
			"hosts:", "tls: {mode: SIMPLE, credentialName: gateway-tls}\n    hosts:", 1) + "---" + routeYAML(ns, "edge", "gateway.provided.example.com"), "gateway-edge"},
		"APIRule": {"rule.provided.example.com", "rule-tls", "provided.rule-mtls.mtls-cacert", ruleYAML("v2", ns, "rule", "rule.provided.example.com",
			"mtls.sallyport.dev/mode: mutual, mtls.sallyport.dev/server-certificate: provided, mtls.sallyport.dev/server-credential-name: rule-tls", ""), "apirule-rule"},
	} {
		t.Run(name, func(t *testing.T) {
			root := provide(t, test.secret, test.host)
			apply(t, test.object)
			ready(t, "MutualTLSEndpoint", ns, test.endpoint)
			friend := trusting(byRequest(t, ns, "caller-"+test.secret, "default"), root)
			checkThreeAnswers(t, friend, test.host)
			guest := trusting(ofProvider(t, root), root)
			refused := func(ctx context.Context) error {
				for _, gateway := range shared.stack.Gateways() {
					for who, stranger := range map[string]edge.Caller{"a guest of the provider": guest, "nobody": {Roots: guest.Roots}} {
						if a := stranger.Call(ctx, gateway.HTTPS, test.host, test.host, "/status/418", nil); a.Status != 0 {
							return fmt.Errorf("%s is answered %s by %s", who, a, gateway.Pod)
						}
					}
				}
				return nil
			}
			if err := refused(t.Context()); err != nil {
				t.Error(err)
			}
			first := secret(t, "istio-system", test.ca)
			if err := shared.stack.Client().Delete(t.Context(), first); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the CA Secret made again", func(ctx context.Context) error {
				if err := refused(ctx); err != nil {
					t.Errorf("while it is missing: %v", err)
				}
				again := &corev1.Secret{}
				if err := shared.stack.Client().Get(ctx, client.ObjectKeyFromObject(first), again); err != nil {
					return err
				}
				if again.UID == first.UID {
					return errors.New("it is the one before")
				}
				return nil
			})
			checkThreeAnswers(t, friend, test.host)
			if err := refused(t.Context()); err != nil {
				t.Error(err)
			}
			provided := secret(t, "istio-system", test.secret)
			if len(provided.Labels) > 0 || len(provided.Annotations) > 0 {
				t.Errorf("the provided Secret carries %v and %v", provided.Labels, provided.Annotations)
			}
			told := stored(t, "mtls.sallyport.dev/v1alpha1", "MutualTLSEndpoint", ns, test.endpoint)
			if serial, _, _ := unstructured.NestedString(told, "status", "serverCertificate", "serial"); serial == "" {
				t.Errorf("status %v", told["status"])
			}
		})
	}
}
