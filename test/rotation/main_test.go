package rotation

import (
	"context"
	"flag"
	"os"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/localstack/product"
)

var (
	stack     *localstack.Stack
	installed *product.Product
)

// namespaces have each an authority with Gateways and callers.
var namespaces = []string{"bank", "frozen", "ungated", "swapped", "next", "before", "only", "silent", "apart", "zero", "away"}

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(product.Main(m, start))
}

func start(ctx context.Context) (_ *localstack.Stack, _ *product.Product, err error) {
	if stack, err = localstack.Start(ctx, localstack.Options{Replicas: 2, Progress: os.Stderr}); err != nil {
		return stack, nil, err
	}
	for _, ns := range namespaces {
		if err = stack.ApplyYAML(ctx, "{apiVersion: v1, kind: Namespace, metadata: {name: "+ns+"}}"); err != nil {
			return stack, nil, err
		}
	}
	if err = stack.Httpbin(ctx, "bank", "httpbin", 80); err != nil {
		return stack, nil, err
	}
	installed, err = product.Install(ctx, stack, product.Options{
		TrustDomain: "example.com", Progress: os.Stderr, ClientSecretNamespaces: namespaces,
		AgentArgs: []string{"--probe-period=1s", "--leader-election-lease-duration=10s", "--leader-election-renew-deadline=8s", "--leader-election-retry-period=500ms"},
	})
	return stack, installed, err
}

// patience is how long anything may take that is waited for.
const patience = 60 * time.Second
