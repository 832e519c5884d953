package together

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/pkg/pki"
)

// shared are the annotations of a Gateway that asks for the authority that all share.
var shared = map[string]string{"mtls.sallyport.dev/mode": "mutual", "mtls.sallyport.dev/authorities": "shop/default"}

// trusts reports whether a stored CA Secret has a CA of a key id.
func (w *world) trusts(secret, id string) bool {
	w.t.Helper()
	cas, err := pki.ParseCertificates(w.secret("istio-system", secret).Data["ca.crt"])
	if err != nil {
		w.t.Fatal(err)
	}
	for _, ca := range cas {
		if ca.SubjectKeyID() == id {
			return true
		}
	}
	return false
}

// annotate changes the annotations of Gateway bank/edge.
func (w *world) annotate(annotations map[string]string) {
	w.t.Helper()
	g := ingress.NewGatewayObject()
	w.get(g, "bank", "edge")
	g.SetAnnotations(annotations)
	if err := w.admin.Update(w.t.Context(), g); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) spoilAnnotations() {
	w.annotate(map[string]string{"mtls.sallyport.dev/mode": "mutual", "mtls.sallyport.dev/authorities": "shop/default", "mtls.sallyport.dev/of-a-newer-version": "yes"})
}

// forbid has authority shop/default serve its own namespace alone.
func (w *world) forbid() {
	w.change("shop", "default", func(a *v1alpha1.CertificateAuthority) {
		a.Spec.AllowedGateways.Namespaces.From = v1alpha1.NamespacesSame
	})
}

