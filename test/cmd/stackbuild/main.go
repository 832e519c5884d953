// Command stackbuild makes the binaries of the local stack ahead of the tests, because
// `go test` shows nothing while a test runs and the first build takes minutes.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"sallyport.dev/sallyport/internal/localstack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, stdout, stderr io.Writer) int {
	binaries, err := localstack.Build(ctx, stderr)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	for _, path := range binaries.Paths() {
		fmt.Fprintln(stdout, path)
	}
	return 0
}
