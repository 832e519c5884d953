// Package testenv runs a real API server for the tests of what reads and writes it:
// with our own, Istio's and Kyma's kinds, with nothing behind them, and with a client
// that sees what the agent's cache shows, without its delay.
//
// It is imported by tests only. It refuses to know what is tested.
package testenv
