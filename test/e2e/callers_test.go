package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"sallyport.dev/sallyport/internal/localstack/edge"
)

// A Gateway that asks for certificates and does not insist tells who would be refused if it did: by the count of the real
// Envoys, of which the agent's own handshakes are no part.
func TestAnOptionalGatewayTellsWhoHasNoCertificate(t *testing.T) {
	const ns, host, open = "counted", "counted.example.com", "open.counted.example.net"
	namespace(t, ns)
	serve(t, ns, "edge", host, "mtls.sallyport.dev/mode: optional")
	apply(t, `
apiVersion: mtls.sallyport.dev/v1alpha1
kind: MutualTLSPolicy
metadata: {name: counted}
spec: {action: Audit, match: {namespaces: [counted]}, require: {mode: Mutual}}
`)
	says := func(words ...string) {
		t.Helper()
		tells(t, "MutualTLSEndpoint", ns, "gateway-edge", "ReadyForMutual", words...)
	}
	counted := func(handshakes, withCertificate int64) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d of %d handshakes with a certificate are counted", withCertificate, handshakes), func(context.Context) error {
			use, _, err := unstructured.NestedMap(stored(t, "mtls.sallyport.dev/v1alpha1", "MutualTLSEndpoint", ns, "gateway-edge"), "status", "clientCertificates")
			if err != nil || use["handshakes"] != handshakes || use["withCertificate"] != withCertificate {
				return fmt.Errorf("told is %v, error %w", use, err)
			}
			return nil
		})
	}
	policySays := func(reason string) {
		t.Helper()
		eventually(t, "the policy counts the optional Gateway as "+reason, func(context.Context) error {
			optional, _, err := unstructured.NestedSlice(stored(t, "mtls.sallyport.dev/v1alpha1", "MutualTLSPolicy", "", "counted"), "status", "optional")
			if err != nil || fmt.Sprint(optional) != "[map[count:1 reason:"+reason+"]]" {
				return fmt.Errorf("told is %v, error %w", optional, err)
			}
			return nil
		})
	}
	call := func(c edge.Caller, times int) {
		t.Helper()
		for n := range times {
			gateway := shared.stack.Gateways()[n%2]
			if a := c.Call(t.Context(), gateway.HTTPS, host, host, "/status/418", nil); a.Status != teapot {
				t.Fatalf("%s answers %s", gateway.Pod, a)
			}
		}
	}
	// The agent itself has come all the time by now, with certificates.
	says("Unknown NoCallers: nobody but the agent came")
	policySays("NoCallers")
	counted(0, 0)

	friend := certificateFor(t, ns, "billing", "default")
	call(friend, 6)
	counted(6, 6)
	says("True CallersHaveCertificates: ", "mode mutual would have refused none of them")
	policySays("CallersHaveCertificates")

	serverSecret(t, "counted-open", open)
	namespace(t, "counted-open")
	apply(t, openGatewayYAML("counted-open", "counted-open", open))
	call(edge.Caller{Roots: friend.Roots}, 3)
	counted(9, 6)
	says("Unknown PortShared: ", "without a certificate", "counted-open/open")
	policySays("PortShared")

	// With nobody else on the port who lets in such callers, it was this one's.
	letNobodyElseIn(t, ns)
	call(edge.Caller{Roots: friend.Roots}, 1)
	says("False CallersWithoutCertificate: ", "mode mutual refuses such callers")
	policySays("CallersWithoutCertificate")
	call(friend, 1)
	says("True CallersHaveCertificates: ")
	counted(11, 7)
}

// letNobodyElseIn deletes the Gateways of other namespaces that let in callers without a certificate.
func letNobodyElseIn(t *testing.T, ns string) {
	t.Helper()
	gateways := &unstructured.UnstructuredList{}
	gateways.SetAPIVersion("networking.istio.io/v1")
	gateways.SetKind("GatewayList")
	if err := shared.stack.Client().List(t.Context(), gateways); err != nil {
		t.Fatal(err)
	}
	for i := range gateways.Items {
		g := &gateways.Items[i]
		if text := fmt.Sprint(g.Object["spec"]); g.GetNamespace() != ns && (strings.Contains(text, "mode:SIMPLE") || strings.Contains(text, "mode:OPTIONAL")) {
			if err := shared.stack.Client().Delete(t.Context(), g); err != nil {
				t.Fatal(err)
			}
		}
	}
}
