// Agent keeps the certificates behind opted-in Gateways and APIRules: it makes
// authorities, issues server and client certificates and CRLs into the Secrets
// where gateways and callers read them, renews them in time, and tells how each
// stands. Of several replicas the leader works.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	_ "time/tzdata" // windows have time zones, and images none

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
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

// gcPercent is how much the heap may grow over what is in use until it is collected,
// unless GOGC says otherwise. Nearly all of ours is the cache, which stays: a quarter of
// the usual takes a third off the resident set with thousands of Gateways, for a fifth
// more processor time at the start (docs/performance.md).
const gcPercent = 25

// run is the whole program but for the process: it returns when the context has
// ended and the lease is given back, or when something failed.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	options, err := parse(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "agent: %v\nagent: run with -help for the flags\n", err)
		return exitUsage
	}
	config, err := options.config()
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "agent: %v\n", err)
		return exitUsage
	}
	log := logr.FromSlogHandler(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: config.level}))
	klog.SetLogger(log)
	ctrl.SetLogger(log)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	manager, err := newManager(ctx, config, clock.RealClock{})
	if err == nil {
		err = manager.Start(ctx)
	}
	if err != nil {
		log.Error(err, "stopping")
		return exitError
	}
	log.Info("stopped")
	return exitOK
}
