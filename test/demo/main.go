// Command demo does the whole tutorial by one annotation on real servers: it starts
// etcd, kube-apiserver, istiod, a gateway and a workload on loopback, installs what
// the chart renders, annotates a Gateway and an APIRule, and calls them with no
// certificate, a foreign one and the issued one. It fails unless the first two are
// refused and the third is answered.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/localstack/kyma"
	"sallyport.dev/sallyport/internal/localstack/product"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	keep := flags.Bool("keep", false, "leave everything running and say how to use and stop it")
	kept := flags.String("kept", "", "run as the process that is left behind, in this `directory`")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	klog.SetLogger(logr.Discard())
	log.SetLogger(logr.Discard()) // what goes wrong is told by the answers
	var err error
	switch {
	case *keep:
		err = leaveBehind(ctx, stdout)
	default:
		err = show(ctx, stdout, *kept)
		if *kept != "" && err == nil {
			err = os.RemoveAll(*kept) // with the caller's key
		}
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "demo: %v\n", err)
		return 1
	}
	return 0
}

// show runs the whole story. In a directory it stays until it is told to end.
func show(ctx context.Context, out io.Writer, directory string) (err error) {
	binaries, err := localstack.Build(ctx, out)
	if err != nil {
		return err
	}
	if _, err := localstack.Helm(ctx, out); err != nil {
		return err
	}
	begun := time.Now()
	o := localstack.Options{Binaries: binaries, Progress: out}
	if directory != "" {
		o.Directory = directory + "/stack"
	}
	stack, err := localstack.Start(ctx, o)
	if err != nil {
		return err
	}
	defer func() {
		if stopErr := stack.Stop(context.WithoutCancel(ctx)); err == nil {
			err = stopErr
		}
	}()
	_, _ = fmt.Fprintln(out, "installing Sallyport: what the chart renders, webhook and agent with the tokens of their ServiceAccounts")
	if err := prepare(ctx, stack); err != nil {
		return err
	}
	if _, err := product.Install(ctx, stack, product.Options{ClientSecretNamespaces: []string{"default"}, Progress: out}); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "ready after %s\n", time.Since(begun).Round(100*time.Millisecond))
	s := story{stack: stack, out: out, address: stack.Gateway(0).HTTPS}
	if err := s.tell(ctx); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "\nAll as expected, %s after the start of the servers.\n", time.Since(begun).Round(100*time.Millisecond))
	if directory == "" {
		return nil
	}
	if err := s.explain(directory); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// prepare puts in place what is there before Sallyport: Kyma and a workload.
func prepare(ctx context.Context, stack *localstack.Stack) error {
	if err := stack.ApplyYAML(ctx, kyma.CRD); err != nil {
		return err
	}
	if err := stack.Httpbin(ctx, "default", "httpbin", 80); err != nil {
		return err
	}
	go func() {
		// It ends with the context; without it the APIRules get no routes, and the
		// story fails.
		_ = kyma.Run(ctx, stack.Config())
	}()
	return nil
}
