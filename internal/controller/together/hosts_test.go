package together

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/ingress"
)

// serveHost changes the host of the Gateway bank/edge and has it served.
func (w *world) serveHost(host string) {
	w.t.Helper()
	g := ingress.NewGatewayObject()
	w.get(g, "bank", "edge")
	servers, _, _ := unstructured.NestedSlice(g.Object, "spec", "servers")
	servers[0].(map[string]any)["hosts"] = []any{host} //nolint:forcetypeassert // newGateway made it
	if err := unstructured.SetNestedSlice(g.Object, servers, "spec", "servers"); err != nil {
		w.t.Fatal(err)
	}
	if err := w.admin.Update(w.t.Context(), g); err != nil {
		w.t.Fatal(err)
	}
	w.gateway("bank", "edge")
}

// servedSerial is the serial number of what bank/edge serves, by its endpoint.
func (w *world) servedSerial() string {
	w.t.Helper()
	var e v1alpha1.MutualTLSEndpoint
	w.get(&e, "bank", "gateway-edge")
	return e.Status.ServerCertificate.Serial
}

// Who changes the hosts of a Gateway in a loop has certificates issued for it once a minute: each is pushed to every replica. The one
// before is served meanwhile, he is told, and the last wish is fulfilled by itself.
func TestAGatewayWhoseHostsChangeInALoopIsHeldUp(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.newGateway("bank", "edge", "a.example.com", "", shared)
	w.gateway("bank", "edge")
	serials := map[string]bool{}
	for n := range 40 {
		w.serveHost(fmt.Sprintf("h%d.example.com", n))
		serials[w.servedSerial()] = true
		w.after(time.Second)
	}
	if len(serials) < 16 || len(serials) > 18 {
		t.Errorf("in forty seconds %d certificates were served, expected 16 and one each minute", len(serials))
	}
	stands := w.ready("bank", "gateway-edge")
	if stands.Reason != v1alpha1.ReasonIssuedTooOften {
		t.Errorf("it stands as %+v", stands)
	}
	w.after(time.Minute)
	w.gateway("bank", "edge")
	if stands := w.ready("bank", "gateway-edge"); stands.Reason != v1alpha1.ReasonReady || serials[w.servedSerial()] {
		t.Errorf("a minute later it stands as %+v", stands)
	}
}

// What its CA asks for does not wait behind that.
func TestACompromisedCAIsReplacedWhateverTheHostsDo(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.newGateway("bank", "edge", "a.example.com", "", shared)
	w.gateway("bank", "edge")
	for n := range 40 {
		w.serveHost(fmt.Sprintf("h%d.example.com", n))
	}
	before, stolen := w.servedSerial(), w.active("shop", "default")
	w.change("shop", "default", compromise(stolen))
	for range 3 {
		w.pass(w.authority, "shop", "default")
	}
	w.gateway("bank", "edge")
	if w.servedSerial() == before {
		t.Errorf("it still serves a certificate of the compromised CA, and stands as %+v", w.ready("bank", "gateway-edge"))
	}
}
