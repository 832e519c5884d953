// Package alerts tests what the chart brings for Prometheus and Grafana: that every
// alert fires when it has to and only then, across restarts and changes of the leader
// too, that it has its runbook, and that nothing names a series that there is not.
//
// testdata/healthy.yaml is an hour in which all is well, as promtool reads it. Each other
// file there is an alert's: cases, each of which changes something in that hour, and says
// when the alert fires, with all its words. No other alert may fire, unless the case
// says so.
//
// The promtool command has to be on the PATH (Debian: prometheus). Without it what asks
// it is skipped and says so; with SALLYPORT_VERIFIERS=required, which is what .ci/run sets
// where it can install it, it fails instead.
package alerts