// loseKey takes the key of the first generation out of the record of authority shop/default.
func (w *world) loseKey() {
	w.t.Helper()
	var all corev1.SecretList
	if err := w.admin.List(w.t.Context(), &all, client.InNamespace(agentNS)); err != nil {
		w.t.Fatal(err)
	}
	for i := range all.Items {
		if all.Items[i].Labels["mtls.sallyport.dev/ledger"] == "keys" && all.Items[i].Annotations["mtls.sallyport.dev/owner"] == "CertificateAuthority/shop/default/ca-default" {
			delete(all.Items[i].Data, "g1.key")
			if err := w.admin.Update(w.t.Context(), &all.Items[i]); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// One Gateway is served by an authority whose key is stolen. Whatever is wrong with it otherwise, nobody may be let in with a
// certificate of that key once it is named under spec.rotation.compromised.
func TestACompromisedCAIsTrustedNowhere(t *testing.T) {
	for name, row := range map[string]struct {
		annotations map[string]string
		before      func(w *world)
	}{
		"nothing else is wrong":                                       {},
		"the annotations of the Gateway are invalid":                  {before: (*world).spoilAnnotations},
		"the authority serves the namespace no more":                  {before: (*world).forbid},
		"its record is lost":                                          {before: (*world).loseKey},
		"its record is lost, and it is the second of two authorities": {annotations: map[string]string{"mtls.sallyport.dev/mode": "mutual", "mtls.sallyport.dev/authorities": "shop/other,shop/default"}, before: (*world).loseKey},
		"it names another authority, which does not serve its namespace": {before: func(w *world) {
			w.newAuthority("shop", "private", func(a *v1alpha1.CertificateAuthority) { a.Spec.AllowedGateways = v1alpha1.AllowedReferences{} })
			w.pass(w.authority, "shop", "private")
			w.annotate(map[string]string{"mtls.sallyport.dev/mode": "mutual", "mtls.sallyport.dev/authorities": "shop/private"})
		}},
		"its mode cannot be read": {before: func(w *world) {
			w.annotate(map[string]string{"mtls.sallyport.dev/mode": "mutaul", "mtls.sallyport.dev/authorities": "shop/default"})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			w.newAuthority("shop", "default", nil)
			w.newAuthority("shop", "other", nil)
			w.pass(w.authority, "shop", "default")
			w.pass(w.authority, "shop", "other")
			if row.annotations == nil {
				row.annotations = shared
			}
			w.newGateway("bank", "edge", "a.example.com", "", row.annotations)
			w.gateway("bank", "edge")
			stolen := w.active("shop", "default")
			if !w.trusts("bank.edge.mtls-cacert", stolen) {
				t.Fatal("the Gateway does not trust the CA to begin with")
			}
			if row.before != nil {
				row.before(w)
				w.after(time.Minute)
				_, _ = w.try(w.authority, "shop", "default")
				_, _ = w.try(w.gateways, "bank", "edge")
			}
			w.change("shop", "default", compromise(stolen))
			for range 5 {
				w.after(time.Minute)
				_, _ = w.try(w.authority, "shop", "default")
				_, _ = w.try(w.gateways, "bank", "edge")
			}
			if w.trusts("bank.edge.mtls-cacert", stolen) {
				t.Error("five minutes after the call the Gateway's CA Secret still has the compromised CA")
			}
			server, ca := w.secret("istio-system", "bank.edge.mtls"), w.secret("istio-system", "bank.edge.mtls-cacert")
			if pair, err := pki.ParsePair(server.Data["tls.crt"], server.Data["tls.key"]); err != nil || pair.Leaf().X509().VerifyHostname("a.example.com") != nil {
				t.Errorf("its server certificate is lost, error %v", err)
			}
			if bundle, err := pki.ParseBundle(ca.Data["ca.crt"], ca.Data["ca.crl"], w.clock.Now()); err != nil || bundle.IsZero() {
				t.Errorf("gateways do not work with its CA Secret: %v", err)
			}
			_, _ = w.try(w.gateways, "bank", "edge")
			if again := w.secret("istio-system", "bank.edge.mtls-cacert"); again.ResourceVersion != ca.ResourceVersion {
				t.Error("its CA Secret is written again though nothing changed")
			}
		})
	}
}

// The Secret of CAs is ours though somebody put his own into the place of the server's.
func TestACompromisedCAIsTrustedNowhereBesideAForeignSecret(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.newGateway("bank", "edge", "a.example.com", "", shared)
	w.gateway("bank", "edge")
	stolen := w.active("shop", "default")
	if err := w.admin.Delete(t.Context(), w.secret("istio-system", "bank.edge.mtls")); err != nil {
		t.Fatal(err)
	}
	w.put(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: "bank.edge.mtls"}})
	w.gateway("bank", "edge")
	w.change("shop", "default", compromise(stolen))
	for range 2 {
		w.after(time.Minute)
		w.pass(w.authority, "shop", "default")
		w.gateway("bank", "edge")
	}
	if ready := w.ready("bank", "gateway-edge"); ready.Reason != v1alpha1.ReasonForeignSecret {
		t.Errorf("it tells %+v", ready)
	}
	if w.trusts("bank.edge.mtls-cacert", stolen) {
		t.Error("the compromised CA is trusted")
	}
}

// A revocation reaches a gateway whatever keeps its Gateway from being programmed, and a CRL is renewed before it ends. Nothing is
// written once that is done.
func TestACRLReachesAGatewayThatCannotBeProgrammed(t *testing.T) {
	for name, before := range map[string]func(*world){
		"the annotations of the Gateway are invalid": (*world).spoilAnnotations,
		"the authority serves the namespace no more": (*world).forbid,
	} {
		t.Run(name, func(t *testing.T) {
			writes := 0
			w := newWorld(t, interceptor.Funcs{
				Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
					writes++
					return c.Update(ctx, o, opts...)
				},
				SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
					writes++
					return c.SubResource(sub).Update(ctx, o, opts...)
				},
			})
			w.newAuthority("shop", "default", nil)
			w.pass(w.authority, "shop", "default")
			w.newGateway("bank", "edge", "a.example.com", "", shared)
			w.gateway("bank", "edge")
			before(w)
			w.gateway("bank", "edge")
			w.change("shop", "default", func(a *v1alpha1.CertificateAuthority) { a.Spec.Revocation.Serials = []string{"7f01"} })
			w.pass(w.authority, "shop", "default")
			w.gateway("bank", "edge")
			serial, err := pki.ParseSerial("7f01")
			if err != nil {
				t.Fatal(err)
			}
			crls, err := pki.ParseCRLs(w.secret("istio-system", "bank.edge.mtls-cacert").Data["ca.crl"])
			if err != nil || len(crls) != 1 || !crls[0].Lists(serial) {
				t.Errorf("the CRL does not list what was revoked, error %v", err)
			}
			if requests := w.gateways.Interests.Of(types.NamespacedName{Namespace: "shop", Name: "default"}); len(requests) != 1 {
				t.Errorf("a change of the authority has %d Gateways looked at, expected 1", len(requests))
			}
			writes = 0
			w.after(time.Second)
			w.gateway("bank", "edge")
			if writes > 0 {
				t.Errorf("%d writes though nothing changed", writes)
			}
		})
	}
}
