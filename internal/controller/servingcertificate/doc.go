// Package servingcertificate keeps the certificate that the webhook serves, and the
// caBundle by which the API server verifies it.
//
// Two CAs overlap: a new one enters caBundle before a certificate of it is served,
// and the old one leaves after every replica of the webhook serves a certificate of
// the new one. At no moment does the API server meet a certificate it cannot verify.
//
// The package refuses to know what the webhook does, and to change anything of its
// configuration but caBundle.
package servingcertificate
