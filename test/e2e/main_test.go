// Package e2e shows the whole product on real servers: what the chart renders, with
// webhook and agent under the tokens of their ServiceAccounts, istiod and two Envoy
// gateways. All tests share one stack; each works in a namespace of its own.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/localstack/kyma"
	"sallyport.dev/sallyport/internal/localstack/product"
)

// trustDomain is that of the install under test.
const trustDomain = "example.com"

// clientNamespaces are where the agent may write callers' Secrets.
var clientNamespaces = []string{"tutorial", "callers", "keystores", "brought", "below", "counted"}

// countWindow is how long nobody may have come without a certificate; a day by default.
const countWindow = 6 * time.Second

// suite is what all tests share.
type suite struct {
	stack   *localstack.Stack
	product *product.Product
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
	log.SetLogger(logr.Discard()) // the stand-in for Kyma retries loudly
	directory, err := os.MkdirTemp("", "sallyport-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	begun := time.Now()
	if err := shared.start(ctx, directory); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Printf("stack and product ready after %s\n", time.Since(begun).Round(100*time.Millisecond))
	stored, err := watchKeys(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := checkHygiene(ctx, stored, directory); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := checkRights(ctx); code == 0 && whole() && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	shared.product.Stop()
	if err := shared.stack.Stop(context.WithoutCancel(ctx)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if code == 0 {
		_ = os.RemoveAll(directory)
	} else {
		fmt.Fprintln(os.Stderr, "logs are in", directory)
	}
	return code
}

// whole reports whether all tests ran: some of them use rights that no other does.
func whole() bool {
	only := flag.Lookup("test.run")
	return only == nil || only.Value.String() == ""
}

func (s *suite) start(ctx context.Context, directory string) error {
	var err error
	if s.stack, err = localstack.Start(ctx, localstack.Options{
		Replicas: 2, Progress: os.Stderr, Directory: directory,
		GatewayAnnotations: map[string]string{"sidecar.istio.io/statsInclusionRegexps": `listener\..*\.ssl\.(handshake|no_certificate)`},
	}); err != nil {
		return err
	}
	if err := s.stack.ApplyYAML(ctx, kyma.CRD); err != nil {
		return err
	}
	if err := s.stack.ApplyYAML(ctx, scraperYAML); err != nil {
		return err
	}
	for _, namespace := range clientNamespaces {
		if err := s.stack.ApplyYAML(ctx, "{apiVersion: v1, kind: Namespace, metadata: {name: "+namespace+"}}"); err != nil {
			return err
		}
	}
	go func() {
		if err := kyma.Run(ctx, s.stack.Config()); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	s.product, err = product.Install(ctx, s.stack, product.Options{
		TrustDomain: trustDomain, ClientSecretNamespaces: clientNamespaces, Progress: os.Stderr,
		Values: map[string]any{
			"prometheus": map[string]any{"authentication": true},
			"agent": map[string]any{"caDirectories": []any{
				map[string]any{"name": "corporate", "volume": map[string]any{"secret": map[string]any{"secretName": "mounted-ca", "optional": true}}},
			}},
		},
		// A killed agent's lease is waited for; and one that loses it on a busy machine is
		// not started again here, as a kubelet would.
		AgentArgs: []string{
			"--leader-election-lease-duration=10s", "--leader-election-renew-deadline=8s", "--leader-election-retry-period=500ms",
			"--count-period=1s", "--count-window=" + countWindow.String(),
		},
	})
	return err
}
