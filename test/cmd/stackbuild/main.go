// Command stackbuild makes the binaries of the local stack ahead of the tests, because
// `go test` shows nothing while a test runs and the first build takes minutes. With
// -clean it removes them.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"sallyport.dev/sallyport/internal/localstack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("stackbuild", flag.ContinueOnError)
	flags.SetOutput(stderr)
	clean := flags.Bool("clean", false, "remove the cached binaries instead of building them")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	var err error
	if *clean {
		err = localstack.CleanCache()
	} else {
		_, err = localstack.Build(ctx, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}
