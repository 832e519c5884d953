package evaluator_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/localstack/install"
	"sallyport.dev/sallyport/internal/localstack/kyma"
	"sallyport.dev/sallyport/test/evaluator"
)

// namespaces are those that sequences are played in.
const namespaces = `
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: asking, labels: {mtls.sallyport.dev/default-mode: mutual}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: awaiting}}
`

// installed answers with what the chart installs, beside Istio's and Kyma's kinds, anew for each caller.
var installed func() (evaluator.Objects, error)

func TestMain(m *testing.M) {
	flag.Parse()
	// Everything is garbage soon, and there is little of it at a time.
	debug.SetGCPercent(400)
	log.SetLogger(logr.Discard())
	klog.LogToStderr(false) // errors go there all the same
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, m)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, m *testing.M) int {
	manifest, err := render(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	installed = func() (evaluator.Objects, error) {
		parsed, err := localstack.ParseYAML(manifest)
		if err != nil {
			return evaluator.Objects{}, err
		}
		return evaluator.Read(parsed)
	}
	return m.Run()
}

func render(ctx context.Context) ([]byte, error) {
	binaries, err := localstack.Build(ctx, os.Stderr)
	if err != nil {
		return nil, err
	}
	istio, err := os.ReadFile(binaries.IstioCRDs)
	if err != nil {
		return nil, err
	}
	root, err := localstack.Root()
	if err != nil {
		return nil, err
	}
	values := map[string]any{"trustDomain": "example.com", "clientSecretNamespaces": []any{"shop"}}
	chart, err := install.Manifest(ctx, filepath.Join(root, "charts", "sallyport"), values, "sallyport-system")
	if err != nil {
		return nil, err
	}
	manifest := namespaces
	for _, part := range []string{kyma.CRD, string(istio), string(chart)} {
		manifest += "\n---\n" + part
	}
	return []byte(manifest), nil
}
