// Package backstop specifies what the API server itself refuses once the chart is
// installed, with neither webhook nor agent running: every case is one write by a
// named identity and the answer to it; and generated sequences of writes against a reference in
// Go, with and without MutualTLSPolicies about them: some hundreds, or as many as
// SALLYPORT_SEQUENCES says (and, for several runs, which: 20001-40000).
package backstop

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/localstack/install"
	"sallyport.dev/sallyport/internal/localstack/kyma"
)

const (
	system      = "sallyport-system"
	agentUser   = "system:serviceaccount:" + system + ":sallyport-agent"
	webhookUser = "system:serviceaccount:" + system + ":sallyport-webhook"
)

// values are those every test installs the chart with.
func values() map[string]any {
	return map[string]any{"trustDomain": "example.com", "clientSecretNamespaces": []any{"shop"}}
}

func chart() string { return filepath.Join("..", "..", "charts", "sallyport") }

// The clients of all tests: the administrator, and agent and webhook by impersonation,
// so that their RBAC is the chart's.
var admin, agent, webhook client.Client

// server is how the administrator reaches the API server.
var server *rest.Config

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, m)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, m *testing.M) int {
	stack, err := localstack.Start(ctx, localstack.Options{ControlPlaneOnly: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := 1
	if err := prepare(ctx, stack); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	if err := stack.Stop(context.WithoutCancel(ctx)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

func prepare(ctx context.Context, stack *localstack.Stack) error {
	const namespaces = `
{apiVersion: v1, kind: Namespace, metadata: {name: sallyport-system}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: asking, labels: {mtls.sallyport.dev/default-mode: mutual}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: misspelt, labels: {mtls.sallyport.dev/default-mode: Mutual}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: kyma-system}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: awaiting}}
`
	if err := stack.ApplyYAML(ctx, namespaces); err != nil {
		return err
	}
	if err := stack.ApplyYAML(ctx, kyma.CRD); err != nil {
		return err
	}
	objects, err := install.Render(ctx, chart(), values(), system)
	if err != nil {
		return err
	}
	if err := stack.Apply(ctx, objects...); err != nil {
		return err
	}
	server = stack.Config()
	if admin, err = as(stack.Config(), ""); err != nil {
		return err
	}
	if agent, err = as(stack.Config(), agentUser); err != nil {
		return err
	}
	if webhook, err = as(stack.Config(), webhookUser); err != nil {
		return err
	}
	return inForce(ctx)
}

// as is a client of a user; the administrator's if none is named.
func as(config *rest.Config, user string) (client.Client, error) {
	config.Impersonate.UserName = user
	config.QPS = -1
	return client.New(config, client.Options{})
}

// inForce waits until the API server applies every policy: it compiles them in the
// background.
func inForce(ctx context.Context) error {
	probes := []string{
		gatewayIn("shop", "waiting", `mtls.sallyport.dev/mode: mutual`, "mode: SIMPLE"),
		gatewayIn("shop", "waiting", `mtls.sallyport.dev/mode: Mutual`, "mode: SIMPLE"),
		ruleIn("v2", "shop", "waiting", `mtls.sallyport.dev/mode: mutual`, ""),
		ruleIn("v2", "shop", "waiting", `mtls.sallyport.dev/mode: Mutual`, ""),
		`{apiVersion: v1, kind: Secret, metadata: {name: waiting.mtls, namespace: istio-system}}`,
		`{apiVersion: v1, kind: Secret, metadata: {name: waiting, namespace: shop, annotations: {mtls.sallyport.dev/nothing: a}}}`,
		`{apiVersion: v1, kind: Namespace, metadata: {name: waiting, labels: {mtls.sallyport.dev/default-mode: Mutual}}}`,
	}
	for _, manifest := range probes {
		var last error
		err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
			last = admin.Create(ctx, parse(manifest), client.DryRunAll)
			return last != nil, nil
		})
		if err != nil {
			return fmt.Errorf("waiting for the policies: %w: this is still accepted: %s", err, manifest)
		}
	}
	return nil
}

func parse(manifest string) *unstructured.Unstructured {
	objects, err := localstack.ParseYAML([]byte(manifest))
	if err != nil || len(objects) != 1 {
		panic(fmt.Sprintf("%d objects in %s: %v", len(objects), manifest, err))
	}
	return objects[0]
}
