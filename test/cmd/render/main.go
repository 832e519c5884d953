// Command render prints what the chart installs, with the values of a first install:
// config/default is made of it, for those who install with kustomize.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/localstack/install"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, stdout, stderr io.Writer) int {
	if err := render(ctx, stdout, stderr); err != nil {
		_, _ = fmt.Fprintf(stderr, "render: %v\n", err)
		return 1
	}
	return 0
}

func render(ctx context.Context, stdout, stderr io.Writer) error {
	root, err := localstack.Root()
	if err != nil {
		return err
	}
	if _, err := localstack.Helm(ctx, stderr); err != nil {
		return err
	}
	manifest, err := install.Manifest(ctx, filepath.Join(root, "charts", "sallyport"), map[string]any{"trustDomain": "example.org"}, "sallyport-system")
	if err != nil {
		return err
	}
	_, err = stdout.Write(manifest)
	return err
}
