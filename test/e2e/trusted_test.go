package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack/edge"
	"sallyport.dev/sallyport/internal/testpki"
	"sallyport.dev/sallyport/pkg/pki"
)

// partner is somebody else's CA, below a root of its own.
type partner struct{ root, issuing testpki.Issued }

func newPartner(t *testing.T, name string) partner {
	t.Helper()
	span := testpki.Around(time.Now())
	root := testpki.Root(t, name+" root", span)
	return partner{root, root.CA(t, name, span)}
}

// cas are all up to the root.
func (p partner) cas() string { return string(p.issuing.PEM()) + string(p.root.PEM()) }

// crls are one for each, good until an instant.
func (p partner) crls(t *testing.T, to time.Time, revoked ...testpki.Issued) string {
	t.Helper()
	span := testpki.Span{From: time.Now().Add(-time.Minute), To: to}
	list := p.issuing.CRL(t, 1, span)
	for _, r := range revoked {
		list = p.issuing.CRL(t, 2, span, r.X509.SerialNumber)
	}
	return string(list) + string(p.root.CRL(t, 1, span))
}

func (p partner) caller(like edge.Caller, leaf testpki.Issued) edge.Caller {
	return edge.Caller{Roots: like.Roots, Certificates: []tls.Certificate{{
		Certificate: [][]byte{leaf.X509.Raw, p.issuing.X509.Raw}, PrivateKey: leaf.Key,
	}}}
}

func trustedYAML(t *testing.T, ns, name, mode string, entries ...map[string]any) string {
	t.Helper()
	list, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`
apiVersion: mtls.sallyport.dev/v1alpha1
kind: CertificateAuthority
metadata: {name: %s, namespace: %s}
spec: {source: {type: SelfSigned}, revocation: {mode: %s}, trustedCertificates: %s}
`, name, ns, mode, list)
}

// answered waits until every gateway answers a caller with a status; 0 is a refusal by an alert.
func answered(t *testing.T, what string, c edge.Caller, host string, status int) {
	t.Helper()
	eventually(t, what, func(ctx context.Context) error {
		for _, gateway := range shared.stack.Gateways() {
			a := c.Call(ctx, gateway.HTTPS, host, host, "/status/418", nil)
			if a.Status != status || status == 0 && a.Refusal == "" {
				return fmt.Errorf("%s answers %s", gateway.Pod, a)
			}
		}
		return nil
	})
}

// annotate sets an annotation of ours on a Gateway; null takes it off.
func annotate(t *testing.T, ns, name, key, value string) {
	t.Helper()
	patch(t, "networking.istio.io/v1", "Gateway", ns, name, fmt.Sprintf(`{"metadata": {"annotations": {"mtls.sallyport.dev/%s": %s}}}`, key, value))
}

// patch merges a change into an object.
func patch(t *testing.T, version, kind, ns, name, change string) {
	t.Helper()
	object := &unstructured.Unstructured{}
	object.SetAPIVersion(version)
	object.SetKind(kind)
	object.SetNamespace(ns)
	object.SetName(name)
	if err := shared.stack.Client().Patch(t.Context(), object, client.RawPatch(types.MergePatchType, []byte(change))); err != nil {
		t.Fatal(err)
	}
}

// trusts is the condition that tells of CAs of others.
const trusts = "TrustedCertificatesCurrent"

