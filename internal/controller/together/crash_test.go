package together

import (
	"context"
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/internal/install"
	"sallyport.dev/sallyport/pkg/pki"
)

// The agent dies between the write of a server's Secret and that of the endpoint's status. The next one knows nothing of the name, and
// issues it to another namespace that comes first.
func TestAHostIsIssuedToOneNamespaceThoughTheAgentDies(t *testing.T) {
	dies := false
	w := newWorld(t, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if _, is := o.(*v1alpha1.MutualTLSEndpoint); is && dies {
				return errors.New("killed")
			}
			return c.Create(ctx, o, opts...)
		},
	})
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.newGateway("shop", "edge", "a.example.com", "", shared)
	b := w.newGateway("mallory", "edge", "a.example.com", "", shared)
	spec, _ := b.Object["spec"].(map[string]any)
	servers, _ := spec["servers"].([]any)
	servers[0].(map[string]any)["port"] = map[string]any{"number": int64(9443), "protocol": "HTTPS", "name": "https"} // no conflict
	if err := w.admin.Update(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	dies = true
	for range 3 {
		_, _ = w.try(w.gateways, "shop", "edge")
	}
	dies = false
	settings, err := install.Parse([]byte("trustDomain: example.com\n"))
	if err != nil {
		t.Fatal(err)
	}
	w.gateways = w.agent(settings)                   // the next agent
	for _, of := range []string{"mallory", "shop"} { // it has heard of all before it does anything
		g := ingress.NewGatewayObject()
		w.get(g, of, "edge")
		w.index.SetGateway(g.Object)
	}
	for _, of := range []string{"mallory", "shop"} {
		w.gateway(of, "edge")
	}
	held := 0
	for _, name := range []string{"shop.edge.mtls", "mallory.edge.mtls"} {
		s := w.secretIfAny("istio-system", name)
		if s == nil {
			continue
		}
		if pair, err := pki.ParsePair(s.Data["tls.crt"], s.Data["tls.key"]); err == nil && pair.Leaf().X509().VerifyHostname("a.example.com") == nil {
			held++
		}
	}
	if held > 1 {
		t.Errorf("two namespaces hold a certificate for %s under one authority", "a.example.com")
	}
	if stands := w.ready("shop", "gateway-edge"); stands.Status != metav1.ConditionTrue {
		t.Errorf("the one that was issued it stands as %+v", stands)
	}
	if stands := w.ready("mallory", "gateway-edge"); stands.Reason != v1alpha1.ReasonNameInUse {
		t.Errorf("the other stands as %+v", stands)
	}
}

// ready is the condition Ready of an endpoint.
func (w *world) ready(namespace, name string) metav1.Condition {
	w.t.Helper()
	var e v1alpha1.MutualTLSEndpoint
	w.get(&e, namespace, name)
	ready := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil {
		w.t.Fatalf("%s/%s tells nothing of Ready: %+v", namespace, name, e.Status)
	}
	return *ready
}
