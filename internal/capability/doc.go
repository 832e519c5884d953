// Package capability knows what the Gateway CRD of the cluster can express, and
// keeps that knowledge current by reading the CRD, by its name, now and then: Istio
// is upgraded under us, and an upgrade adds fields.
//
// It refuses to know what is done with the answer, and to watch: a watch would need
// the right to see every CRD, for a fact that changes a few times a year.
package capability
