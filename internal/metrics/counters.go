package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/probe"
	"sallyport.dev/sallyport/pkg/rotate"
)

// Counters count what the agent does. A nil one counts nothing.
type Counters struct {
	issued    *prometheus.CounterVec
	conflicts prometheus.Counter
	repairs   *prometheus.CounterVec
	probes    *prometheus.HistogramVec
}

// NewCounters returns counters at 0. Every label value there is exists from the first
// scrape, so that a rate does not begin with a gap.
func NewCounters() *Counters {
	c := &Counters{
		issued: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_certificates_issued_total",
			Help: "Certificates and CRLs signed, by kind and reason.",
		}, []string{"kind", "reason"}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sallyport_write_conflicts_total",
			Help: "Writes that lost to somebody else's and were decided on again.",
		}),
		repairs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_gateway_repairs_total",
			Help: "Gateways and APIRules that were stored otherwise than their annotations say, and put right: the webhook was not asked.",
		}, []string{"kind"}),
		probes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sallyport_probe_duration_seconds",
			Help: "Time that a handshake with a replica of a gateway took, in seconds, by outcome. Whoever is let in waits 100 ms for an alert.",
			// A refusal takes a round trip or three, an acceptance at least 100 ms, what
			// never answers ends with the deadline.
			Buckets: []float64{0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5},
		}, []string{"outcome"}),
	}
	for kind, reasons := range issuable() {
		for _, reason := range reasons {
			c.issued.WithLabelValues(string(kind), string(reason))
		}
	}
	for _, kind := range []v1alpha1.ObjectKind{v1alpha1.ObjectGateway, v1alpha1.ObjectAPIRule} {
		c.repairs.WithLabelValues(string(kind))
	}
	for _, outcome := range []probe.Outcome{probe.Accepted, probe.Refused, probe.Unknown} {
		c.probes.WithLabelValues(string(outcome))
	}
	return c
}

// issuable are the reasons for which each kind is signed.
func issuable() map[Issuable][]rotate.Reason {
	return map[Issuable][]rotate.Reason{
		Server: rotate.Reasons(),
		Client: rotate.Reasons(),
		CA:     {rotate.ReasonMissing, rotate.ReasonDue, rotate.ReasonRequested, rotate.ReasonCompromised},
		CRL:    {rotate.ReasonMissing, rotate.ReasonRevocation, rotate.ReasonLifetime, rotate.ReasonDue},
	}
}

// Issued counts a certificate or CRL that was signed and stored.
func (c *Counters) Issued(kind Issuable, reason rotate.Reason) {
	if c != nil {
		c.issued.WithLabelValues(string(kind), string(reason)).Inc()
	}
}

// Conflict counts a write that lost to somebody else's.
func (c *Counters) Conflict() {
	if c != nil {
		c.conflicts.Inc()
	}
}

// Repaired counts an object that was stored otherwise than its annotations say.
func (c *Counters) Repaired(kind v1alpha1.ObjectKind) {
	if c != nil {
		c.repairs.WithLabelValues(string(kind)).Inc()
	}
}

// Probed counts a handshake.
func (c *Counters) Probed(outcome probe.Outcome, took time.Duration) {
	if c != nil {
		c.probes.WithLabelValues(string(outcome)).Observe(took.Seconds())
	}
}

func (c *Counters) all() []prometheus.Collector {
	return []prometheus.Collector{c.issued, c.conflicts, c.repairs, c.probes}
}

// Describe implements prometheus.Collector.
func (c *Counters) Describe(descs chan<- *prometheus.Desc) {
	for _, collector := range c.all() {
		collector.Describe(descs)
	}
}

// Collect implements prometheus.Collector.
func (c *Counters) Collect(metrics chan<- prometheus.Metric) {
	for _, collector := range c.all() {
		collector.Collect(metrics)
	}
}
