package e2e

import (
	"context"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack/product"
	"sallyport.dev/sallyport/internal/testpki"
	"sallyport.dev/sallyport/pkg/pki"
)

// told is a condition of an object of ours: its status, reason and message.
func told(ctx context.Context, kind, ns, name, condition string) (string, error) {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion("mtls.sallyport.dev/v1alpha1")
	object.SetKind(kind)
	if err := shared.stack.Client().Get(ctx, client.ObjectKey{Namespace: ns, Name: name}, object); err != nil {
		return "", err
	}
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, c := range conditions {
		if found, _ := c.(map[string]any); found["type"] == condition {
			return fmt.Sprintf("%s %s: %s", found["status"], found["reason"], found["message"]), nil
		}
	}
	return "", fmt.Errorf("conditions %v", conditions)
}

// tells waits until a condition of an object has words in it.
func tells(t *testing.T, kind, ns, name, condition string, words ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s of %s %s tells %q", condition, kind, name, words), func(ctx context.Context) error {
		said, err := told(ctx, kind, ns, name, condition)
		for _, w := range words {
			if err == nil && !strings.Contains(said, w) {
				err = fmt.Errorf("it says %q", said)
			}
		}
		return err
	})
}

// says waits for a condition of an authority.
func says(t *testing.T, ns, name, condition, words string) {
	t.Helper()
	tells(t, "CertificateAuthority", ns, name, condition, words)
}

// look has an authority, and the Gateways that use it, looked at before their time by a change of its spec that
// means nothing.
func look(t *testing.T, ns, name string) {
	t.Helper()
	patch(t, "mtls.sallyport.dev/v1alpha1", "CertificateAuthority", ns, name, fmt.Sprintf(`{"spec": {"rotation": {"proofTimeout": "168h%dms"}}}`, time.Now().UnixMilli()%1000000))
}

func caSecret(ns, name string, ca testpki.Issued, key []byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Annotations: map[string]string{"mtls.sallyport.dev/use-as-ca": "corporate"}},
		Type:       corev1.SecretTypeTLS, Data: map[string][]byte{"tls.crt": ca.PEM(), "tls.key": key, "ca.crt": ca.PEM()},
	}
}

