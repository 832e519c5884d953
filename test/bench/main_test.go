// Package bench measures what only whole processes show: time, requests and processor
// time of the agent on a real API server, and what handshakes cost, each beside its floor
// or another program in the same run. Without -bench nothing is started. docs/performance.md tells the figures and how to get them.
package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/localstack/product"
)

// What all benchmarks share: an API server, the product, and a client without limits.
var (
	stack     *localstack.Stack
	installed *product.Product
	person    client.Client
)

// begin starts it, once, where a benchmark asks for it.
var begin func() error

func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		os.Exit(runChild(role))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	begin = sync.OnceValue(func() error { return start(ctx) })
	klog.SetLogger(logr.Discard())
	log.SetLogger(logr.Discard())
	code := m.Run()
	if installed != nil {
		installed.Stop()
	}
	if stack != nil {
		if err := stack.Stop(context.WithoutCancel(ctx)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	stop()
	os.Exit(code)
}

// cluster starts what the benchmarks with an API server share, if nobody did before.
func cluster(b *testing.B) {
	b.Helper()
	if err := begin(); err != nil {
		b.Fatal(err)
	}
}

func start(ctx context.Context) error {
	var err error
	if stack, err = localstack.Start(ctx, localstack.Options{ControlPlaneOnly: true}); err != nil {
		return err
	}
	for _, namespace := range []string{"istio-system", fleet} {
		if err := stack.ApplyYAML(ctx, "{apiVersion: v1, kind: Namespace, metadata: {name: "+namespace+"}}"); err != nil {
			return err
		}
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	config := rest.CopyConfig(stack.Config())
	config.QPS = -1
	if person, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	installed, err = product.Install(ctx, stack, product.Options{TrustDomain: "example.com", ClientSecretNamespaces: []string{fleet}})
	return err
}