// Callers of a partner's CA are let in beside those of the authority. What is wrong with one partner's CA
// or CRL keeps its own callers out, and nobody else; none of it is published as trust.
func TestCallersOfAPartner(t *testing.T) {
	const ns, host = "partners", "partners.example.com"
	namespace(t, ns)
	good, stale := newPartner(t, "good"), newPartner(t, "stale")
	span := testpki.Around(time.Now())
	known, stolen, late := good.issuing.Leaf(t, "known", span), good.issuing.Leaf(t, "stolen", span), stale.issuing.Leaf(t, "late", span)
	lists := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "stale"}, Data: map[string]string{"ca.crt": stale.cas(), "ca.crl": stale.crls(t, time.Now().Add(time.Hour))}}
	put(t, lists)
	ref := func(key string) map[string]any { return map[string]any{"name": "stale", "key": key} }
	apply(t, trustedYAML(t, ns, "default", "CRL",
		map[string]any{"name": "garbage", "certificate": "garbage", "crl": "garbage"},
		map[string]any{"name": "good", "certificate": good.cas(), "crl": good.crls(t, time.Now().Add(time.Hour), stolen)},
		map[string]any{"name": "stale", "configMapKeyRef": ref("ca.crt"), "crlConfigMapKeyRef": ref("ca.crl")},
		map[string]any{"name": "absent", "configMapKeyRef": map[string]any{"name": "nobody", "key": "ca.crt"}, "crl": "x"},
	))
	serve(t, ns, "edge", host)
	ready(t, "MutualTLSEndpoint", ns, "gateway-edge")
	friend := byRequest(t, ns, "own", "default")
	checkThreeAnswers(t, friend, host)
	answered(t, "a partner's caller is let in", good.caller(friend, known), host, 418)
	answered(t, "a partner's revoked caller is refused", good.caller(friend, stolen), host, 0)
	answered(t, "a caller of the other partner is let in", stale.caller(friend, late), host, 418)
	tells(t, "CertificateAuthority", ns, "default", trusts, "False LeftOut", "garbage: reading its CAs", "absent: ConfigMap partners/nobody does not exist")
	if said, err := told(t.Context(), "CertificateAuthority", ns, "default", trusts); err != nil || strings.Contains(said, "good") || strings.Contains(said, "stale") {
		t.Errorf("it says %q (%v)", said, err)
	}

	trust := &corev1.ConfigMap{}
	if err := shared.stack.Client().Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "default-mtls-trust"}, trust); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(trust.Data["ca.crt"], "BEGIN"); n != 1 {
		t.Errorf("%d CAs are published as trust, expected the authority's own", n)
	}

	replace := func(list string) {
		t.Helper()
		lists.Data["ca.crl"] = list
		if err := shared.stack.Client().Update(t.Context(), lists); err != nil {
			t.Fatal(err)
		}
		look(t, ns, "default")
	}
	end := time.Now().Add(3 * time.Second).Truncate(time.Second)
	replace(stale.crls(t, end))
	tells(t, "CertificateAuthority", ns, "default", trusts, "stale: ", "ended at "+end.UTC().Format(time.RFC3339))
	answered(t, "its callers are refused once a partner's CRL has ended", stale.caller(friend, late), host, 0)
	checkThreeAnswers(t, friend, host)
	answered(t, "the other partner's caller is still let in", good.caller(friend, known), host, 418)

	replace(stale.crls(t, time.Now().Add(time.Hour)))
	answered(t, "its callers are let in again once the ConfigMap has the next CRL", stale.caller(friend, late), host, 418)
}

// A foreign CA can mint any name: where callers are told apart by name, it is left out, and said so.
func TestPartnersAndNamesDoNotGoTogether(t *testing.T) {
	const ns = "named-partners"
	namespace(t, ns)
	p := newPartner(t, "any")
	leaf := p.issuing.Leaf(t, "mallory", testpki.Around(time.Now()))
	apply(t, trustedYAML(t, ns, "default", "None", map[string]any{"name": "any", "certificate": p.cas()}))
	serve(t, ns, "open", "open.named.example.com")
	const listed = "listed.named.example.com"
	apply(t, gatewayYAML("v1", ns, "listed", listed, "mtls.sallyport.dev/allowed-clients: client/own")+"---"+routeYAML(ns, "listed", listed))
	apply(t, ruleYAML("v2", ns, "told", "told.named.example.com", "mtls.sallyport.dev/mode: mutual, mtls.sallyport.dev/client-headers: uri", ""))
	ready(t, "MutualTLSEndpoint", ns, "gateway-open")
	friend := byRequest(t, ns, "own", "default")
	answered(t, "a partner's caller is let in where names do not matter", p.caller(friend, leaf), "open.named.example.com", 418)
	for endpoint, host := range map[string]string{"gateway-listed": listed, "apirule-told": "told.named.example.com"} {
		tells(t, "MutualTLSEndpoint", ns, endpoint, trusts, "False ForeignAuthorityNotAllowed")
		answered(t, "the authority's own caller is let in to "+host, friend, host, 418)
		answered(t, "a partner's caller is refused by "+host, p.caller(friend, leaf), host, 0)
	}

	// The Gateway that lets partners in gets an APIRule which tells its workload who called.
	apply(t, ruleYAML("v2", ns, "late", "open.named.example.com", "mtls.sallyport.dev/mode: mutual, mtls.sallyport.dev/client-headers: uri", "gateway: "+ns+"/open"))
	answered(t, "a partner's caller is refused as soon as the workload is told who called", p.caller(friend, leaf), "open.named.example.com", 0)
	tells(t, "MutualTLSEndpoint", ns, "gateway-open", trusts, "False ForeignAuthorityNotAllowed", "client-headers")
	answered(t, "the authority's own caller is still let in", friend, "open.named.example.com", 418)
}

