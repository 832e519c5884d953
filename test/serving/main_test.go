// Package serving shows that the webhook's own certificate and CA may rotate at any
// pace under load, and that a caBundle that somebody takes out comes back.
//
// SALLYPORT_SERVING=10m makes the rotation last that long instead of half a minute.
package serving

import (
	"context"
	"flag"
	"os"
	"testing"

	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/localstack/product"
)

// What all tests share: an API server, and the product with two replicas of the
// webhook, whose certificates live for seconds.
var (
	stack     *localstack.Stack
	installed *product.Product
)

// lifetimes make a certificate of six seconds due after two, and a CA after twelve.
var lifetimes = []string{
	"--webhook-ca-lifetime=24s", "--webhook-certificate-lifetime=6s",
	"--webhook-certificate-renew-before=66", "--webhook-ca-overlap=" + overlap.String(),
}

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(product.Main(m, start))
}

func start(ctx context.Context) (_ *localstack.Stack, _ *product.Product, err error) {
	if stack, err = localstack.Start(ctx, localstack.Options{ControlPlaneOnly: true}); err != nil {
		return stack, nil, err
	}
	if err = stack.ApplyYAML(ctx, "{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}"); err != nil {
		return stack, nil, err
	}
	installed, err = product.Install(ctx, stack, product.Options{WebhookReplicas: 2, AgentArgs: lifetimes})
	return stack, installed, err
}
