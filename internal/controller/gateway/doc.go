// Package gateway reconciles Istio Gateways that opted in by themselves: it has
// their Secrets written, keeps their endpoint, repairs one that was stored without
// what it asks for, and goes on serving one that no longer asks as long as it still
// names our Secrets.
//
// It refuses to know managed Gateways, which belong to their APIRule, and to decide
// what a Gateway has to look like.
package gateway
