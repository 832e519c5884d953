// Package testpki builds certificates, CRLs and requests at chosen instants for
// tests, with crypto/x509 alone: also such as package pki would never make and has
// to refuse. Only _test.go files import it.
//
// It refuses to know package pki, so that the one is not tested with itself.
package testpki
