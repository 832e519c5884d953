package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack/edge"
	"sallyport.dev/sallyport/internal/testpki"
)

// A team brings an issuing CA below its company's root. Its callers are let in and those of other CAs below that root are
// not; when it is replaced by another below the same root, nobody notices, and the root's CRL is kept current.
func TestACABelowARoot(t *testing.T) {
	const ns, host, unchecked = "below", "below.example.com", "unchecked.below.example.com"
	namespace(t, ns)
	span := testpki.Around(time.Now())
	root := testpki.Root(t, "Company Root", span)
	first, second, sibling := root.CA(t, "Shop CA 1", span), root.CA(t, "Shop CA 2", span), root.CA(t, "Payroll CA", span)
	list := int64(0)
	files := func(ca testpki.Issued, to time.Time) map[string][]byte {
		list++
		return map[string][]byte{"tls.crt": ca.PEM(), "tls.key": ca.KeyPEM(t), "ca.crt": root.PEM(),
			"ca.crl": root.CRL(t, list, testpki.Span{From: time.Now().Add(-time.Minute).Add(time.Duration(list) * time.Second), To: to})}
	}
	for name, mode := range map[string]string{"corporate": "CRL", "unchecked": "None"} {
		offered := caSecret(ns, name, first, first.KeyPEM(t))
		offered.Annotations["mtls.sallyport.dev/use-as-ca"] = name
		offered.Data = files(first, span.To)
		put(t, offered)
		apply(t, fmt.Sprintf(`
apiVersion: mtls.sallyport.dev/v1alpha1
kind: CertificateAuthority
metadata: {name: %s, namespace: below}
spec:
  source: {type: Secret, secret: {name: %s}}
  revocation: {mode: %s}
  serverCertificates: {lifetime: 60s}
  clientCertificates: {lifetime: 1h, maxLifetime: 2h}
  rotation: {minimumOverlap: 2s}
`, name, name, mode))
		ready(t, "CertificateAuthority", ns, name)
	}
	serve(t, ns, "edge", host, "mtls.sallyport.dev/authorities: corporate")
	serve(t, ns, "unchecked", unchecked, "mtls.sallyport.dev/authorities: unchecked")
	below := func(authority, name string) edge.Caller {
		friend := certificateFor(t, ns, name, authority)
		friend.Roots = x509.NewCertPool()
		friend.Roots.AddCert(root.X509) // as every caller in the company
		return friend
	}
	friend := below("corporate", "first")
	checkThreeAnswers(t, friend, host)
	checkThreeAnswers(t, below("unchecked", "other"), unchecked)
	stranger := sibling.Leaf(t, "payroll", span)
	direct := root.Leaf(t, "direct", span)
	as := func(leaf testpki.Issued, above ...testpki.Issued) edge.Caller {
		chain := [][]byte{leaf.X509.Raw}
		for _, a := range above {
			chain = append(chain, a.X509.Raw)
		}
		return edge.Caller{Roots: friend.Roots, Certificates: []tls.Certificate{{Certificate: chain, PrivateKey: leaf.Key}}}
	}
	for what, row := range map[string]struct {
		caller edge.Caller
		host   string
		status int
	}{
		"a caller of a CA beside it is refused, because that one has no CRL here":           {as(stranger, sibling), host, 0},
		"a caller of the root itself is let in, because gateways have to trust the root":    {as(direct), host, 418},
		"where no CRL is checked a caller of a CA beside it is refused":                     {as(stranger, sibling), unchecked, 0},
		"where no CRL is checked a caller of the root itself is refused":                    {as(direct), unchecked, 0},
		"where no CRL is checked one that sends the root along is refused all the same":     {as(stranger, sibling, root), unchecked, 0},
		"with CRLs one of a CA beside it that sends the root along is refused all the same": {as(stranger, sibling, root), host, 0},
	} {
		answered(t, what, row.caller, row.host, row.status)
	}

	patch := func(data map[string][]byte) {
		t.Helper()
		before := secret(t, ns, "corporate")
		after := before.DeepCopy()
		after.Data = data
		if err := shared.stack.Client().Patch(t.Context(), after, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
		look(t, ns, "corporate")
	}
	t.Run("its owner puts another below the same root in its place", func(t *testing.T) {
		patch(files(second, span.To))
		began := time.Now()
		refused, calls := callAllTheTime(t, friend, host, func() bool { return storedLeaf(t, "below.edge.mtls").X509().CheckSignatureFrom(second.X509) == nil })
		t.Logf("%d calls while the CA was replaced in %s, %d refused", calls, time.Since(began).Round(time.Second), len(refused))
		for _, r := range refused[:min(len(refused), 10)] {
			t.Error(r)
		}
		checkThreeAnswers(t, below("corporate", "second"), host)
		answered(t, "a caller of the one before is let in until it ends", friend, host, 418)
	})
	t.Run("the root's CRL ends, and its owner brings the next", func(t *testing.T) {
		end := time.Now().Add(3 * time.Second).Truncate(time.Second)
		patch(files(second, end))
		answered(t, "everybody is refused once the root's CRL has ended", friend, host, 0)
		tells(t, "CertificateAuthority", ns, "corporate", "TrustedCertificatesCurrent", "False LeftOut", "spec.source: ", `CA "Company Root": CRL`)
		tells(t, "CertificateAuthority", ns, "corporate", "SourceCurrent", "False UnfitCA", "above it: CRL")
		patch(files(second, span.To))
		answered(t, "and let in again", friend, host, 418)
		tells(t, "CertificateAuthority", ns, "corporate", "TrustedCertificatesCurrent", "True Trusted")
		says(t, ns, "corporate", "SourceCurrent", "True InUse")
	})
	trust := &corev1.ConfigMap{}
	if err := shared.stack.Client().Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "unchecked-mtls-trust"}, trust); err != nil {
		t.Fatal(err)
	}
	if bundle := x509.NewCertPool(); !bundle.AppendCertsFromPEM([]byte(trust.Data["ca.crt"])) {
		t.Errorf("nothing is published: %v", trust.Data)
	}
}