// A team brings its CA in a Secret that it offers. It is used as it is, nothing else of the Secret's, and
// only while it is offered. When its owner puts another one in its place, no caller notices: not one that
// knows the first CA alone.
func TestABroughtCA(t *testing.T) {
	const ns, host = "brought", "brought.example.com"
	namespace(t, ns)
	span := testpki.Around(time.Now())
	first, second := testpki.Root(t, "Corporate CA", span), testpki.Root(t, "Corporate CA", span)
	apply(t, `
apiVersion: mtls.sallyport.dev/v1alpha1
kind: CertificateAuthority
metadata: {name: corporate, namespace: brought}
spec:
  source: {type: Secret, secret: {name: corporate-ca}}
  revocation: {mode: CRL}
  serverCertificates: {lifetime: 60s}
  clientCertificates: {lifetime: 1h, maxLifetime: 2h}
  rotation: {minimumOverlap: 2s}
`)
	says(t, ns, "corporate", "Ready", "False UnfitCA: Secret brought/corporate-ca: it cannot be used: it does not exist")
	offered := caSecret(ns, "corporate-ca", first, first.KeyPEM(t))
	offered.Annotations = nil
	put(t, offered)
	look(t, ns, "corporate")
	says(t, ns, "corporate", "Ready", "False NotOffered: Secret brought/corporate-ca: it is not offered to this authority")
	patch := func(change func(*corev1.Secret)) {
		t.Helper()
		before := secret(t, ns, "corporate-ca")
		after := before.DeepCopy()
		change(after)
		if err := shared.stack.Client().Patch(t.Context(), after, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
		look(t, ns, "corporate")
	}
	offer := func(s *corev1.Secret) { s.Annotations = map[string]string{"mtls.sallyport.dev/use-as-ca": "corporate"} }
	patch(offer)
	ready(t, "CertificateAuthority", ns, "corporate")
	serve(t, ns, "edge", host, "mtls.sallyport.dev/authorities: corporate")
	friend := certificateFor(t, ns, "first", "corporate")
	checkThreeAnswers(t, friend, host)
	if err := friend.Certificates[0].Leaf.CheckSignatureFrom(first.X509); err != nil {
		t.Errorf("a caller's certificate is not signed by the CA that was brought: %v", err)
	}

	t.Run("what does not fit is said, and nothing changes", func(t *testing.T) {
		patch(func(s *corev1.Secret) { s.Data["tls.key"] = second.KeyPEM(t) })
		says(t, ns, "corporate", "SourceCurrent", "False UnfitCA: Secret brought/corporate-ca: it cannot be used: reading CA: the private key does not belong to certificate")
		says(t, ns, "corporate", "Ready", "True")
		checkThreeAnswers(t, friend, host)
		narrow := testpki.Root(t, "Corporate CA", span, func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"elsewhere.example.com"} })
		patch(func(s *corev1.Secret) { s.Data = caSecret(ns, "", narrow, narrow.KeyPEM(t)).Data })
		says(t, ns, "corporate", "SourceCurrent", "False UnfitCA: the CA that is brought cannot be used: a certificate for a server that it signs is of no use")
		says(t, ns, "corporate", "Ready", "True")
		patch(func(s *corev1.Secret) { s.Data = offered.Data })
		says(t, ns, "corporate", "SourceCurrent", "True InUse")
	})

	t.Run("its owner takes the offer back", func(t *testing.T) {
		patch(func(s *corev1.Secret) { s.Annotations = nil })
		says(t, ns, "corporate", "Ready", "False NotOffered")
		checkThreeAnswers(t, friend, host)
		if err := shared.stack.Client().Delete(t.Context(), secret(t, ns, "corporate-ca")); err != nil {
			t.Fatal(err)
		}
		look(t, ns, "corporate")
		says(t, ns, "corporate", "SourceCurrent", "its owner took the offer back")
		says(t, ns, "corporate", "Ready", "False NotOffered")
		patchCaller(t, ns, "first", `{"spec": {"revocation": {"reason": "KeyCompromise"}}}`)
		eventually(t, "a caller that is revoked meanwhile is refused", func(ctx context.Context) error { return refusedEverywhere(ctx, friend, host) })
		offered.ResourceVersion, offered.UID = "", ""
		put(t, offered)
		patch(offer)
		ready(t, "CertificateAuthority", ns, "corporate")
		look(t, ns, "corporate")
		ready(t, "MutualTLSEndpoint", ns, "gateway-edge")
		friend = certificateFor(t, ns, "another", "corporate")
	})

	t.Run("its owner puts another in its place", func(t *testing.T) {
		patch(func(s *corev1.Secret) { s.Data = caSecret(ns, "", second, second.KeyPEM(t)).Data })
		began := time.Now()
		refused, calls := callAllTheTime(t, friend, host, func() bool { return servedBy(t, host, second) })
		t.Logf("%d calls while the CA was replaced in %s, %d refused", calls, time.Since(began).Round(time.Second), len(refused))
		for _, r := range refused[:min(len(refused), 10)] {
			t.Error(r)
		}
		checkThreeAnswers(t, certificateFor(t, ns, "second", "corporate"), host)
		says(t, ns, "corporate", "SourceCurrent", "True InUse")
	})
}

// servedBy reports whether the stored certificate of the Gateway is signed by a CA.
func servedBy(t *testing.T, host string, ca testpki.Issued) bool {
	t.Helper()
	leaf := storedLeaf(t, "brought.edge.mtls")
	if err := leaf.X509().VerifyHostname(host); err != nil {
		t.Error(err)
	}
	return leaf.X509().CheckSignatureFrom(ca.X509) == nil
}

// A namespace in which the agent may not read Secrets gets told how to let it.
func TestABroughtCAThatMayNotBeRead(t *testing.T) {
	const ns = "unread"
	namespace(t, ns)
	root := testpki.Root(t, "unread", testpki.Around(time.Now()))
	put(t, caSecret(ns, "corporate-ca", root, root.KeyPEM(t)))
	apply(t, `
apiVersion: mtls.sallyport.dev/v1alpha1
kind: CertificateAuthority
metadata: {name: corporate, namespace: unread}
spec: {source: {type: Secret, secret: {name: corporate-ca}}, revocation: {mode: None}}
`)
	tells(t, "CertificateAuthority", ns, "corporate", "Ready", "False SecretAccessDenied: the agent may not read Secrets in namespace unread", "kind: RoleBinding")
}

