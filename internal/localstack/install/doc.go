// Package install turns a Helm chart into objects: what the demo and the end-to-end
// tests apply is what a cluster would get, not a copy of it.
//
// It refuses to know what the chart installs, and to have Helm's libraries in this
// module: it runs the helm command that tools/helm pins.
package install
