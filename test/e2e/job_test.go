package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"sallyport.dev/sallyport/internal/localstack/edge"
)

// gatewayYAML is a Gateway that says nothing of TLS but the annotation.
func gatewayYAML(version, namespace, name, host string, annotations ...string) string {
	annotations = append([]string{"mtls.sallyport.dev/mode: mutual"}, annotations...)
	return fmt.Sprintf(`
apiVersion: networking.istio.io/%s
kind: Gateway
metadata: {name: %s, namespace: %s, annotations: {%s}}
spec:
  selector: {app: istio-ingressgateway, istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: ["%s"]
`, version, name, namespace, strings.Join(annotations, ", "), host)
}

// routeYAML leads a host of a Gateway to the namespace's workload.
func routeYAML(namespace, gateway, host string) string {
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  hosts: ["%[3]s"]
  gateways: [%[1]s/%[2]s]
  http: [{route: [{destination: {host: httpbin.%[1]s.svc.cluster.local, port: {number: 80}}}]}]
`, namespace, gateway, host)
}

// serve makes a mutual Gateway with one host, leads it to the namespace's workload, and waits until it is
// ready.
func serve(t *testing.T, namespace, gateway, host string, annotations ...string) {
	t.Helper()
	apply(t, gatewayYAML("v1", namespace, gateway, host, annotations...)+"---"+routeYAML(namespace, gateway, host))
	ready(t, "MutualTLSEndpoint", namespace, "gateway-"+gateway)
}

// ruleYAML is an APIRule of any version; extra goes into spec and annotations into
// the metadata.
func ruleYAML(version, namespace, name, host, annotations, extra string) string {
	hosts := fmt.Sprintf("hosts: [%q]", host)
	rules := `[{path: "/*", methods: [GET], noAuth: true}]`
	if version == "v1beta1" {
		hosts = fmt.Sprintf("host: %q", host)
		rules = `[{path: "/.*", methods: [GET], accessStrategies: [{handler: allow}], mutators: []}]`
	}
	return fmt.Sprintf(`
apiVersion: gateway.kyma-project.io/%s
kind: APIRule
metadata: {name: %s, namespace: %s, annotations: {%s}}
spec:
  %s
  %s
  service: {name: httpbin, port: 80}
  rules: %s
`, version, name, namespace, annotations, hosts, extra, rules)
}

const annotated = "mtls.sallyport.dev/mode: mutual"

// The tutorial by one annotation, as its pages have it: a Gateway of v1alpha3 with
// a wildcard host and no tls block, and an APIRule of v1beta1 that names it in the
// long form.
func TestTutorial(t *testing.T) {
	const ns = "tutorial"
	namespace(t, ns)
	apply(t, gatewayYAML("v1alpha3", ns, "kyma-mtls-gateway", "*.mtls.example.com"))
	apply(t, ruleYAML("v1beta1", ns, "httpbin-mtls", "httpbin.mtls.example.com", annotated, "gateway: kyma-mtls-gateway.tutorial.svc.cluster.local"))
	friend := certificateFor(t, ns, "billing", "default")
	ready(t, "MutualTLSEndpoint", ns, "gateway-kyma-mtls-gateway")
	ready(t, "MutualTLSEndpoint", ns, "apirule-httpbin-mtls")
	ready(t, "CertificateAuthority", ns, "default")
	checkThreeAnswers(t, friend, "httpbin.mtls.example.com")
}

func TestGatewayOfEachVersion(t *testing.T) {
	for _, version := range []string{"v1", "v1beta1", "v1alpha3"} {
		t.Run(version, func(t *testing.T) {
			ns, host := "gateway-"+version, version+".gateways.example.com"
			namespace(t, ns)
			apply(t, gatewayYAML(version, ns, "edge", host))
			apply(t, routeYAML(ns, "edge", host))
			ready(t, "MutualTLSEndpoint", ns, "gateway-edge")
			checkThreeAnswers(t, byRequest(t, ns, "caller", "default"), host)
		})
	}
}

func TestAPIRuleOfEachVersionWithNothingButTheAnnotation(t *testing.T) {
	for _, version := range []string{"v2", "v2alpha1"} {
		t.Run(version, func(t *testing.T) {
			ns, host := "apirule-"+version, version+".rules.example.com"
			namespace(t, ns)
			apply(t, ruleYAML(version, ns, "orders", host, annotated, ""))
			ready(t, "MutualTLSEndpoint", ns, "apirule-orders")
			checkThreeAnswers(t, byRequest(t, ns, "caller", "default"), host)
			if gateway, _, _ := unstructured.NestedString(stored(t, "gateway.kyma-project.io/v2", "APIRule", ns, "orders"), "spec", "gateway"); gateway != ns+"/orders-mtls" {
				t.Errorf("spec.gateway is %q", gateway)
			}
		})
	}
}

// A v1beta1 APIRule on Kyma's default Gateway is moved to a managed one.
func TestAPIRuleV1beta1LeavesTheDefaultGateway(t *testing.T) {
	const ns, host = "apirule-v1beta1", "v1beta1.rules.example.com"
	namespace(t, ns)
	apply(t, ruleYAML("v1beta1", ns, "orders", host, annotated, "gateway: kyma-gateway.kyma-system.svc.cluster.local"))
	ready(t, "MutualTLSEndpoint", ns, "apirule-orders")
	checkThreeAnswers(t, byRequest(t, ns, "caller", "default"), host)
}

func TestGatewayAndAPIRuleInDifferentNamespaces(t *testing.T) {
	const host = "far.example.com"
	namespace(t, "edges")
	namespace(t, "teams")
	apply(t, gatewayYAML("v1", "edges", "edge", "*.example.com"))
	ready(t, "MutualTLSEndpoint", "edges", "gateway-edge")
	apply(t, ruleYAML("v2", "teams", "far", host, annotated, "gateway: edges/edge"))
	ready(t, "MutualTLSEndpoint", "teams", "apirule-far")
	checkThreeAnswers(t, byRequest(t, "edges", "caller", "default"), host)
}

func TestNamespaceThatOptsIn(t *testing.T) {
	const ns, host = "labelled", "labelled.example.org"
	namespace(t, ns, "mtls.sallyport.dev/default-mode: mutual")
	eventuallyStamped(t, ns, host)
	apply(t, routeYAML(ns, "edge", host))
	ready(t, "MutualTLSEndpoint", ns, "gateway-edge")
	apply(t, ruleYAML("v2", ns, "orders", "rules."+host, "", ""))
	ready(t, "MutualTLSEndpoint", ns, "apirule-orders")
	friend := byRequest(t, ns, "caller", "default")
	checkThreeAnswers(t, friend, host)
	checkThreeAnswers(t, friend, "rules."+host)
}

// eventuallyStamped applies a Gateway without any annotation, and finds the one that
// the label asks for.
func eventuallyStamped(t *testing.T, ns, host string) {
	t.Helper()
	apply(t, strings.Replace(gatewayYAML("v1", ns, "edge", host), ", annotations: {"+annotated+"}", "", 1))
	mode, _, _ := unstructured.NestedString(stored(t, "networking.istio.io/v1", "Gateway", ns, "edge"), "metadata", "annotations", "mtls.sallyport.dev/mode")
	if mode != "mutual" {
		t.Fatalf("the annotation is %q", mode)
	}
}

// byRequest is a caller whose key never enters the cluster.
func byRequest(t *testing.T, ns, name, authority string) edge.Caller {
	t.Helper()
	key, request := newRequest(t)
	apply(t, fmt.Sprintf(`
apiVersion: mtls.sallyport.dev/v1alpha1
kind: ClientCertificate
metadata: {name: %s, namespace: %s}
spec:
  authorityRef: {name: %s}
  csr: |
    %s
`, name, ns, authority, strings.ReplaceAll(strings.TrimSpace(request), "\n", "\n    ")))
	object := ready(t, "ClientCertificate", ns, name)
	issued, _, _ := unstructured.NestedString(object.Object, "status", "certificate")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(publishedTrust(t, ns, authority))
	pair, err := tls.X509KeyPair([]byte(issued), keyPEM(t, key))
	if err != nil {
		t.Fatal(err)
	}
	if names := pair.Leaf.DNSNames; len(names) != 0 {
		t.Errorf("the certificate carries %q, which the request asked for", names)
	}
	if want := fmt.Sprintf("spiffe://%s/ns/%s/client/%s", trustDomain, ns, name); len(pair.Leaf.URIs) != 1 || pair.Leaf.URIs[0].String() != want {
		t.Errorf("the identity is %v, expected %s", pair.Leaf.URIs, want)
	}
	return edge.Caller{Certificates: []tls.Certificate{pair}, Roots: roots}
}
