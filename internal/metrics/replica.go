package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev/sallyport/internal/startup"
)

// replica tells what every replica of the agent tells: what runs, and who leads.
type replica struct {
	running       startup.Build
	leads         func() bool
	build, leader *prometheus.Desc
}

func newReplica(running startup.Build, leads func() bool) *replica {
	return &replica{
		running: running, leads: leads,
		build: prometheus.NewDesc("sallyport_build_info", "What is running; always 1.", []string{"version", "revision", "goversion"}, nil),
		leader: prometheus.NewDesc("sallyport_agent_leader",
			"Whether this replica of the agent holds the lease: 1 if it does, else 0. Only the leader tells of certificates and gateways.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (r *replica) Describe(descs chan<- *prometheus.Desc) {
	descs <- r.build
	descs <- r.leader
}

// Collect implements prometheus.Collector.
func (r *replica) Collect(metrics chan<- prometheus.Metric) {
	leads := 0.0
	if r.leads() {
		leads = 1
	}
	metrics <- prometheus.MustNewConstMetric(r.build, prometheus.GaugeValue, 1, r.running.Version, r.running.Revision, r.running.GoVersion)
	metrics <- prometheus.MustNewConstMetric(r.leader, prometheus.GaugeValue, leads)
}

// leading collects from another collector while this replica leads.
type leading struct {
	prometheus.Collector
	leads func() bool
}

// Collect implements prometheus.Collector.
func (l leading) Collect(metrics chan<- prometheus.Metric) {
	if l.leads() {
		l.Collector.Collect(metrics)
	}
}
