package metrics

import (
	"context"
	"fmt"
	"io"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"k8s.io/utils/clock"

	"sallyport.dev/sallyport/internal/startup"
)

// MaxSeries bounds the series of one metric: five times what an install is made for,
// 10,000 certificates, or the expectations of 3,000 gateways in two replicas. At some 200
// bytes each it is 10 MB of text.
const MaxSeries = 50_000

// Config is what Metrics are made of.
type Config struct {
	// Build is what is running.
	Build startup.Build
	// Leads says whether this replica works. Only then are objects told of.
	Leads func() bool
	// Counters of what is done.
	Counters *Counters
	// Sources of what is known.
	Sources Sources
	// Libraries tell of what we stand on: the Go runtime, the process, the queues.
	Libraries prometheus.Gatherer
	// Clock is read once in each scrape.
	Clock clock.PassiveClock
	// Limit bounds the series of one metric; 0 is MaxSeries.
	Limit int
}

// Metrics are all that the agent tells Prometheus.
type Metrics struct {
	config  Config
	counted prometheus.Gatherer
	facts   []facts
	dropped *metric
}

// facts are one idea of what is told of objects.
type facts interface {
	// metrics are what it is told in.
	metrics() []*metric
	// write writes all series of one metric after another.
	write(p *page, s *snapshot)
}

// New returns Metrics.
func New(c Config) (*Metrics, error) {
	if c.Limit == 0 {
		c.Limit = MaxSeries
	}
	registry := prometheus.NewRegistry()
	for _, collector := range []prometheus.Collector{newReplica(c.Build, c.Leads), leading{c.Counters, c.Leads}} {
		if err := registry.Register(collector); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return &Metrics{
		config:  c,
		counted: prometheus.Gatherers{c.Libraries, registry},
		facts:   []facts{newCertificates(), newCRLs(), newTrusted(), newRotations(), newProofs(), newPolicies(), newCallers(), newAdmissions(), newProblems()},
		dropped: newMetric("sallyport_metrics_dropped_series", "Series of a metric that are left out because there are too many; 0 is normal.", "metric"),
	}, nil
}

// write writes one scrape in the exposition format for text: what was counted, and what
// is known now.
func (m *Metrics) write(ctx context.Context, to io.Writer, counted []*dto.MetricFamily) error {
	for _, family := range counted {
		if _, err := expfmt.MetricFamilyToText(to, family); err != nil {
			return fmt.Errorf("writing metrics: %w", err)
		}
	}
	if !m.config.Leads() {
		return nil
	}
	p := newPage(to, m.config.Limit)
	taken := m.config.Sources.take(ctx, m.config.Clock.Now())
	for _, f := range m.facts {
		f.write(p, taken)
	}
	if err := p.finish(m.dropped); err != nil {
		return fmt.Errorf("writing metrics: %w", err)
	}
	return nil
}