// An authority may have no CA of its own: callers come from elsewhere, and so does the server's certificate.
func TestAnAuthorityThatOnlyVerifies(t *testing.T) {
	const ns, host = "verifying", "verifying.example.com"
	namespace(t, ns)
	p := newPartner(t, "elsewhere")
	leaf := p.issuing.Leaf(t, "known", testpki.Around(time.Now()), func(c *x509.Certificate) {
		c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.com", Path: "/ns/" + ns + "/client/own"}} // any CA can mint any name
	})
	manifest := trustedYAML(t, ns, "default", "None", map[string]any{"name": "elsewhere", "certificate": p.cas()})
	apply(t, strings.Replace(manifest, "SelfSigned", "TrustOnly", 1))
	ready(t, "CertificateAuthority", ns, "default")
	server := provide(t, "verifying-tls", host)
	apply(t, strings.Replace(gatewayYAML("v1", ns, "edge", host, "mtls.sallyport.dev/server-certificate: provided"),
		"hosts:", "tls: {mode: SIMPLE, credentialName: verifying-tls}\n    hosts:", 1)+"---"+routeYAML(ns, "edge", host))
	ready(t, "MutualTLSEndpoint", ns, "gateway-edge")
	friend := p.caller(trusting(edge.Caller{}, server), leaf)
	checkThreeAnswers(t, friend, host)

	apply(t, gatewayYAML("v1", ns, "unprovided", "unprovided.example.com"))
	apply(t, `
apiVersion: mtls.sallyport.dev/v1alpha1
kind: ClientCertificate
metadata: {name: own, namespace: verifying}
spec: {authorityRef: {name: default}, csr: "-----BEGIN CERTIFICATE REQUEST-----"}
`)
	for _, refused := range []struct{ kind, name, want string }{
		{"MutualTLSEndpoint", "gateway-unprovided", "Invalid: CertificateAuthority verifying/default only verifies callers and issues no server certificate"},
		{"ClientCertificate", "own", "Invalid: CertificateAuthority verifying/default only verifies callers and issues nothing"},
	} {
		object := &unstructured.Unstructured{}
		object.SetAPIVersion("mtls.sallyport.dev/v1alpha1")
		object.SetKind(refused.kind)
		eventually(t, refused.want, func(ctx context.Context) error {
			if err := shared.stack.Client().Get(ctx, client.ObjectKey{Namespace: ns, Name: refused.name}, object); err != nil {
				return err
			}
			if said := notReady(object); !strings.HasPrefix(said, refused.want) {
				return fmt.Errorf("it says %q", said)
			}
			return nil
		})
	}

	// It is told to heed names, which its only CA can mint: then everybody is refused, and let in again when it is not.
	annotate(t, ns, "edge", "allowed-clients", `"client/own"`)
	answered(t, "a caller is refused that could have any name", friend, host, 0)
	tells(t, "MutualTLSEndpoint", ns, "gateway-edge", "Accepted", "False ForeignAuthorityNotAllowed", "every caller is refused")
	annotate(t, ns, "edge", "allowed-clients", "null")
	answered(t, "it is let in again", friend, host, 418)

	// Its only CA is taken away by a mistake: gateways go on with what they have.
	apply(t, strings.Replace(trustedYAML(t, ns, "default", "None", map[string]any{"name": "elsewhere", "certificate": "garbage"}), "SelfSigned", "TrustOnly", 1))
	tells(t, "CertificateAuthority", ns, "default", trusts, "False LeftOut", "elsewhere: reading its CAs")
	checkThreeAnswers(t, friend, host)

	// It is compromised: nobody is let in.
	stolen, err := pki.ParseCertificates(p.issuing.PEM())
	if err != nil {
		t.Fatal(err)
	}
	compromised := strings.Replace(manifest, "spec: {", `spec: {rotation: {compromised: ["`+stolen[0].SubjectKeyID()+`"]}, `, 1)
	apply(t, strings.Replace(compromised, "SelfSigned", "TrustOnly", 1))
	answered(t, "a caller of a CA is refused that is compromised, though there is no other", friend, host, 0)
}
