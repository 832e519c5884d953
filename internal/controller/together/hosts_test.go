package together

import (
	"fmt"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// serveHost changes the host of the Gateway bank/edge and has it served.
func (w *world) serveHost(host string) {
	w.t.Helper()
	w.editServer("edge", func(s map[string]any) { s["hosts"] = []any{host} })
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

// Nor does who deletes the Gateway and makes it again: its Secret stays meanwhile.
func TestAGatewayThatIsMadeAgainInALoopIsHeldUp(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	serials := map[string]bool{}
	for n := range 60 {
		g := w.newGateway("bank", "edge", fmt.Sprintf("h%d.example.com", n), "", shared)
		w.gateway("bank", "edge")
		serials[w.servedSerial()] = true
		if err := w.admin.Delete(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		w.index.DeleteGateway(requestFor("bank", "edge").NamespacedName)
		w.pass(w.gateways, "bank", "edge")
		w.after(time.Second)
	}
	if len(serials) > 18 {
		t.Errorf("%d certificates in a minute", len(serials))
	}
}

// What could not be issued is told as what it is, and keeps nothing back that can be.
func TestWhatCouldNotBeIssuedCountsForNothing(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.newGateway("bank", "edge", "a.example.com", "", shared)
	w.gateway("bank", "edge")
	w.editServer("edge", func(s map[string]any) {
		var hosts []any
		for n := range 300 {
			hosts = append(hosts, fmt.Sprintf("h%d.example.com", n))
		}
		s["hosts"] = hosts
	})
	w.gateway("bank", "edge")
	before := w.ready("bank", "gateway-edge")
	for range 20 {
		w.gateway("bank", "edge")
	}
	if now := w.ready("bank", "gateway-edge"); now.Reason != before.Reason {
		t.Errorf("nothing was issued. Before: %s: %.150s\nnow: %s: %.300s", before.Reason, before.Message, now.Reason, now.Message)
	}
	w.serveHost("b.example.com")
	if now := w.ready("bank", "gateway-edge"); now.Reason != v1alpha1.ReasonReady {
		t.Errorf("the wish that can be fulfilled waits: %s: %.300s", now.Reason, now.Message)
	}
}
