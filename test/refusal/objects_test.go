package refusal

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
)

const mtls = "mtls.sallyport.dev/"

// mutual is the annotation of most rows.
const mutual = mtls + "mode: mutual"

// The versions in which each kind is served.
var (
	gatewayVersions = []string{"v1", "v1beta1", "v1alpha3"}
	ruleVersions    = []string{"v2", "v2alpha1"}
)

// The parts of a manifest that differ by where a row is tried; HOST is a name that
// nobody else has.
const (
	inNamespace = "NAMESPACE"
	ofVersion   = "VERSION"
)

// fill puts a manifest into a namespace, in one version of its kind.
func fill(manifest, version, namespace string) string {
	return strings.NewReplacer(inNamespace, namespace, ofVersion, version).Replace(manifest)
}

// gateway is an Istio Gateway with these servers.
func gateway(annotations string, servers ...string) string {
	return gatewayNamed("edge", "annotations: {"+annotations+"}", servers...)
}

func gatewayNamed(name, metadata string, servers ...string) string {
	return fmt.Sprintf(`
apiVersion: networking.istio.io/VERSION
kind: Gateway
metadata: {name: %s, namespace: NAMESPACE, %s}
spec:
  selector: {istio: ingressgateway}
  servers: [%s]
`, name, metadata, strings.Join(servers, ", "))
}

// server is an HTTPS server of the host, with this tls block.
func server(tls string) string { return serverOn(443, "HTTPS", "NAMESPACE.example.com", tls) }

// beside is another one for the same Gateway.
func beside(tls string) string { return serverOn(9443, "HTTPS", "beside.NAMESPACE.example.com", tls) }

// hosting is an HTTPS server of other hosts; none of its settings are written.
func hosting(host string) string { return serverOn(443, "HTTPS", fmt.Sprintf("%q", host), "") }

func serverOn(port int, protocol, host, tls string) string {
	if tls != "" {
		tls = ", tls: {" + tls + "}"
	}
	return fmt.Sprintf("{port: {number: %d, name: port-%d, protocol: %s}, hosts: [%s]%s}", port, port, protocol, host, tls)
}

// rule is an APIRule of the v2 family; more goes into its spec.
func rule(annotations, more string) string {
	return ruleNamed("orders", annotations, "orders.NAMESPACE.example.com", more, "{path: /, methods: [GET], noAuth: true}")
}

func ruleNamed(name, annotations, host, more, rules string) string {
	return fmt.Sprintf(`
apiVersion: gateway.kyma-project.io/VERSION
kind: APIRule
metadata: {name: %s, namespace: NAMESPACE, annotations: {%s}}
spec:
  hosts: [%s]
  service: {name: orders, port: 8080}
  rules: [%s]
  %s
`, name, annotations, host, rules, more)
}

// oldRule is an APIRule v1beta1.
func oldRule(annotations, host, more string) string {
	return fmt.Sprintf(`
apiVersion: gateway.kyma-project.io/VERSION
kind: APIRule
metadata: {name: orders, namespace: NAMESPACE, annotations: {%s}}
spec:
  host: %s
  service: {name: orders, port: 8080}
  rules: [{path: /, methods: [GET], accessStrategies: [{handler: no_auth}]}]
  %s
`, annotations, host, more)
}

// warnings are what the API server says beside its answer.
type warnings struct {
	mu   sync.Mutex
	said []string
}

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
func (w *warnings) HandleWarningHeaderWithContext(_ context.Context, _ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, text)
}

// taken are the warnings since the last call.
func (w *warnings) taken() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	said := w.said
	w.said = nil
	return said
}

// gatewayAPI is as much of the Gateway API's definitions as an API server needs to
// take its objects.
const gatewayAPI = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: gateways.gateway.networking.k8s.io
  annotations: {api-approved.kubernetes.io: "https://github.com/kubernetes-sigs/gateway-api/pull/2466"}
spec:
  group: gateway.networking.k8s.io
  names: {kind: Gateway, listKind: GatewayList, plural: gateways, singular: gateway}
  scope: Namespaced
  versions:
  - {name: v1, served: true, storage: true, schema: &anything {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
  - {name: v1beta1, served: true, storage: false, schema: *anything}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: httproutes.gateway.networking.k8s.io
  annotations: {api-approved.kubernetes.io: "https://github.com/kubernetes-sigs/gateway-api/pull/2466"}
spec:
  group: gateway.networking.k8s.io
  names: {kind: HTTPRoute, listKind: HTTPRouteList, plural: httproutes, singular: httproute}
  scope: Namespaced
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`

func encoded(t *testing.T, value any) []byte {
	t.Helper()
	body, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return body
}