// A CA may be mounted into the agent instead, for authorities beside it. The kubelet swaps all files at once;
// what does not fit leaves the last good pair in use.
func TestAMountedCA(t *testing.T) {
	const ns, host, own = "mounted", "mounted.example.com", product.Namespace
	namespace(t, ns)
	span := testpki.Around(time.Now())
	first, second := testpki.Root(t, "Mounted CA 1", span), testpki.Root(t, "Mounted CA 2", span)
	for _, place := range []string{own, ns} {
		apply(t, fmt.Sprintf(`
apiVersion: mtls.sallyport.dev/v1alpha1
kind: CertificateAuthority
metadata: {name: mounted, namespace: %s}
spec:
  source: {type: Directory, directory: {name: corporate}}
  revocation: {mode: CRL}
  serverCertificates: {lifetime: 60s}
  clientCertificates: {lifetime: 1h, maxLifetime: 2h}
  rotation: {minimumOverlap: 2s}
  allowedGateways: {namespaces: {from: All}}
  allowedClients: {namespaces: {from: All}}
`, place))
	}
	apply(t, `
apiVersion: mtls.sallyport.dev/v1alpha1
kind: CertificateAuthority
metadata: {name: unmounted, namespace: `+own+`}
spec: {source: {type: Directory, directory: {name: nobody}}, revocation: {mode: None}}
`)
	says(t, ns, "mounted", "Ready", "False NotOffered: directories are mounted for authorities in namespace "+own)
	says(t, own, "unmounted", "Ready", "False UnfitCA: directory nobody: it cannot be used: no such directory is mounted: the agent has 1 (corporate)")
	says(t, own, "mounted", "Ready", "False UnfitCA: directory corporate: it cannot be used")
	files := caSecret(own, "mounted-ca", first, first.KeyPEM(t))
	files.Annotations = nil
	put(t, files)
	ready(t, "CertificateAuthority", own, "mounted")
	serve(t, ns, "edge", host, "mtls.sallyport.dev/authorities: "+own+"/mounted")
	apply(t, `
apiVersion: mtls.sallyport.dev/v1alpha1
kind: ClientCertificate
metadata: {name: mounted, namespace: brought}
spec: {authorityRef: {name: mounted, namespace: `+own+`}, secretName: mounted}
`)
	ready(t, "ClientCertificate", "brought", "mounted")
	stored := secret(t, "brought", "mounted")
	pair, err := pki.ParsePair(stored.Data["tls.crt"], stored.Data["tls.key"])
	if err != nil {
		t.Fatal(err)
	}
	friend := caller(t, pair)
	friend.Roots = x509.NewCertPool()
	friend.Roots.AddCert(first.X509)
	checkThreeAnswers(t, friend, host)

	swap := func(data map[string][]byte) {
		t.Helper()
		before := secret(t, own, "mounted-ca")
		after := before.DeepCopy()
		after.Data = data
		if err := shared.stack.Client().Patch(t.Context(), after, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
	}
	swap(caSecret(own, "", first, second.KeyPEM(t)).Data)
	says(t, own, "mounted", "SourceCurrent", "False UnfitCA: directory corporate: it cannot be used: ")
	says(t, own, "mounted", "Ready", "True")
	checkThreeAnswers(t, friend, host)
	swap(caSecret(own, "", second, second.KeyPEM(t)).Data)
	refused, calls := callAllTheTime(t, friend, host, func() bool { return storedLeaf(t, "mounted.edge.mtls").X509().CheckSignatureFrom(second.X509) == nil })
	t.Logf("%d calls while the CA was replaced, %d refused", calls, len(refused))
	for _, r := range refused[:min(len(refused), 10)] {
		t.Error(r)
	}
	says(t, own, "mounted", "SourceCurrent", "True InUse")
}
