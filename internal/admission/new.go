package admission

import (
	"fmt"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"sallyport.dev/sallyport/internal/install"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/mutate"
)

// Config is what an Endpoint is made from. Every field is needed.
type Config struct {
	// Settings are the platform's.
	Settings install.Settings
	// Cluster is what may be known about the cluster.
	Cluster Cluster
	// Registry takes the metrics.
	Registry prometheus.Registerer
	// Clock measures how long an answer takes.
	Clock clock.PassiveClock
	// Log hears of refused reviews (debug) and recovered panics.
	Log logr.Logger
}

// New returns the endpoint that answers reviews with pkg/mutate.
func New(c Config) (*Endpoint, error) {
	m, err := newMetrics(c.Registry, append(endpointOutcomes(), decisionOutcomes()...))
	if err != nil {
		return nil, fmt.Errorf("registering admission metrics: %w", err)
	}
	handler := &Handler{
		cluster: c.Cluster, settings: c.Settings, metrics: m,
		decide: map[string]func(mutate.Request) mutate.Decision{string(intent.KindGateway): mutate.Gateway, string(intent.KindAPIRule): mutate.APIRule},
	}
	return newEndpoint(handler, m, c.Clock, c.Log), nil
}

// decisionOutcomes are those of decisions, and of reviews of our kinds that end
// without one.
func decisionOutcomes() []outcome {
	var known []outcome
	for _, kind := range []string{string(intent.KindGateway), string(intent.KindAPIRule)} {
		known = append(known,
			outcome{kind, verdictIgnored, reasonNotOurs},
			outcome{kind, verdictRefused, reasonMalformed},
			outcome{kind, verdictRefused, reasonInterrupted},
			outcome{kind, verdictFailed, reasonEncoding},
		)
		for _, reason := range mutate.AllReasons() {
			for _, verdict := range []mutate.Verdict{mutate.Patched, mutate.Allowed, mutate.Denied} {
				known = append(known, outcome{kind, string(verdict), string(reason)})
			}
		}
	}
	return known
}
