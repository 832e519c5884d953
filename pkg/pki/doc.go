// Package pki mints, parses and verifies what mutual TLS at an ingress is made of:
// keys, certificate authorities, server and client certificates, CRLs, and the
// bundles of CAs that gateways trust.
//
// Every exported type has private fields and one way in: a value that exists was
// parsed strictly, or minted here and parsed back. Pair holds a key that matches
// its leaf, and Bundle holds CAs with exactly one fresh CRL each or none at all, so
// that holding the value is the permission to write it.
//
// Time is an argument. Entropy is the one impurity. The package refuses to know
// Kubernetes, Istio, files, sockets, and when anything ought to be renewed.
package pki
