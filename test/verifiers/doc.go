// Package verifiers asks others about what package pki makes: OpenSSL, GnuTLS and
// Envoy (BoringSSL) beside Go about every shape of chain and CRL, zlint about the form
// of each certificate and CRL, and BetterTLS, whose vectors say what a validator of
// chains has to refuse.
//
// The openssl and certtool commands have to be on the PATH (Debian: openssl,
// gnutls-bin). Without one its tests are skipped and say so; with
// SALLYPORT_VERIFIERS=required, which is what .ci/run sets where it can install them,
// they fail instead.
package verifiers
