// Package issuer answers whether a CertificateAuthority can issue for somebody, and
// with what: it reads the authority and its ledger, judges who may use it and what
// of its spec this version supports, and hands out the active generation together
// with the bundle that gateways trust.
//
// It refuses to issue, and to change an authority or its ledger.
package issuer
