package refusal

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/localstack/kyma"
	"sallyport.dev/sallyport/internal/localstack/product"
)

// trustDomain is that of the install under test.
const trustDomain = "example.com"

// suite is what all tests share.
type suite struct {
	stack   *localstack.Stack
	product *product.Product
	// person writes objects and collects the warnings that come back.
	person   client.Client
	warnings *warnings
}

var shared suite

func TestMain(m *testing.M) {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, m)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, m *testing.M) int {
	klog.SetLogger(logr.Discard())
	log.SetLogger(logr.Discard())
	directory, err := os.MkdirTemp("", "sallyport-refusal-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := 1
	if err := shared.start(ctx, directory); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
		shared.product.Stop()
	}
	if shared.stack != nil {
		if err := shared.stack.Stop(context.WithoutCancel(ctx)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if code == 0 {
		_ = os.RemoveAll(directory)
	} else {
		fmt.Fprintln(os.Stderr, "logs are in", directory)
	}
	return code
}

// ingress is the Service in front of the gateways: two of its ports end up on one
// port of the pods.
const ingress = `
{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: kyma-system}}
---
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  ports:
  - {name: http, port: 80, targetPort: 8080}
  - {name: https, port: 443, targetPort: 8443}
  - {name: https-too, port: 8443, targetPort: 8443}
  - {name: https-other, port: 9443, targetPort: 9443}
`

func (s *suite) start(ctx context.Context, directory string) error {
	var err error
	if s.stack, err = localstack.Start(ctx, localstack.Options{ControlPlaneOnly: true, Directory: directory}); err != nil {
		return err
	}
	for _, manifest := range []string{kyma.CRD, gatewayAPI, ingress} {
		if err := s.stack.ApplyYAML(ctx, manifest); err != nil {
			return err
		}
	}
	s.product, err = product.Install(ctx, s.stack, product.Options{
		TrustDomain: trustDomain, WebhookReplicas: 2,
		AgentArgs: []string{"--leader-election-lease-duration=10s", "--leader-election-renew-deadline=8s", "--leader-election-retry-period=500ms"},
	})
	if err != nil {
		return err
	}
	s.warnings = &warnings{}
	config := rest.CopyConfig(s.stack.Config())
	config.QPS, config.WarningHandlerWithContext = -1, s.warnings
	s.person, err = client.New(config, client.Options{})
	return err
}

// namespace makes an empty place for one test.
func namespace(t *testing.T, name string, labels ...string) {
	t.Helper()
	manifest := fmt.Sprintf("{apiVersion: v1, kind: Namespace, metadata: {name: %s, labels: {%s}}}", name, strings.Join(labels, ","))
	if err := shared.stack.ApplyYAML(t.Context(), manifest); err != nil {
		t.Fatal(err)
	}
}

// withoutWebhook kills every replica of the webhook for the rest of the test.
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

func parse(t *testing.T, manifest string) *unstructured.Unstructured {
	t.Helper()
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &object.Object); err != nil {
		t.Fatalf("%s: %v", manifest, err)
	}
	return object
}

// create stores an object for the rest of the test.
func create(t *testing.T, manifest string) *unstructured.Unstructured {
	t.Helper()
	object := parse(t, manifest)
	if err := shared.person.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The test's own context has ended by now.
		if err := client.IgnoreNotFound(shared.person.Delete(context.WithoutCancel(t.Context()), object)); err != nil {
			t.Error(err)
		}
	})
	return object
}
