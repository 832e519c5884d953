// Package serving shows that the webhook's own certificate and CA may rotate at any
// pace under load, and that a caBundle that somebody takes out comes back.
//
// SALLYPORT_SERVING=10m makes the rotation last that long instead of half a minute.
package serving

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"

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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, m)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, m *testing.M) int {
	klog.SetLogger(logr.Discard())
	log.SetLogger(logr.Discard())
	code, err := 1, func() (err error) {
		if stack, err = localstack.Start(ctx, localstack.Options{ControlPlaneOnly: true}); err != nil {
			return err
		}
		if err := stack.ApplyYAML(ctx, "{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}"); err != nil {
			return err
		}
		installed, err = product.Install(ctx, stack, product.Options{WebhookReplicas: 2, AgentArgs: lifetimes})
		return err
	}()
	if err == nil {
		code = m.Run()
	}
	if installed != nil {
		installed.Stop()
	}
	if stack != nil {
		if stopErr := stack.Stop(context.WithoutCancel(ctx)); err == nil && stopErr != nil {
			err, code = stopErr, 1
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return code
}
