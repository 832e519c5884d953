package bypass

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack/product"
	"sallyport.dev/sallyport/internal/testpki"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// The names that callers ask for.
const (
	pay     = "pay.bypass.example.com"    // the bank's, by its exact name
	wild    = "a.wild.bypass.example.com" // the bank's, by a wildcard
	basket  = "shop.bypass.example.com"   // the shop's, under another authority
	blog    = "blog.bypass.example.com"   // anybody's, by a wildcard that covers the three above
	unknown = "nobody.example.net"        // nobody's
)

// gatewaysYAML are those of the bank and of the shop, which opted in, and beside them, as
// Kyma's own is, an open one with a wildcard for all of their hosts, and one that only
// sends to HTTPS.
const gatewaysYAML = `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: bank, annotations: {mtls.sallyport.dev/mode: mutual}}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: pay, protocol: HTTPS}, hosts: [pay.bypass.example.com]}
  - {port: {number: 443, name: wild, protocol: HTTPS}, hosts: ["*.wild.bypass.example.com"]}
  - {port: {number: SECOND, name: second-pay, protocol: HTTPS}, hosts: [pay.bypass.example.com]}
  - {port: {number: SECOND, name: second-wild, protocol: HTTPS}, hosts: ["*.wild.bypass.example.com"]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop, annotations: {mtls.sallyport.dev/mode: mutual}}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: [shop.bypass.example.com]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: open}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: ["*.bypass.example.com"], tls: {mode: SIMPLE, credentialName: open}}
  - {port: {number: SECOND, name: second, protocol: HTTPS}, hosts: ["*.bypass.example.com"], tls: {mode: SIMPLE, credentialName: open}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: redirect, namespace: plain}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: [pay.bypass.example.com, "*.wild.bypass.example.com", shop.bypass.example.com]
    tls: {httpsRedirect: true}
---`

// meant is what these come to.
var meant = edge{
	servers: []server{
		{port: portHTTPS, host: pay, gateway: "bank", authority: "bank"},
		{port: portHTTPS, host: "*.wild.bypass.example.com", gateway: "bank", authority: "bank"},
		{port: portSecond, host: pay, gateway: "bank", authority: "bank"},
		{port: portSecond, host: "*.wild.bypass.example.com", gateway: "bank", authority: "bank"},
		{port: portHTTPS, host: basket, gateway: "shop", authority: "shop"},
		{port: portHTTPS, host: "*.bypass.example.com", gateway: "open"},
		{port: portSecond, host: "*.bypass.example.com", gateway: "open"},
	},
	routes: []route{
		{name: "pay", host: pay, gateway: "bank", authority: "bank"},
		{name: "wild", host: "*.wild.bypass.example.com", gateway: "bank", authority: "bank"},
		{name: "basket", host: basket, gateway: "shop", authority: "shop"},
		{name: "blog", host: "*.bypass.example.com", gateway: "open"},
	},
	redirected: []string{pay, "*.wild.bypass.example.com", basket},
}

// configure makes the edge as it is meant, and waits until both Gateways are ready.
func configure(t *testing.T) {
	t.Helper()
	port, err := stack.Port()
	if err != nil {
		t.Fatal(err)
	}
	secondPort = port
	handMade(t, "open", "*.bypass.example.com")
	apply(t, strings.ReplaceAll(gatewaysYAML, "SECOND", strconv.Itoa(port))+
		routeYAML("bank", "pay", pay, "bank/edge")+routeYAML("bank", "wild", "*.wild.bypass.example.com", "bank/edge")+
		routeYAML("shop", "basket", basket, "shop/edge")+routeYAML("open", "blog", "*.bypass.example.com", "open/edge"))
	for _, ns := range []string{"bank", "shop"} {
		ready(t, "MutualTLSEndpoint", ns, "gateway-edge")
	}
}

