package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack"
)

// withoutWebhook runs a test while no replica of the webhook answers.
func withoutWebhook(t *testing.T) {
	t.Helper()
	for _, r := range shared.product.Webhooks {
		if err := r.Process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, r := range shared.product.Webhooks {
			if err := r.Process.Start(); err != nil {
				t.Fatal(err)
			}
		}
		// The test's own context has ended by now.
		if err := shared.product.Ready(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

// rendered is the tls block that the webhook would have written.
const rendered = "mode: MUTUAL, credentialName: backstop.edge.mtls, caCertCredentialName: backstop.edge.mtls-cacert, minProtocolVersion: TLSV1_2"

// gatewayWith is a Gateway with this tls block; another server and annotations may
// follow.
func gatewayWith(version, tls string, more ...string) string {
	annotations, server := annotated, ""
	for _, m := range more {
		if strings.HasPrefix(m, "- ") {
			server = "\n  " + m
		} else {
			annotations = m
		}
	}
	return fmt.Sprintf(`
apiVersion: networking.istio.io/%s
kind: Gateway
metadata: {name: edge, namespace: backstop, annotations: {%s}}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: [backstop.example.com]
    tls: {%s}%s
`, version, annotations, tls, server)
}

// With every replica of the webhook dead, an opted-in object is stored safe or not
// at all, and nothing unrelated is refused.
func TestBackstop(t *testing.T) {
	namespace(t, "backstop")
	apply(t, "{apiVersion: v1, kind: Namespace, metadata: {name: backstop-labelled, labels: {mtls.sallyport.dev/default-mode: mutual}}}")
	withoutWebhook(t)
	const mtls = "mtls.sallyport.dev/"
	const headers = annotated + ", " + mtls + "client-headers: uri"
	const managed = "gateway: backstop/orders-mtls"
	rule := func(version, annotations, extra string) string {
		return ruleYAML(version, "backstop", "orders", "orders.backstop.example.com", annotations, extra)
	}
	tests := map[string]struct{ manifest, refused string }{
		"a rendered Gateway v1":                       {gatewayWith("v1", rendered), ""},
		"a rendered Gateway v1beta1":                  {gatewayWith("v1beta1", rendered), ""},
		"a rendered Gateway v1alpha3":                 {gatewayWith("v1alpha3", rendered), ""},
		"a Gateway that asks for nothing":             {gatewayWith("v1", "mode: SIMPLE, credentialName: a", "a: b"), ""},
		"a Gateway that opts out":                     {gatewayWith("v1", "mode: SIMPLE, credentialName: a", mtls+"mode: disabled"), ""},
		"a credential of the team's own":              {gatewayWith("v1", "mode: MUTUAL, credentialName: mine, minProtocolVersion: TLSV1_2"), ""},
		"TLS 1.3 as asked":                            {gatewayWith("v1", strings.Replace(rendered, "TLSV1_2", "TLSV1_3", 1), annotated+", "+mtls+"min-tls: TLSv1.3"), ""},
		"callers as asked":                            {gatewayWith("v1", rendered+`, subjectAltNames: ["spiffe://example.com/ns/backstop/client/a", "spiffe://example.com/sallyport/probe", b.example.com]`, annotated+", "+mtls+`allowed-clients: "client/a, b.example.com"`), ""},
		"a Gateway that the webhook did not complete": {gatewayWith("v1alpha3", ""), "tls.mode: found "},
		"SIMPLE":                      {gatewayWith("v1", "mode: SIMPLE, credentialName: a, minProtocolVersion: TLSV1_2"), `spec.servers[0].tls.mode: found "SIMPLE", expected MUTUAL`},
		"OPTIONAL_MUTUAL":             {gatewayWith("v1beta1", strings.Replace(rendered, "MUTUAL", "OPTIONAL_MUTUAL", 1)), "tls.mode: found "},
		"insecureSkipVerify":          {gatewayWith("v1", rendered+", insecureSkipVerify: true"), "which gets around the check or cannot be rotated"},
		"a file":                      {gatewayWith("v1", rendered+", caCertificates: /etc/ca"), "which gets around the check or cannot be rotated"},
		"a ConfigMap of CAs":          {gatewayWith("v1", strings.Replace(rendered, "caCertCredentialName: backstop.edge.mtls-cacert", `caCertCredentialName: "configmap://backstop/ca"`, 1)), "tls.caCertCredentialName: found "},
		"another Gateway's Secret":    {gatewayWith("v1", "mode: MUTUAL, credentialName: backstop.other.mtls, minProtocolVersion: TLSV1_2"), "belongs to no other Gateway"},
		"a minimum below":             {gatewayWith("v1", strings.Replace(rendered, "TLSV1_2", "TLSV1_0", 1)), "tls.minProtocolVersion: found "},
		"a minimum that is not asked": {gatewayWith("v1", rendered, annotated+", "+mtls+"min-tls: TLSv1.3"), "tls.minProtocolVersion: found "},
		"callers by hand":             {gatewayWith("v1", rendered+", subjectAltNames: [a.example.com]"), "tls.subjectAltNames: found "},
		"callers that are missing":    {gatewayWith("v1", rendered, annotated+", "+mtls+"allowed-clients: client/a"), "tls.subjectAltNames: found "},
		"a redirect beside it":        {gatewayWith("v1", rendered, "- {port: {number: 80, name: http, protocol: HTTP}, hosts: [backstop.example.com], tls: {httpsRedirect: true}}"), `spec.servers[1].port.protocol: found "HTTP", expected HTTPS or TLS`},
		"another server's Secret":     {gatewayWith("v1", rendered, "- {port: {number: 444, name: other, protocol: HTTPS}, hosts: [b.example.com], tls: {mode: MUTUAL, credentialName: mine, minProtocolVersion: TLSV1_2}}"), `spec.servers[1].tls.credentialName: found "mine", expected `},
		"every host":                  {strings.Replace(gatewayWith("v1", rendered), "backstop.example.com", `"*"`, 1), "of which * is none"},
		"a misspelt key":              {gatewayWith("v1", rendered, annotated+", "+mtls+"Mode: mutual"), "unknown annotation mtls.sallyport.dev/Mode on kind Gateway"},
		"a misspelt mode":             {gatewayWith("v1", rendered, mtls+"mode: Mutual"), "mtls.sallyport.dev/mode takes mutual, optional, disabled"},
		"a key of another kind":       {gatewayWith("v1", rendered, headers), "unknown annotation mtls.sallyport.dev/client-headers on kind Gateway"},
		"a provided certificate":      {gatewayWith("v1", rendered, annotated+", "+mtls+"server-certificate: provided"), "expected the name of the Secret with the provided certificate"},
		"settings without a mode":     {gatewayWith("v1", rendered, mtls+"min-tls: TLSv1.2"), "nothing says that: add mtls.sallyport.dev/mode"},
		"the agent's mark":            {gatewayWith("v1", rendered, annotated+", "+mtls+"owner: Gateway/a/b/c"), "are written by the agent only"},
		"a Gateway in a namespace that opts in": {
			strings.Replace(gatewayWith("v1", "mode: SIMPLE, credentialName: a", "a: b"), "namespace: backstop", "namespace: backstop-labelled", 1), "tls.mode: found ",
		},

		"an APIRule v2 on its managed Gateway":       {rule("v2", annotated, managed), ""},
		"an APIRule v2alpha1 on its managed Gateway": {rule("v2alpha1", annotated, managed), ""},
		"an APIRule v1beta1 on its managed Gateway":  {rule("v1beta1", annotated, "gateway: orders-mtls.backstop.svc.cluster.local"), ""},
		"an APIRule that asks for nothing":           {rule("v2", "", "gateway: kyma-system/kyma-gateway"), ""},
		"an APIRule without a Gateway":               {rule("v2", annotated, ""), "spec.gateway is not set"},
		"an APIRule v2alpha1 on the open Gateway":    {rule("v2alpha1", annotated, "gateway: kyma-system/kyma-gateway"), "which is open to everybody"},
		"an APIRule v1beta1 on the open Gateway":     {rule("v1beta1", annotated, "gateway: kyma-gateway.kyma-system.svc.cluster.local"), "which is open to everybody"},
		"an APIRule on an operator's Gateway":        {rule("v2", annotated, managed+"\n  externalGateway: a/b"), "spec.externalGateway"},
		"an APIRule whose headers are missing":       {rule("v2", headers, managed), "does not set request header X-Client-Cert-"},
		"a header of a version that has none":        {rule("v1beta1", headers, "gateway: orders-mtls.backstop"), "mtls.sallyport.dev/client-headers"},
		"a key that no APIRule has":                  {rule("v2", annotated+", "+mtls+"modes: x", managed), "unknown annotation mtls.sallyport.dev/modes on kind APIRule"},

		"a Secret of somebody":                             {"{apiVersion: v1, kind: Secret, metadata: {name: somebodys, namespace: istio-system}}", ""},
		"a Secret in the place of the agent's":             {"{apiVersion: v1, kind: Secret, metadata: {name: backstop.edge.mtls-cacert, namespace: istio-system}}", "belongs to the agent of Sallyport"},
		"a Secret of that name elsewhere":                  {"{apiVersion: v1, kind: Secret, metadata: {name: backstop.edge.mtls-cacert, namespace: backstop}}", ""},
		"a Secret with the agent's mark":                   {"{apiVersion: v1, kind: Secret, metadata: {name: marked, namespace: backstop, labels: {mtls.sallyport.dev/managed: \"true\"}}}", "belongs to the agent of Sallyport"},
		"a Secret that offers itself":                      {"{apiVersion: v1, kind: Secret, metadata: {name: offered, namespace: backstop, annotations: {mtls.sallyport.dev/use-as-ca: default}}}", ""},
		"a Secret that offers itself to another namespace": {"{apiVersion: v1, kind: Secret, metadata: {name: offered-away, namespace: backstop, annotations: {mtls.sallyport.dev/use-as-ca: shop/default}}}", "with the name of a CertificateAuthority of its namespace"},
		"a Secret that asks to be taken over":              {"{apiVersion: v1, kind: Secret, metadata: {name: adopted, namespace: backstop, annotations: {mtls.sallyport.dev/adopt: shop/edge}}}", "in the namespace of an ingress adopt"},
		"a ConfigMap, which is nobody's business of ours":  {"{apiVersion: v1, kind: ConfigMap, metadata: {name: mine, namespace: backstop}}", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			objects, err := localstack.ParseYAML([]byte(test.manifest))
			if err != nil {
				t.Fatal(err)
			}
			// Create, not apply: each case meets an empty place.
			err = shared.stack.Client().Create(t.Context(), objects[0])
			switch {
			case test.refused == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.refused != "" && (err == nil || !strings.Contains(err.Error(), test.refused)):
				t.Errorf("the API server answers %v, expected %q", err, test.refused)
			}
			if err == nil {
				if err := shared.stack.Client().Delete(t.Context(), objects[0]); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// An object that opted in cannot be opened by an update, and one that was stored
// before stays editable.
func TestBackstopOnUpdate(t *testing.T) {
	namespace(t, "backstop-update")
	manifest := strings.ReplaceAll(gatewayWith("v1", rendered), "backstop", "backstop-update")
	apply(t, manifest)
	withoutWebhook(t)
	edit := func(change func(object *unstructured.Unstructured)) error {
		object := &unstructured.Unstructured{}
		object.SetAPIVersion("networking.istio.io/v1beta1")
		object.SetKind("Gateway")
		if err := shared.stack.Client().Get(t.Context(), client.ObjectKey{Namespace: "backstop-update", Name: "edge"}, object); err != nil {
			t.Fatal(err)
		}
		change(object)
		return shared.stack.Client().Update(t.Context(), object)
	}
	simple := func(o *unstructured.Unstructured) {
		servers, _, _ := unstructured.NestedSlice(o.Object, "spec", "servers")
		servers[0].(map[string]any)["tls"] = map[string]any{"mode": "SIMPLE", "credentialName": "a"} //nolint:forcetypeassert // as it was applied
		if err := unstructured.SetNestedSlice(o.Object, servers, "spec", "servers"); err != nil {
			t.Fatal(err)
		}
	}
	without := func(o *unstructured.Unstructured) { o.SetAnnotations(nil) }
	steps := []struct {
		what    string
		change  func(*unstructured.Unstructured)
		refused string
	}{
		{"opening it", simple, "tls.mode: found "},
		{"opting out and opening it in one write", func(o *unstructured.Unstructured) { without(o); simple(o) }, "tls.mode: found "},
		{"a label of the team's", func(o *unstructured.Unstructured) { o.SetLabels(map[string]string{"team": "a"}) }, ""},
		{"opting out", without, ""},
		{"opening it after that", simple, ""},
	}
	for _, step := range steps {
		err := edit(step.change)
		if step.refused == "" && err != nil || step.refused != "" && (err == nil || !strings.Contains(err.Error(), step.refused)) {
			t.Errorf("%s: the API server answers %v, expected %q", step.what, err, step.refused)
		}
	}
}
