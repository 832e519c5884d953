package together

import (
	"bytes"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// A revocation reaches a gateway whose server Secret somebody fights for: that is another Secret.
func TestAContestedServerSecretHoldsNoCRLUp(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.newGateway("bank", "edge", "a.example.com", "", shared)
	w.gateway("bank", "edge")
	spoil := func() {
		s := w.secret("istio-system", "bank.edge.mtls")
		s.Data["tls.crt"] = []byte("nonsense")
		if err := w.admin.Update(t.Context(), s, client.FieldOwner("somebody")); err != nil {
			t.Fatal(err)
		}
	}
	spoil()
	w.gateway("bank", "edge") // put right
	spoil()
	w.after(time.Second)
	w.gateway("bank", "edge") // held for a minute
	before := w.secret("istio-system", "bank.edge.mtls-cacert").Data["ca.crl"]
	w.change("shop", "default", func(a *v1alpha1.CertificateAuthority) { a.Spec.Revocation.Serials = []string{"7f01"} })
	w.pass(w.authority, "shop", "default")
	w.after(time.Second)
	for range 3 {
		w.gateway("bank", "edge")
	}
	if bytes.Equal(before, w.secret("istio-system", "bank.edge.mtls-cacert").Data["ca.crl"]) {
		t.Error("the new CRL is not in the CA Secret, which nobody else touched: a revocation waits for the server Secret's minute")
	}
}
