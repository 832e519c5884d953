package together

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/internal/ingress"
)

// A Gateway that is opted in names another Secret. The one before is collected ten minutes after nothing names it.
func TestASecretThatItsGatewayNamesNoMoreIsCollected(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.newGateway("bank", "edge", "a.example.com", "one", shared)
	w.gateway("bank", "edge")
	if w.secretIfAny("istio-system", "one") == nil {
		t.Fatal("the first is not there")
	}
	g := ingress.NewGatewayObject()
	w.get(g, "bank", "edge")
	spec, _ := g.Object["spec"].(map[string]any)
	servers, _ := spec["servers"].([]any)
	servers[0].(map[string]any)["tls"].(map[string]any)["credentialName"] = "two"
	if err := w.admin.Update(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		w.gateway("bank", "edge")
		w.after(11 * time.Minute)
	}
	if w.secretIfAny("istio-system", "two") == nil {
		t.Fatal("the second is not there")
	}
	if w.secretIfAny("istio-system", "one") != nil || w.secretIfAny("istio-system", "one-cacert") != nil {
		t.Error("an hour later the first one is there, with its key and with CAs and CRLs that nobody renews")
	}
	if w.secretIfAny("istio-system", "two") == nil || w.secretIfAny("istio-system", "two-cacert") == nil {
		t.Error("those that it names are gone")
	}
}

// One that another server of the Gateway names stays: Istio serves it.
func TestASecretThatAnyServerOfItsGatewayNamesStays(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.newGateway("bank", "edge", "a.example.com", "one", shared)
	w.gateway("bank", "edge")
	g := ingress.NewGatewayObject()
	w.get(g, "bank", "edge")
	spec, _ := g.Object["spec"].(map[string]any)
	servers, _ := spec["servers"].([]any)
	spec["servers"] = append([]any{map[string]any{
		"port": map[string]any{"number": int64(8443), "protocol": "HTTPS", "name": "https-2"}, "hosts": []any{"b.example.com"},
		"tls": map[string]any{"mode": "MUTUAL", "credentialName": "two"},
	}}, servers...)
	if err := w.admin.Update(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		w.gateway("bank", "edge")
		w.after(11 * time.Minute)
	}
	if w.secretIfAny("istio-system", "one") == nil {
		t.Error("it is gone")
	}
}
