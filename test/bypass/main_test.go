package bypass

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/localstack/product"
	"sallyport.dev/sallyport/internal/testenv"
)

const (
	// trustDomain is that of the install under test.
	trustDomain = "example.com"
	// ingress is the namespace of the gateways.
	ingress = "istio-system"
	// patience is how long anything may take that is waited for.
	patience = 60 * time.Second
)

var (
	stack     *localstack.Stack
	installed *product.Product
)

// namespaces have a workload each; in the first two callers are issued certificates.
var namespaces = []string{"bank", "shop", "open", "plain", "bad", "older"}

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(product.Main(m, start))
}

func start(ctx context.Context) (_ *localstack.Stack, _ *product.Product, err error) {
	if stack, err = localstack.Start(ctx, localstack.Options{Progress: os.Stderr}); err != nil {
		return stack, nil, err
	}
	for _, ns := range namespaces {
		if err = stack.ApplyYAML(ctx, "{apiVersion: v1, kind: Namespace, metadata: {name: "+ns+"}}"); err != nil {
			return stack, nil, err
		}
		if err = stack.Httpbin(ctx, ns, "httpbin", 80); err != nil {
			return stack, nil, err
		}
	}
	if err = stack.ApplyYAML(ctx, trustedProxyYAML); err != nil {
		return stack, nil, err
	}
	installed, err = product.Install(ctx, stack, product.Options{TrustDomain: trustDomain, ClientSecretNamespaces: namespaces[:2], Progress: os.Stderr})
	return stack, installed, err
}

// trustedProxyYAML makes the gateways believe what one proxy before them says of the
// request, as Istio's numTrustedProxies does: what a caller forges counts.
const trustedProxyYAML = `
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: trusted-proxy, namespace: istio-system}
spec:
  workloadSelector: {labels: {istio: ingressgateway}}
  configPatches:
  - applyTo: NETWORK_FILTER
    match: {context: GATEWAY, listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}}
    patch:
      operation: MERGE
      value: {typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, xff_num_trusted_hops: 1}}
`

func eventually(t *testing.T, what string, ask func(ctx context.Context) error) {
	t.Helper()
	testenv.Eventually(t, patience, what, ask)
}

func apply(t *testing.T, manifest string) {
	t.Helper()
	if err := stack.ApplyYAML(t.Context(), manifest); err != nil {
		t.Fatal(err)
	}
}

func parse(t *testing.T, manifest string) []*unstructured.Unstructured {
	t.Helper()
	objects, err := localstack.ParseYAML([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// ready waits until an object of ours is Ready.
func ready(t *testing.T, kind, ns, name string) {
	t.Helper()
	object := &unstructured.Unstructured{}
	object.SetAPIVersion("mtls.sallyport.dev/v1alpha1")
	object.SetKind(kind)
	eventually(t, fmt.Sprintf("%s %s/%s is Ready", kind, ns, name), func(ctx context.Context) error {
		if err := stack.Client().Get(ctx, client.ObjectKey{Namespace: ns, Name: name}, object); err != nil {
			return err
		}
		conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
		for _, c := range conditions {
			if condition, _ := c.(map[string]any); condition["type"] == "Ready" && condition["status"] == "True" {
				return nil
			}
		}
		return fmt.Errorf("conditions %v", conditions)
	})
}

// routeYAML leads a host of some Gateways to the namespace's workload. The answer says
// by which route the workload was reached.
func routeYAML(ns, name, host string, gateways ...string) string {
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  hosts: ["%[3]s"]
  gateways: [%[4]s]
  http:
  - route: [{destination: {host: httpbin.%[1]s.svc.cluster.local, port: {number: 80}}}]
    headers: {response: {set: {%[5]s: %[2]s}}}
---`, ns, name, host, strings.Join(gateways, ", "), reachedHeader)
}
