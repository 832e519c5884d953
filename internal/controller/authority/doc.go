// Package authority keeps the ledgers of CertificateAuthorities: it makes what
// rotate finds due, publishes what callers are to trust, and tells the status.
//
// It refuses to decide what is due, and to issue anything for a gateway or a
// caller.
package authority
