// Package proving finds out from outside whether the edge does what was written for it:
// it has real handshakes tried with every replica of every opted-in Gateway, keeps the
// last finding of each, and sums them up for the endpoint and for the metrics.
//
// What is expected of one handshake is the business of internal/probe. Here it is decided
// who is tried, when, with which certificates, and when a finding counts: a change takes
// a moment to reach the gateways, and one lost packet is no news.
//
// It refuses to write anything, and to know what follows from a finding.
package proving