// handMade puts a server's Secret and its CA's into the ingress namespace, as somebody
// does who does it himself, and returns the CA.
func handMade(t *testing.T, name string, hosts ...string) testpki.Issued {
	t.Helper()
	span := testpki.Around(time.Now())
	root := testpki.Root(t, name, span)
	leaf := root.Leaf(t, name, span, func(c *x509.Certificate) { c.DNSNames = hosts })
	for _, secret := range []*corev1.Secret{
		{ObjectMeta: metav1.ObjectMeta{Name: name}, Type: corev1.SecretTypeTLS, Data: map[string][]byte{"tls.crt": leaf.PEM(), "tls.key": leaf.KeyPEM(t)}},
		{ObjectMeta: metav1.ObjectMeta{Name: name + "-cacert"}, Data: map[string][]byte{"ca.crt": root.PEM()}},
	} {
		secret.Namespace = ingress
		if err := stack.Client().Create(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

var nobody = &caller{name: "nobody"}

// stranger is a caller of a CA that nobody knows, with an identity of the bank's.
func stranger(t *testing.T) *caller {
	t.Helper()
	span := testpki.Around(time.Now())
	return callerWith("a stranger", "", testpki.Root(t, "stranger", span).Leaf(t, "caller", span, func(c *x509.Certificate) {
		c.URIs = []*url.URL{{Scheme: "spiffe", Host: trustDomain, Path: "/ns/bank/client/caller"}}
	}))
}

// callerWith is one of a hand-made CA.
func callerWith(name, authority string, leaf testpki.Issued) *caller {
	return &caller{name: name, authority: authority, certificate: tls.Certificate{Certificate: [][]byte{leaf.X509.Raw}, PrivateKey: leaf.Key}}
}

// issued is a caller of a namespace's own authority.
func issued(t *testing.T, ns, name string) *caller {
	t.Helper()
	apply(t, fmt.Sprintf(`
apiVersion: mtls.sallyport.dev/v1alpha1
kind: ClientCertificate
metadata: {name: %[2]s, namespace: %[1]s}
spec: {authorityRef: {name: default}, secretName: %[2]s-client}
`, ns, name))
	ready(t, "ClientCertificate", ns, name)
	var secret corev1.Secret
	if err := stack.Client().Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name + "-client"}, &secret); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(secret.Data["tls.crt"], secret.Data["tls.key"])
	if err != nil {
		t.Fatal(err)
	}
	return &caller{name: name + " of the " + ns, authority: ns, certificate: pair}
}

// revoke has the certificates of a caller of the bank revoked, and waits until the edge
// knows.
func revoke(t *testing.T, c *caller, name string) {
	t.Helper()
	object := &unstructured.Unstructured{}
	object.SetAPIVersion("mtls.sallyport.dev/v1alpha1")
	object.SetKind("ClientCertificate")
	object.SetNamespace("bank")
	object.SetName(name)
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec": {"revocation": {"reason": "KeyCompromise"}}}`))
	if err := stack.Client().Patch(t.Context(), object, patch); err != nil {
		t.Fatal(err)
	}
	c.dead = true
	eventuallyAs(t, c, pay, pay)
	eventuallyAs(t, c, wild, wild)
}

// expired is a caller of the bank's own authority whose certificate has ended. Only who
// reads the ledger can make it in a moment.
func expired(t *testing.T) *caller {
	t.Helper()
	var ledgers corev1.SecretList
	if err := stack.Client().List(t.Context(), &ledgers, client.InNamespace(product.Namespace), client.MatchingLabels{"mtls.sallyport.dev/ledger": "keys"}); err != nil {
		t.Fatal(err)
	}
	for i := range ledgers.Items {
		if strings.HasPrefix(ledgers.Items[i].Annotations["mtls.sallyport.dev/owner"], "CertificateAuthority/bank/default/") {
			return ended(t, ledgers.Items[i].Data)
		}
	}
	t.Fatal("the bank's authority has no ledger")
	return nil
}

func ended(t *testing.T, data map[string][]byte) *caller {
	t.Helper()
	ledger, err := rotate.DecodeLedger(data)
	if err != nil {
		t.Fatal(err)
	}
	active, _ := ledger.Active()
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := active.Authority.IssueClient(pki.ClientRequest{CommonName: "caller", Identity: "spiffe://" + trustDomain + "/ns/bank/client/caller", Lifetime: time.Second}, key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(leaf.CertificatePEM(), leaf.KeyPEM())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of a certificate", func(context.Context) error {
		if time.Now().Before(leaf.Leaf().NotAfter().Add(time.Second)) {
			return errors.New("it lives")
		}
		return nil
	})
	return &caller{name: "an expired caller of the bank", authority: "bank", dead: true, certificate: pair}
}

// eventuallyAs waits until the edge does as it is meant to with a caller.
func eventuallyAs(t *testing.T, c *caller, sni, host string) {
	t.Helper()
	for _, port := range []string{portHTTPS, portSecond} {
		eventuallyCell(t, cell{port: port, sni: sni, caller: c, session: anew(tls.VersionTLS13), request: request{authority: host}})
	}
}

func eventuallyCell(t *testing.T, c cell) {
	t.Helper()
	want := meant.verdict(c, c.caller)
	eventually(t, c.String()+": "+want, func(ctx context.Context) error {
		if o := c.try(ctx, c.session); o.verdict != want {
			return errors.New(o.verdict)
		}
		return nil
	})
}

func anew(version uint16) *session { return &session{version: version} }
