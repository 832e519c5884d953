package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack/edge"
	"sallyport.dev/sallyport/internal/testpki"
)

// handMade is a set-up with mutual TLS that somebody made with openssl and kubectl.
type handMade struct {
	host              string
	root              testpki.Issued
	server            testpki.Issued
	caller, revoked   edge.Caller
	serverName, caOwn string // the Secrets; caOwn is empty where all is in one
}

func newHandMade(t *testing.T, host, credential string, apart bool) handMade {
	t.Helper()
	span := testpki.Around(time.Now())
	root := testpki.Root(t, "made by hand", span)
	h := handMade{host: host, root: root, server: root.Leaf(t, host, span), serverName: credential}
	if apart {
		h.caOwn = credential + "-cacert"
	}
	roots := x509.NewCertPool()
	roots.AddCert(root.X509)
	calling := func(leaf testpki.Issued) edge.Caller {
		return edge.Caller{Roots: roots, Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.X509.Raw}, PrivateKey: leaf.Key}}}
	}
	revoked := root.Leaf(t, "revoked", span)
	h.caller, h.revoked = calling(root.Leaf(t, "partner", span)), calling(revoked)
	pair := map[string][]byte{"tls.crt": h.server.PEM(), "tls.key": h.server.KeyPEM(t)}
	if apart {
		h.put(t, credential, corev1.SecretTypeTLS, pair)
		h.put(t, h.caOwn, corev1.SecretTypeOpaque, map[string][]byte{"cacert": root.PEM(), "crl": root.CRL(t, 1, span, revoked.X509.SerialNumber)})
		return h
	}
	pair["ca.crt"] = root.PEM()
	h.put(t, credential, corev1.SecretTypeOpaque, pair)
	return h
}

func (h handMade) put(t *testing.T, name string, kind corev1.SecretType, data map[string][]byte) {
	t.Helper()
	put(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: name}, Type: kind, Data: data})
}

func (h handMade) secrets() []string {
	if h.caOwn == "" {
		return []string{h.serverName}
	}
	return []string{h.serverName, h.caOwn}
}

// handOver has the owner of a Secret hand it over.
func handOver(t *testing.T, name, to string) {
	t.Helper()
	change := client.RawPatch(types.MergePatchType, []byte(fmt.Sprintf(`{"metadata": {"annotations": {"mtls.sallyport.dev/adopt": %q}}}`, to)))
	if err := shared.stack.Client().Patch(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: name}}, change); err != nil {
		t.Fatal(err)
	}
}

// What somebody made by hand is taken over under traffic: none of his callers is refused, then or when the authority's
// certificate takes the place of his; and his CA is accepted until he ends it.
func TestWhatWasMadeByHandIsTakenOver(t *testing.T) {
	const ns = "byhand"
	namespace(t, ns)
	for authority, mode := range map[string]string{"unchecked": "None", "default": "CRL"} {
		apply(t, fmt.Sprintf("{apiVersion: mtls.sallyport.dev/v1alpha1, kind: CertificateAuthority, metadata: {name: %s, namespace: byhand}, spec: {source: {type: SelfSigned}, revocation: {mode: %s}}}", authority, mode))
		ready(t, "CertificateAuthority", ns, authority)
	}
	for name, row := range map[string]struct {
		apart     bool
		authority string
	}{
		"together": {false, "unchecked"},
		"apart":    {true, "default"},
	} {
		t.Run(name, func(t *testing.T) {
			host, endpoint := name+".byhand.example.com", "gateway-"+name
			h := newHandMade(t, host, "hand-"+name, row.apart)
			apply(t, strings.Replace(strings.Replace(gatewayYAML("v1", ns, name, host), "mtls.sallyport.dev/mode: mutual", "", 1),
				"hosts:", "tls: {mode: MUTUAL, credentialName: "+h.serverName+"}\n    hosts:", 1)+"---"+routeYAML(ns, name, host))
			answered(t, "a caller of the hand-made set-up is let in", h.caller, host, 418)
			served := func(ctx context.Context) error {
				if a := h.caller.Call(ctx, shared.stack.Gateways()[0].HTTPS, host, host, "/status/418", nil); a.Served == nil || !a.Served.Equal(h.server.X509) {
					return fmt.Errorf("served is %v", a)
				}
				return nil
			}
			tell := func(condition, want string) func() bool {
				return func() bool {
					said, err := told(t.Context(), "MutualTLSEndpoint", ns, endpoint, condition)
					return err == nil && strings.HasPrefix(said, want)
				}
			}

			patch(t, "networking.istio.io/v1", "Gateway", ns, name,
				fmt.Sprintf(`{"metadata": {"annotations": {"mtls.sallyport.dev/mode": "mutual", "mtls.sallyport.dev/authorities": %q}}}`, row.authority))
			nobodyIsRefused(t, "nothing is handed over", h.caller, host, tell("Programmed", "False ForeignSecret: Secret istio-system/"+h.serverName))
			for _, secret := range h.secrets() {
				handOver(t, secret, ns+"/"+name)
			}
			nobodyIsRefused(t, "it is taken over", h.caller, host, tell("Adopted", "True Adopted: what was made by hand goes on: the server certificate until"))
			if err := served(t.Context()); err != nil {
				t.Error(err)
			}
			ready(t, "MutualTLSEndpoint", ns, endpoint)
			var events eventsv1.EventList
			if err := shared.stack.Client().List(t.Context(), &events, client.InNamespace(ns)); err != nil {
				t.Fatal(err)
			}
			for _, e := range events.Items {
				if e.Regarding.Name == name && e.Action == "IssueServerCertificate" {
					t.Errorf("an event tells %q, and the certificate that was made by hand is all that was stored", e.Note)
				}
			}
			server, ca := secret(t, "istio-system", h.serverName), secret(t, "istio-system", h.serverName+"-cacert")
			if _, offered := server.Annotations["mtls.sallyport.dev/adopt"]; offered || !slices.Equal(slices.Sorted(maps.Keys(server.Data)), []string{"tls.crt", "tls.key"}) {
				t.Errorf("the server's Secret carries %v and has the keys %v", server.Annotations, slices.Sorted(maps.Keys(server.Data)))
			}
			if _, lists := ca.Data["ca.crl"]; lists != row.apart || !strings.Contains(string(ca.Data["ca.crt"]), string(h.root.PEM())) {
				t.Errorf("the Secret of CAs has the keys %v", slices.Sorted(maps.Keys(ca.Data)))
			}
			fresh := byRequest(t, ns, "fresh-"+name, row.authority)
			fresh.Roots = h.caller.Roots
			answered(t, "a caller of the authority is let in", fresh, host, 418)
			answered(t, "a stranger is refused", foreigner(t), host, 0)
			if row.apart {
				answered(t, "a caller that was revoked by hand is refused", h.revoked, host, 0)
			}

			generations, err := generationsOf(t.Context(), ns, row.authority)
			if err != nil {
				t.Fatal(err)
			}
			both := h.caller.Roots.Clone()
			both.AppendCertsFromPEM(publishedTrust(t, ns, row.authority))
			old := h.caller
			old.Roots, fresh.Roots = both, both
			key := fmt.Sprint(generations[0]["subjectKeyID"])
			patch(t, "mtls.sallyport.dev/v1alpha1", "CertificateAuthority", ns, row.authority, fmt.Sprintf(`{"spec": {"rotation": {"callersUpdated": %q}}}`, key))
			nobodyIsRefused(t, "the authority's certificate takes its place", old, host, func() bool { return storedLeaf(t, h.serverName).AuthorityKeyID() == key })
			if kind := secret(t, "istio-system", h.serverName).Type; kind != corev1.SecretTypeTLS {
				t.Errorf("the server's Secret has type %s", kind)
			}
			ready(t, "MutualTLSEndpoint", ns, endpoint)

			if err := shared.stack.Client().Delete(t.Context(), secret(t, "istio-system", ns+"."+name+".mtls-adopted")); err != nil {
				t.Fatal(err)
			}
			answered(t, "a caller of the hand-made CA is refused when that is ended", old, host, 0)
			answered(t, "a caller of the authority goes on", fresh, host, 418)
			eventually(t, "nothing is told of it any more", func(ctx context.Context) error {
				if said, err := told(ctx, "MutualTLSEndpoint", ns, endpoint, "Adopted"); err == nil {
					return errors.New(said)
				}
				return nil
			})
			ready(t, "MutualTLSEndpoint", ns, endpoint)
		})
	}
}

