package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What this version does not do is refused with a condition or a denial that says
// so, never ignored.
func TestWhatIsNotSupportedIsSaid(t *testing.T) {
	const ns = "unsupported"
	namespace(t, ns)
	tests := map[string]struct{ kind, name, manifest, want string }{
		"a window that cannot be read": {"CertificateAuthority", "rotating", `
apiVersion: mtls.sallyport.dev/v1alpha1
kind: CertificateAuthority
metadata: {name: rotating, namespace: unsupported}
spec: {source: {type: SelfSigned}, rotation: {windows: [{schedule: "0 25 * * *", duration: 1h}]}}
`, `Invalid: spec.rotation.windows[0].schedule: "0 25 * * *" is not in the five fields of cron`},
		"a namespace without the right to write Secrets": {"ClientCertificate", "unbound", `
apiVersion: mtls.sallyport.dev/v1alpha1
kind: CertificateAuthority
metadata: {name: own, namespace: unsupported}
spec: {source: {type: SelfSigned}}
---
apiVersion: mtls.sallyport.dev/v1alpha1
kind: ClientCertificate
metadata: {name: unbound, namespace: unsupported}
spec: {authorityRef: {name: own}, secretName: unbound}
`, "SecretAccessDenied: the agent may not write Secrets in namespace unsupported"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			apply(t, test.manifest)
			object := &unstructured.Unstructured{}
			object.SetAPIVersion("mtls.sallyport.dev/v1alpha1")
			object.SetKind(test.kind)
			key := client.ObjectKey{Namespace: ns, Name: test.name}
			eventually(t, test.want, func(ctx context.Context) error {
				if err := shared.stack.Client().Get(ctx, key, object); err != nil {
					return err
				}
				found := notReady(object)
				if !strings.HasPrefix(found, test.want) {
					return fmt.Errorf("found %q", found)
				}
				return nil
			})
		})
	}
}

// notReady is the reason and the message of an object that is not Ready.
func notReady(object *unstructured.Unstructured) string {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, c := range conditions {
		if condition, _ := c.(map[string]any); condition["type"] == "Ready" && condition["status"] == "False" {
			return fmt.Sprintf("%s: %s", condition["reason"], condition["message"])
		}
	}
	return ""
}

// Denials come from the webhook, through the API server, with what to do.
func TestDenialsReachThePerson(t *testing.T) {
	const ns = "denied"
	namespace(t, ns)
	tests := map[string]struct{ manifest, want string }{
		"a misspelt value": {
			strings.Replace(gatewayYAML("v1", ns, "edge", "a.denied.example.com"), "mutual", "Mutual", 1),
			`metadata.annotations[mtls.sallyport.dev/mode]: Unsupported value: "Mutual": supported values: "mutual", "optional", "disabled"`,
		},
		"a server without TLS": {
			strings.Replace(gatewayYAML("v1", ns, "edge", "a.denied.example.com"), "protocol: HTTPS", "protocol: HTTP", 1),
			"spec.servers[0].port.protocol: found \"HTTP\", expected HTTPS or TLS",
		},
		"a provided certificate": {
			gatewayYAML("v1", ns, "edge", "a.denied.example.com", "mtls.sallyport.dev/server-certificate: provided"),
			"tls.credentialName: is empty, and mtls.sallyport.dev/server-certificate: provided asks for a Secret that is there: name it",
		},
		"an APIRule on a Gateway of its own operator": {
			ruleYAML("v2", ns, "orders", "b.denied.example.com", annotated, "externalGateway: denied/x"), "spec.externalGateway",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := shared.stack.ApplyYAML(t.Context(), test.manifest)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the API server answers %v, expected %q", err, test.want)
			}
		})
	}
}
