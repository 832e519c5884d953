package main

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sallyport.dev/sallyport/internal/admission"
	"sallyport.dev/sallyport/internal/reload"
)

// reviewHandler serves exactly one path.
func reviewHandler(endpoint http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(admission.Path, endpoint)
	return mux
}

// metricsHandler serves exactly one path, and few scrapes at a time.
func metricsHandler(registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 4 * time.Second}))
	return mux
}

// readiness says whether reviews should be sent here.
type readiness struct {
	pair     reload.ServingPair
	indexes  *indexes
	stopping atomic.Bool
}

// check returns why this replica is not ready, nil if it is.
func (r *readiness) check() error {
	if r.stopping.Load() {
		return errors.New("shutting down")
	}
	if r.pair.Current() == nil {
		return fmt.Errorf("no serving certificate: %w", r.pair.Status().Err)
	}
	if !r.indexes.synced.Load() {
		return errors.New("indexes of Gateways, Services, Pods and Namespaces are not synced")
	}
	return nil
}

// healthHandler serves the kubelet. A webhook that is not ready is healthy all the
// same: a restart brings neither a certificate nor the CRDs.
func healthHandler(ready *readiness) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready.check(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	})
	return mux
}
