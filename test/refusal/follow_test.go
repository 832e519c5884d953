package refusal

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/testenv"
)

// followed is how long an APIRule may stay on a Gateway that is open. An idle machine
// takes some hundredths of a second; tests share theirs with compilers.
const followed = 5 * time.Second

// No admission rule can see it: an APIRule asks for mutual TLS, and the Gateway it
// names, somebody else's object, stops being mutual. The agent moves the APIRule to
// a Gateway made for it, whether or not anybody answers reviews.
func TestAnAPIRuleLeavesAGatewayThatStopsBeingMutual(t *testing.T) {
	ways := map[string]func(t *testing.T, gateway *unstructured.Unstructured){
		"it is kept off and opened in one write": func(t *testing.T, g *unstructured.Unstructured) {
			g.SetAnnotations(map[string]string{mtls + "mode": "disabled"})
			setTLS(t, g, map[string]any{"mode": "SIMPLE", "credentialName": "a"})
			updated(t, g)
		},
		"its annotation is taken away": func(t *testing.T, g *unstructured.Unstructured) {
			g.SetAnnotations(nil)
			updated(t, g)
		},
		"it lets callers in without a certificate": func(t *testing.T, g *unstructured.Unstructured) {
			g.SetAnnotations(map[string]string{mtls + "mode": "optional"})
			servers, _, _ := unstructured.NestedSlice(g.Object, "spec", "servers")
			settings, _, _ := unstructured.NestedMap(servers[0].(map[string]any), "tls") //nolint:forcetypeassert // as it was created
			settings["mode"] = "OPTIONAL_MUTUAL"
			setTLS(t, g, settings)
			updated(t, g)
		},
		"an open one takes its place": func(t *testing.T, g *unstructured.Unstructured) {
			open := g.DeepCopy()
			if err := shared.person.Delete(t.Context(), g); err != nil {
				t.Fatal(err)
			}
			open.SetAnnotations(nil)
			open.SetResourceVersion("")
			open.SetUID("")
			setTLS(t, open, map[string]any{"mode": "SIMPLE", "credentialName": "a"})
			if err := shared.person.Create(t.Context(), open); err != nil {
				t.Fatal(err)
			}
		},
	}
	try := func(t *testing.T, id string) {
		for name, change := range ways {
			t.Run(name, func(t *testing.T) { moves(t, id+"-"+strings.ReplaceAll(name, " ", "-"), change) })
		}
	}
	t.Run("the webhook answers", func(t *testing.T) { try(t, "a") })
	t.Run("every replica of the webhook is dead", func(t *testing.T) {
		withoutWebhook(t)
		try(t, "d")
	})
}

func moves(t *testing.T, ns string, change func(t *testing.T, gateway *unstructured.Unstructured)) {
	namespace(t, ns)
	complete := "mode: MUTUAL, credentialName: NAMESPACE.edge.mtls, caCertCredentialName: NAMESPACE.edge.mtls-cacert, minProtocolVersion: TLSV1_2"
	edge := create(t, fill(gateway(mutual, serverOn(443, "HTTPS", "'*.NAMESPACE.example.com'", complete)), "v1", ns))
	orders := create(t, fill(rule(mutual, "gateway: NAMESPACE/edge"), "v2", ns))
	testenv.Eventually(t, followed, "the agent knows the APIRule", func(ctx context.Context) error {
		return shared.person.Get(ctx, client.ObjectKey{Namespace: ns, Name: "apirule-orders"}, ofKind("mtls.sallyport.dev/v1alpha1", "MutualTLSEndpoint"))
	})
	change(t, edge)
	took := testenv.Eventually(t, followed, "the APIRule is moved", func(ctx context.Context) error {
		if err := shared.person.Get(ctx, client.ObjectKeyFromObject(orders), orders); err != nil {
			return err
		}
		if found, _, _ := unstructured.NestedString(orders.Object, "spec", "gateway"); found != ns+"/orders-mtls" {
			return fmt.Errorf("spec.gateway is %q", found)
		}
		return nil
	})
	managed := ofKind("networking.istio.io/v1", "Gateway")
	served := took + testenv.Eventually(t, followed, "its Gateway is there", func(ctx context.Context) error {
		return shared.person.Get(ctx, client.ObjectKey{Namespace: ns, Name: "orders-mtls"}, managed)
	})
	servers, _, _ := unstructured.NestedSlice(managed.Object, "spec", "servers")
	if len(servers) != 1 {
		t.Fatalf("the managed Gateway has %d servers", len(servers))
	}
	if mode, _, _ := unstructured.NestedString(servers[0].(map[string]any), "tls", "mode"); mode != "MUTUAL" { //nolint:forcetypeassert // Istio's schema
		t.Errorf("the managed Gateway is %s", mode)
	}
	t.Logf("moved after %s, to a mutual Gateway after %s", took.Round(time.Millisecond), served.Round(time.Millisecond))
}

func ofKind(apiVersion, kind string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion(apiVersion)
	object.SetKind(kind)
	return object
}

func setTLS(t *testing.T, gateway *unstructured.Unstructured, settings map[string]any) {
	t.Helper()
	servers, _, _ := unstructured.NestedSlice(gateway.Object, "spec", "servers")
	servers[0].(map[string]any)["tls"] = settings //nolint:forcetypeassert // as it was created
	if err := unstructured.SetNestedSlice(gateway.Object, servers, "spec", "servers"); err != nil {
		t.Fatal(err)
	}
}

func updated(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	if err := shared.person.Update(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}
