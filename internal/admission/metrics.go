package admission

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The closed sets of label values beside the kinds and reasons of pkg/mutate.
const (
	// kindOther is any kind that is not ours, and a review too broken to name one.
	kindOther = "other"

	// verdictIgnored: nothing to judge (another kind, a deletion, a subresource).
	verdictIgnored = "Ignored"
	// verdictRefused: the review itself is bad; the answer was an HTTP 4xx.
	verdictRefused = "Refused"
	// verdictFailed: we are at fault; the answer was an HTTP 5xx.
	verdictFailed = "Failed"

	reasonNotOurs     = "NotOurs"
	reasonMalformed   = "Malformed"
	reasonTooLarge    = "TooLarge"
	reasonThrottled   = "Throttled"
	reasonInterrupted = "Interrupted"
	reasonEncoding    = "Encoding"
	reasonPanic       = "Panic"
)

// outcome is how a review ended, as the counter tells it.
type outcome struct {
	kind, verdict, reason string
}

// metrics are what the webhook tells Prometheus.
type metrics struct {
	reviews  *prometheus.CounterVec
	duration prometheus.Histogram
}

// newMetrics registers the metrics. Every outcome in known exists from the first
// scrape, so that a rate over it does not begin with a gap.
func newMetrics(registry prometheus.Registerer, known []outcome) (*metrics, error) {
	m := &metrics{
		reviews: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_admission_reviews_total",
			Help: "Admission reviews answered, by kind of the object, verdict and reason.",
		}, []string{"kind", "verdict", "reason"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sallyport_admission_duration_seconds",
			Help: "Time from the first byte of an admission review's body to its answer, in seconds.",
			// The API server's own histogram begins at 5 ms, where ours should have ended.
			Buckets: []float64{1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.5, 2},
		}),
	}
	for _, collector := range []prometheus.Collector{m.reviews, m.duration} {
		if err := registry.Register(collector); err != nil {
			return nil, err
		}
	}
	for _, o := range known {
		m.reviews.WithLabelValues(o.kind, o.verdict, o.reason)
	}
	return m, nil
}

func (m *metrics) count(o outcome) { m.reviews.WithLabelValues(o.kind, o.verdict, o.reason).Inc() }

func (m *metrics) took(d time.Duration) { m.duration.Observe(d.Seconds()) }

// endpointOutcomes are those that need no decision.
func endpointOutcomes() []outcome {
	return []outcome{
		{kindOther, verdictIgnored, reasonNotOurs},
		{kindOther, verdictRefused, reasonMalformed},
		{kindOther, verdictRefused, reasonTooLarge},
		{kindOther, verdictRefused, reasonThrottled},
		{kindOther, verdictRefused, reasonInterrupted},
		{kindOther, verdictFailed, reasonPanic},
	}
}
