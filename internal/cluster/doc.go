// Package cluster is the only reader and writer of Secrets, ledgers and managed
// Gateways. It knows which object is ours (the marker), refuses to touch one that
// is not, writes an object only if it differs, and once.
//
// A write of anything that holds a key carries the resourceVersion it was decided
// on, so that an agent that has lost its lease and does not know it yet loses.
//
// It refuses to decide what ought to be written, and when.
package cluster
