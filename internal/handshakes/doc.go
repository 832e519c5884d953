// Package handshakes tells how many callers of a Gateway came with a certificate, by what its
// replicas count themselves: whether a step from optional to mutual would refuse anybody.
//
// Envoy counts handshakes for each listener, that is for all Gateways on one port of a replica.
// So the number without a certificate is an upper bound for each of them; zero is zero for all.
//
// It refuses to draw a conclusion where it could not look, and to take a step.
package handshakes
