package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"sallyport.dev/sallyport/internal/localstack/edge"
)

// A platform demands mutual TLS of a Namespace. What is served there meets it; a Gateway of somebody else that leads to the
// same workload does not make it so, a stranger gets in there, and the policy says by which way until that is closed.
func TestAPolicyNamesTheWayPast(t *testing.T) {
	const ns, host, open = "policed", "policed.example.com", "open.policed.example.net"
	namespace(t, ns)
	serve(t, ns, "edge", host)
	apply(t, `
apiVersion: mtls.sallyport.dev/v1alpha1
kind: MutualTLSPolicy
metadata: {name: policed}
spec: {action: Audit, match: {namespaces: [policed]}, require: {mode: Mutual, minTLS: TLSv1.2, plainHTTP: Forbidden}}
`)
	tells(t, "MutualTLSPolicy", "", "policed", "Compliant", "True Compliant: ")

	serverSecret(t, "policed-open", open)
	namespace(t, "policed-open")
	way := openGatewayYAML("policed-open", "policed-open", open) +
		"---" + strings.NewReplacer("gateways: [policed/past]", "gateways: [policed-open/open]").Replace(routeYAML(ns, "past", open))
	apply(t, way)
	stranger := func(ctx context.Context) int {
		return edge.Caller{}.Call(ctx, shared.stack.Gateways()[0].HTTPS, open, open, "/status/418", nil).Status
	}
	eventually(t, "a stranger at the workload", func(ctx context.Context) error {
		if status := stranger(ctx); status != teapot {
			return fmt.Errorf("status %d", status)
		}
		return nil
	})
	tells(t, "MutualTLSPolicy", "", "policed", "Compliant", "False Violated: ", "past")

	route := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": map[string]any{"namespace": ns, "name": "past"},
	}}
	if err := shared.stack.Client().Delete(t.Context(), route); err != nil {
		t.Fatal(err)
	}
	tells(t, "MutualTLSPolicy", "", "policed", "Compliant", "True Compliant: ")
}

// openGatewayYAML is a Gateway that asks nobody for a certificate, with a server certificate of somebody's.
func openGatewayYAML(namespace, credential, host string) string {
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: open, namespace: %s}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 443, name: a, protocol: HTTPS}, hosts: ["%s"], tls: {mode: SIMPLE, credentialName: %s}}]
`, namespace, host, credential)
}
