// Package probe dials servers and tells what their handshake showed.
//
// It refuses to judge: who dials knows what he expects.
package probe
