// Webhook answers admission reviews of Gateways and APIRules: it writes mutual TLS
// into what asks for it and refuses what contradicts itself. It holds no Secret but
// its own serving pair, which is mounted, and writes nothing.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"sallyport.dev/sallyport/internal/startup"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// The exit codes of run.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// run is the whole program but for the process: it returns when the context has
// ended and everything is drained, or when something failed.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	options, err := parse(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "webhook: %v\nwebhook: run with -help for the flags\n", err)
		return exitUsage
	}
	config, err := options.config()
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "webhook: %v\n", err)
		return exitUsage
	}
	handler := slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: config.level})
	log := logr.FromSlogHandler(handler)
	klog.SetLogger(log)
	ctrl.SetLogger(log)
	log.Info("starting", "namespace", options.Namespace, "version", startup.ReadBuild().Version, "ingresses", len(config.settings.Ingresses()))
	w, err := newWebhook(ctx, config, clock.RealClock{}, handler)
	if err == nil {
		err = w.serve(ctx)
	}
	if err != nil {
		log.Error(err, "stopping")
		return exitError
	}
	log.Info("stopped")
	return exitOK
}

// tlsConfig serves the pair to whoever asks: which API server asks is proven by
// nothing it sends, and need not be, because an answer gives nothing away.
func tlsConfig(configure func(*tls.Config)) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	configure(config)
	return config
}
