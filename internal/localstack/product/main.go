package product

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"sallyport.dev/sallyport/internal/localstack"
)

// Main is the TestMain of a package whose tests share a stack: it starts what start says, runs
// the tests, and stops everything, whatever came of it. It returns the exit code. What start
// returns with an error is stopped too; the Product is nil where nothing is installed.
func Main(tests interface{ Run() int }, start func(context.Context) (*localstack.Stack, *Product, error)) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	klog.SetLogger(logr.Discard())
	log.SetLogger(logr.Discard())
	stack, installed, err := start(ctx)
	code := 1
	if err == nil {
		code = tests.Run()
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