// What cannot be taken over without a refused caller is left as it is, and its owner is told what to do. A certificate that is provided
// stays its owner's, and the hand-made CA beside it is trusted.
func TestWhatIsNotTakenOverGoesOnAsItIs(t *testing.T) {
	const ns, host = "unready", "unready.example.com"
	namespace(t, ns)
	h := newHandMade(t, host, "hand-unready", false)
	handOver(t, h.serverName, ns+"/edge")
	apply(t, strings.Replace(gatewayYAML("v1", ns, "edge", host), "hosts:", "tls: {mode: MUTUAL, credentialName: "+h.serverName+"}\n    hosts:", 1)+"---"+routeYAML(ns, "edge", host))
	tells(t, "MutualTLSEndpoint", ns, "gateway-edge", "Adopted", "False AdoptionNeedsCRL", `CA "made by hand"`, "stays as it is")
	tells(t, "MutualTLSEndpoint", ns, "gateway-edge", "Ready", "False AdoptionNeedsCRL")
	answered(t, "a caller of the hand-made set-up is let in", h.caller, host, 418)
	if left := secret(t, "istio-system", h.serverName); len(left.Data) != 3 || len(left.Labels) > 0 {
		t.Errorf("its Secret has the keys %v and the labels %v", slices.Sorted(maps.Keys(left.Data)), left.Labels)
	}

	// Its owner adds what is missing: it is taken over.
	list := h.root.CRL(t, 1, testpki.Around(time.Now()))
	left := secret(t, "istio-system", h.serverName)
	left.Data["ca.crl"] = list
	if err := shared.stack.Client().Update(t.Context(), left); err != nil {
		t.Fatal(err)
	}
	tells(t, "MutualTLSEndpoint", ns, "gateway-edge", "Adopted", "True Adopted")
	answered(t, "a caller of the hand-made set-up is let in", h.caller, host, 418)

	const other = "kept.unready.example.com"
	kept := newHandMade(t, other, "hand-kept", true)
	handOver(t, kept.caOwn, ns+"/kept")
	apply(t, strings.Replace(gatewayYAML("v1", ns, "kept", other, "mtls.sallyport.dev/server-certificate: provided"), "hosts:", "tls: {mode: MUTUAL, credentialName: "+kept.serverName+"}\n    hosts:", 1)+"---"+routeYAML(ns, "kept", other))
	ready(t, "MutualTLSEndpoint", ns, "gateway-kept")
	answered(t, "a caller of the CA beside a provided certificate is let in", kept.caller, other, 418)
	answered(t, "one that was revoked by hand is refused", kept.revoked, other, 0)
	if beside := secret(t, "istio-system", kept.caOwn); len(beside.Labels) > 0 || beside.Annotations["mtls.sallyport.dev/adopt"] == "" {
		t.Errorf("the Secret that stays its owner's carries %v and %v", beside.Labels, beside.Annotations)
	}
}
