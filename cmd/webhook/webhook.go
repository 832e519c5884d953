package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"

	"sallyport.dev/sallyport/internal/admission"
	"sallyport.dev/sallyport/internal/listener"
	"sallyport.dev/sallyport/internal/reload"
	"sallyport.dev/sallyport/internal/startup"
	"sallyport.dev/sallyport/pkg/mutate"
)

// webhook is the wired program.
type webhook struct {
	config  Config
	clock   clock.Clock
	log     logr.Logger
	indexes *indexes
	pair    reload.ServingPair
	ready   *readiness
	// health and metrics answer until reviews are drained.
	reviews, health, metrics *listener.Server
}

// newWebhook wires everything and opens the listeners, so that a wrong address is an
// error at once.
func newWebhook(ctx context.Context, config Config, c clock.WithTicker, handler slog.Handler) (*webhook, error) {
	w := &webhook{config: config, clock: c, log: logr.FromSlogHandler(handler)}
	var err error
	if w.indexes, err = newIndexes(config.cluster, config.settings, c, w.log); err != nil {
		return nil, err
	}
	w.pair = reload.NewServingPair(config.options.ServingCertificates, c, w.pairRead)
	w.ready = &readiness{pair: w.pair, indexes: w.indexes}
	registry := prometheus.NewRegistry()
	endpoint, err := w.endpoint(registry)
	if err != nil {
		return nil, err
	}
	o := config.options
	reviews := listener.Config{Name: "admission reviews", Address: o.ListenAddress, Handler: reviewHandler(endpoint), TLS: tlsConfig(w.pair.ConfigureTLS), Log: handler}
	if w.reviews, err = listener.Listen(ctx, reviews); err != nil {
		return nil, err
	}
	if w.health, err = listener.Listen(ctx, listener.Config{Name: "health", Address: o.HealthAddress, Handler: healthHandler(w.ready), Log: handler}); err != nil {
		return nil, errors.Join(err, w.reviews.Close())
	}
	if w.metrics, err = listener.Listen(ctx, listener.Config{Name: "metrics", Address: o.MetricsAddress, Handler: metricsHandler(registry), Log: handler}); err != nil {
		return nil, errors.Join(err, w.reviews.Close(), w.health.Close())
	}
	return w, nil
}

func (w *webhook) endpoint(registry *prometheus.Registry) (*admission.Endpoint, error) {
	facts := admission.Facts{Build: startup.ReadBuild(), NotAfter: w.pair.NotAfter, Reloads: w.reloads}
	own := []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		admission.NewCollector(facts),
	}
	for _, collector := range own {
		if err := registry.Register(collector); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return admission.New(admission.Config{
		Settings: w.config.settings,
		Cluster: admission.Cluster{
			Namespaces:   w.indexes.namespaces,
			Edge:         admission.NewEdge(w.indexes.ingress),
			Capabilities: w.capabilities,
		},
		Registry: registry,
		Clock:    w.clock,
		Log:      w.log,
	})
}

// capabilities are the least a CRD can have as long as none was read; no review is
// sent here before that.
func (w *webhook) capabilities() mutate.Capabilities {
	known, _ := w.indexes.capabilities.Capabilities()
	return known
}

func (w *webhook) reloads() (taken, refused uint64) {
	status := w.pair.Status()
	return status.Reloads, status.Failures
}

func (w *webhook) pairRead(err error) {
	if err != nil {
		w.log.Error(err, "the serving pair was not taken")
		return
	}
	w.log.Info("serving with a new pair")
}

// serve runs everything until the context ends. Then this replica says that it is
// not ready, goes on answering while that spreads, and stops: first reviews, then
// what they need.
func (w *webhook) serve(ctx context.Context) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, running := errgroup.WithContext(background)
	answering, stopAnswering := context.WithCancel(running)
	defer stopAnswering()

	answered := make(chan struct{})
	group.Go(func() error { defer close(answered); return w.reviews.Serve(answering) })
	group.Go(func() error { return w.health.Serve(running) })
	group.Go(func() error { return w.metrics.Serve(running) })
	group.Go(func() error { return w.pair.Start(running) })
	group.Go(func() error { return w.indexes.cache.Start(running) })
	group.Go(func() error { return w.indexes.start(running) })
	group.Go(func() error {
		select {
		case <-ctx.Done():
		case <-running.Done():
			return nil
		}
		w.ready.stopping.Store(true)
		w.log.Info("stopping soon", "delay", w.config.options.ShutdownDelay.String())
		w.wait(running, w.config.options.ShutdownDelay)
		stopAnswering()
		<-answered
		stop()
		return nil
	})
	return group.Wait()
}

func (w *webhook) wait(ctx context.Context, d time.Duration) {
	timer := w.clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-ctx.Done():
	}
}
