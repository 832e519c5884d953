// Package clientcertificate reconciles ClientCertificates: it issues a caller's
// certificate, into a Secret or for a certificate request, writes down its serial
// number before it hands it out, and renews it in time.
//
// Identities are derived from namespace and name. It refuses to take one from a
// request, and to touch a Secret that was not made for this caller.
package clientcertificate
