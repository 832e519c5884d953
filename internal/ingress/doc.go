// Package ingress answers where a Gateway lands: which of the platform's
// ingresses serve it, on which ports of their pods, at which replicas, and which
// older Gateway already holds a host there.
//
// The answers are computed from facts about Services, Pods and Gateways
// (topology.go, claims.go: no I/O, no clock). Index keeps those facts current from
// informers (feed.go). The order of Gateways and the translation of ports are
// Istio's own, because only Istio's opinion decides which server is dropped.
//
// The package refuses to know what makes a Gateway mutual, what an annotation
// means, and what to do about a conflict: it reports, others judge.
package ingress
