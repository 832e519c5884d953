package admission

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev/sallyport/internal/startup"
)

// Facts are what a Collector reads at scrape time.
type Facts struct {
	// Build is constant.
	Build startup.Build
	// NotAfter is when the serving certificate ends; false while none is served.
	NotAfter func() (time.Time, bool)
	// Reloads counts how often the serving pair was taken and refused.
	Reloads func() (taken, refused uint64)
}

// Collector exports facts about the webhook itself. What is unknown is absent: a
// certificate that ends at 0 would have ended in 1970.
type Collector struct {
	facts                    Facts
	build, notAfter, reloads *prometheus.Desc
}

// NewCollector returns a collector of these facts.
func NewCollector(facts Facts) *Collector {
	return &Collector{
		facts: facts,
		build: prometheus.NewDesc("sallyport_build_info",
			"What is running; always 1.", []string{"version", "revision", "goversion"}, nil),
		notAfter: prometheus.NewDesc("sallyport_webhook_certificate_not_after_timestamp_seconds",
			"End of the certificate this replica serves admission reviews with, in seconds since the epoch.", nil, nil),
		reloads: prometheus.NewDesc("sallyport_webhook_certificate_reloads_total",
			"New contents of the serving pair's directory, by result: taken, or refused because the pair is unusable.", []string{"result"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(descs chan<- *prometheus.Desc) {
	descs <- c.build
	descs <- c.notAfter
	descs <- c.reloads
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(metrics chan<- prometheus.Metric) {
	b := c.facts.Build
	metrics <- prometheus.MustNewConstMetric(c.build, prometheus.GaugeValue, 1, b.Version, b.Revision, b.GoVersion)
	if notAfter, ok := c.facts.NotAfter(); ok {
		metrics <- prometheus.MustNewConstMetric(c.notAfter, prometheus.GaugeValue, float64(notAfter.Unix()))
	}
	taken, refused := c.facts.Reloads()
	metrics <- prometheus.MustNewConstMetric(c.reloads, prometheus.CounterValue, float64(taken), "taken")
	metrics <- prometheus.MustNewConstMetric(c.reloads, prometheus.CounterValue, float64(refused), "refused")
}
