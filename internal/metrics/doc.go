// Package metrics tells Prometheus what the agent knows: when everything ends, what
// handshakes showed, what calls for attention, and what was done. Facts about objects are
// read from the caches at each scrape, so that what was deleted has no series, and what is
// unknown has none either: a certificate that ends at 0 would have ended in 1970.
//
// It refuses to ask the API server for any of it, and to keep anything but counters.
package metrics
