package pki

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// maxCommonName is the upper bound of a common name (RFC 5280 appendix A.1,
// ub-common-name).
const maxCommonName = 64

// ServerRequest describes the certificate of an ingress server.
type ServerRequest struct {
	// Hosts are DNS names in lower case, each once; the first label may be `*`.
	Hosts []string
	// Key is the server's own.
	Key Key
	// Lifetime counts from the moment of issue. The certificate ends with its
	// issuer at the latest.
	Lifetime time.Duration
}

// IssueServer signs a server certificate: extended key usage serverAuth, the hosts
// as DNS names, and the first of them as common name where it fits.
func (a Authority) IssueServer(r ServerRequest, now time.Time) (Pair, error) {
	if len(r.Hosts) == 0 {
		return Pair{}, errors.New("issuing server certificate: no host asked for")
	}
	for _, host := range r.Hosts {
		if err := checkDNSName(strings.TrimPrefix(host, "*.")); err != nil {
			return Pair{}, fmt.Errorf("issuing server certificate: host %.300q: %w", host, err)
		}
	}
	names := x509.Certificate{DNSNames: r.Hosts, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if len(r.Hosts[0]) <= maxCommonName {
		names.Subject = pkix.Name{CommonName: r.Hosts[0]}
	}
	chain, err := a.issue(names, r.Key.Public(), r.Lifetime, now)
	if err != nil {
		return Pair{}, fmt.Errorf("issuing server certificate for %s: %w", r.Hosts[0], err)
	}
	return newPair(chain, r.Key)
}

// ClientRequest describes the certificate of a caller.
type ClientRequest struct {
	// CommonName is for people and for header rules that match a subject.
	CommonName string
	// Identity is the URI by which the caller is known (a SPIFFE ID).
	Identity string
	// DNSNames are further names, in lower case, without wildcards: Istio matches a
	// wildcard in a certificate against every name below it.
	DNSNames []string
	// Lifetime counts from the moment of issue. The certificate ends with its
	// issuer at the latest.
	Lifetime time.Duration
}

// IssueClient signs a client certificate for a key made here.
func (a Authority) IssueClient(r ClientRequest, key Key, now time.Time) (Pair, error) {
	chain, err := a.issueClient(r, key.Public(), now)
	if err != nil {
		return Pair{}, err
	}
	return newPair(chain, key)
}

// IssueClientFor signs a client certificate for the key of a certificate request.
// Of the request nothing but the key is used.
func (a Authority) IssueClientFor(r ClientRequest, csr CertificateRequest, now time.Time) (Chain, error) {
	return a.issueClient(r, csr.public, now)
}

func (a Authority) issueClient(r ClientRequest, public crypto.PublicKey, now time.Time) (Chain, error) {
	names, err := r.names()
	if err != nil {
		return Chain{}, fmt.Errorf("issuing client certificate: %w", err)
	}
	chain, err := a.issue(names, public, r.Lifetime, now)
	if err != nil {
		return Chain{}, fmt.Errorf("issuing client certificate for %s: %w", r.Identity, err)
	}
	return chain, nil
}

func (r ClientRequest) names() (x509.Certificate, error) {
	if r.CommonName == "" || len(r.CommonName) > maxCommonName {
		return x509.Certificate{}, fmt.Errorf("common name has %d bytes, expected 1 to %d", len(r.CommonName), maxCommonName)
	}
	identity, err := url.Parse(r.Identity)
	if err != nil || identity.Scheme == "" || identity.Host == "" {
		return x509.Certificate{}, fmt.Errorf("identity is %.300q, expected a URI with a scheme and an authority", r.Identity)
	}
	for _, name := range r.DNSNames {
		if err := checkDNSName(name); err != nil {
			return x509.Certificate{}, fmt.Errorf("DNS name %.300q: %w", name, err)
		}
	}
	return x509.Certificate{
		Subject:     pkix.Name{CommonName: r.CommonName},
		URIs:        []*url.URL{identity},
		DNSNames:    r.DNSNames,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, nil
}

// checkDNSName holds a name to the preferred syntax of RFC 1034 section 3.5 with
// the lengths of RFC 1035 section 2.3.4, in lower case.
func checkDNSName(name string) error {
	if len(name) > 253 {
		return fmt.Errorf("has %d bytes, expected at most 253", len(name))
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 {
			return fmt.Errorf("has a label of %d bytes, expected 1 to 63", len(label))
		}
		if label[0] == '-' || label[len(label)-1] == '-' || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return fmt.Errorf("label %q has other characters than lower-case letters, digits and inner hyphens", label)
		}
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return errors.New("ends in a number, as an IP address does; expected a DNS name")
	}
	return nil
}
