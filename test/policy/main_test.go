package policy

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/localstack/kyma"
	"sallyport.dev/sallyport/internal/localstack/product"
)

var (
	stack     *localstack.Stack
	installed *product.Product
	// person writes, and said is what the API server warned him of.
	person client.Client
	said   = &warnings{}
)

// patience is how long anything may take that is waited for.
const patience = time.Minute

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(product.Main(m, start))
}

// ingress is what Gateways belong to: hosts are in conflict only there.
const ingress = `
{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: kyma-system}}
---
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec: {selector: {istio: ingressgateway}, ports: [{name: https, port: 443, targetPort: 8443}, {name: http, port: 80, targetPort: 8080}]}
`

func start(ctx context.Context) (_ *localstack.Stack, _ *product.Product, err error) {
	if stack, err = localstack.Start(ctx, localstack.Options{ControlPlaneOnly: true}); err != nil {
		return stack, nil, err
	}
	for _, manifest := range []string{kyma.CRD, ingress} {
		if err = stack.ApplyYAML(ctx, manifest); err != nil {
			return stack, nil, err
		}
	}
	if installed, err = product.Install(ctx, stack, product.Options{
		TrustDomain: "example.com", WebhookReplicas: 2,
		AgentArgs: []string{"--probe-period=0s", "--leader-election-lease-duration=10s", "--leader-election-renew-deadline=8s", "--leader-election-retry-period=500ms"},
	}); err != nil {
		return stack, installed, err
	}
	config := rest.CopyConfig(stack.Config())
	config.QPS, config.WarningHandlerWithContext = -1, said
	person, err = client.New(config, client.Options{})
	return stack, installed, err
}

// warnings are what the API server said.
type warnings struct {
	mu   sync.Mutex
	said []string
}

// HandleWarningHeaderWithContext takes one.
func (w *warnings) HandleWarningHeaderWithContext(_ context.Context, _ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, text)
}

// take is what was said since the last call.
func (w *warnings) take() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := strings.Join(w.said, "\n")
	w.said = nil
	return all
}

func apply(t *testing.T, manifest string) {
	t.Helper()
	if err := stack.ApplyYAML(t.Context(), manifest); err != nil {
		t.Fatal(err)
	}
}

func parse(t *testing.T, manifest string) *unstructured.Unstructured {
	t.Helper()
	objects, err := localstack.ParseYAML([]byte(manifest))
	if err != nil || len(objects) != 1 {
		t.Fatalf("%d objects in %s: %v", len(objects), manifest, err)
	}
	return objects[0]
}

// removed takes objects away at the end of a test.
func removed(t *testing.T, objects ...client.Object) {
	t.Helper()
	t.Cleanup(func() {
		for _, o := range slices.Backward(objects) {
			// The test's own context has ended by now.
			if err := client.IgnoreNotFound(stack.Client().Delete(context.WithoutCancel(t.Context()), o)); err != nil {
				t.Error(err)
			}
		}
	})
}

// demand makes a MutualTLSPolicy for the rest of a test.
func demand(t *testing.T, name, spec string) {
	t.Helper()
	o := parse(t, fmt.Sprintf("{apiVersion: mtls.sallyport.dev/v1alpha1, kind: MutualTLSPolicy, metadata: {name: %s}, spec: %s}", name, spec))
	if err := stack.Client().Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	removed(t, o)
}

// stored is the object as it is stored.
func stored(ctx context.Context, like *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(like.GroupVersionKind())
	return o, stack.Client().Get(ctx, client.ObjectKeyFromObject(like), o)
}

// policyNamed is the status of a MutualTLSPolicy.
func policyNamed(ctx context.Context, name string) (map[string]any, error) {
	o, err := stored(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "mtls.sallyport.dev/v1alpha1", "kind": "MutualTLSPolicy", "metadata": map[string]any{"name": name},
	}})
	if err != nil {
		return nil, err
	}
	status, _ := o.Object["status"].(map[string]any)
	return status, nil
}
