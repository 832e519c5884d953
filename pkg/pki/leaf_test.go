package pki_test

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/pkg/pki"
)

// profile is what a certificate says of its use.
type profile struct {
	CommonName     string
	DNS, URIs      []string
	Others         int // IP and mail addresses
	CA             bool
	Usage          x509.KeyUsage
	ExtendedUsages []x509.ExtKeyUsage
}

func profileOf(c *x509.Certificate) profile {
	p := profile{
		CommonName: c.Subject.CommonName, DNS: c.DNSNames, Others: len(c.IPAddresses) + len(c.EmailAddresses),
		CA: c.IsCA || !c.BasicConstraintsValid, Usage: c.KeyUsage, ExtendedUsages: c.ExtKeyUsage,
	}
	for _, uri := range c.URIs {
		p.URIs = append(p.URIs, uri.String())
	}
	return p
}

func TestServerCertificates(t *testing.T) {
	authority := root(t, "shop g1")
	long := strings.Repeat("a", 60) + ".shop.example"
	for sentence, row := range map[string]struct {
		hosts   []string
		name    string
		refusal string
	}{
		"one host":                             {hosts: []string{"shop.example"}, name: "shop.example"},
		"many hosts in their order":            {hosts: []string{"b.example", "a.example"}, name: "b.example"},
		"a wildcard":                           {hosts: []string{"*.shop.example", "shop.example"}, name: "*.shop.example"},
		"a name too long for the subject":      {hosts: []string{long}},
		"a single label":                       {hosts: []string{"localhost"}, name: "localhost"},
		"no host is refused":                   {refusal: "issuing server certificate: no host asked for"},
		"the wildcard of everything is not":    {hosts: []string{"*"}, refusal: `host "*": label "*" has other characters than lower-case letters, digits and inner hyphens`},
		"a wildcard inside is refused":         {hosts: []string{"shop.*.example"}, refusal: `host "shop.*.example": label "*" has other characters`},
		"half a wildcard is refused":           {hosts: []string{"*shop.example"}, refusal: `label "*shop" has other characters`},
		"two wildcards are refused":            {hosts: []string{"*.*.example"}, refusal: `label "*" has other characters`},
		"upper case is refused":                {hosts: []string{"Shop.example"}, refusal: `label "Shop" has other characters`},
		"an IP address is refused":             {hosts: []string{"10.0.0.1"}, refusal: "ends in a number, as an IP address does; expected a DNS name"},
		"an IPv6 address is refused":           {hosts: []string{"fd00::1"}, refusal: `label "fd00::1" has other characters`},
		"an empty host is refused":             {hosts: []string{""}, refusal: `host "": has a label of 0 bytes, expected 1 to 63`},
		"a dot at the end is refused":          {hosts: []string{"shop.example."}, refusal: "has a label of 0 bytes"},
		"a label of 64 bytes is refused":       {hosts: []string{strings.Repeat("a", 64) + ".example"}, refusal: "has a label of 64 bytes, expected 1 to 63"},
		"a name of 254 bytes is refused":       {hosts: []string{strings.Repeat("a.", 127)}, refusal: "has 254 bytes, expected at most 253"},
		"a hyphen in front is refused":         {hosts: []string{"-shop.example"}, refusal: `label "-shop"`},
		"a hyphen at the end is refused":       {hosts: []string{"shop-.example"}, refusal: `label "shop-"`},
		"an underscore is refused":             {hosts: []string{"my_shop.example"}, refusal: `label "my_shop"`},
		"a zero byte is refused":               {hosts: []string{"shop.example\x00.evil.example"}, refusal: "has other characters"},
		"a letter outside of ASCII is refused": {hosts: []string{"shöp.example"}, refusal: "has other characters"},
		"the second host is judged too":        {hosts: []string{"shop.example", "evil_"}, refusal: `host "evil_"`},
	} {
		t.Run(sentence, func(t *testing.T) {
			pair, err := authority.IssueServer(pki.ServerRequest{Hosts: row.hosts, Key: generateKey(t, pki.ECDSAP256), Lifetime: 90 * day}, now)
			if row.refusal != "" {
				wantError(t, err, "issuing server certificate: ", strings.TrimPrefix(row.refusal, "issuing server certificate: "))
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := profile{CommonName: row.name, DNS: row.hosts, Usage: x509.KeyUsageDigitalSignature, ExtendedUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
			if diff := cmp.Diff(want, profileOf(pair.Leaf().X509())); diff != "" {
				t.Errorf("certificate differs (-want +found):\n%s", diff)
			}
			if err := pair.Chain().VerifyServer(bundle(t, authority), row.hosts, now); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestClientCertificates(t *testing.T) {
	authority := root(t, "shop g1")
	const identity = "spiffe://cluster.local/ns/shop/client/payments"
	good := pki.ClientRequest{CommonName: "payments", Identity: identity, DNSNames: []string{"payments.shop"}, Lifetime: 30 * day}
	with := func(change func(*pki.ClientRequest)) pki.ClientRequest {
		r := good
		r.DNSNames = slices.Clone(good.DNSNames)
		change(&r)
		return r
	}
	for sentence, row := range map[string]struct {
		request pki.ClientRequest
		refusal string
	}{
		"a name and an identity":            {request: good},
		"no DNS name":                       {request: with(func(r *pki.ClientRequest) { r.DNSNames = nil })},
		"no common name is refused":         {request: with(func(r *pki.ClientRequest) { r.CommonName = "" }), refusal: "common name has 0 bytes, expected 1 to 64"},
		"a common name too long is refused": {request: with(func(r *pki.ClientRequest) { r.CommonName = strings.Repeat("x", 65) }), refusal: "common name has 65 bytes, expected 1 to 64"},
		"no identity is refused":            {request: with(func(r *pki.ClientRequest) { r.Identity = "" }), refusal: `identity is "", expected a URI with a scheme and an authority`},
		"an identity without scheme is":     {request: with(func(r *pki.ClientRequest) { r.Identity = "payments" }), refusal: `identity is "payments"`},
		"an identity without authority is":  {request: with(func(r *pki.ClientRequest) { r.Identity = "spiffe:///ns/shop" }), refusal: `identity is "spiffe:///ns/shop"`},
		"an identity that is no URI is":     {request: with(func(r *pki.ClientRequest) { r.Identity = "spiffe://a b" }), refusal: `identity is "spiffe://a b"`},
		"a wildcard is refused":             {request: with(func(r *pki.ClientRequest) { r.DNSNames = []string{"*.shop"} }), refusal: `DNS name "*.shop": label "*" has other characters`},
		"no lifetime is refused":            {request: with(func(r *pki.ClientRequest) { r.Lifetime = 0 }), refusal: "lifetime is 0s"},
	} {
		t.Run(sentence, func(t *testing.T) {
			pair, err := authority.IssueClient(row.request, generateKey(t, pki.ECDSAP256), now)
			if row.refusal != "" {
				wantError(t, err, "issuing client certificate", row.refusal)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := profile{
				CommonName: "payments", URIs: []string{identity}, DNS: row.request.DNSNames,
				Usage: x509.KeyUsageDigitalSignature, ExtendedUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			}
			if diff := cmp.Diff(want, profileOf(pair.Leaf().X509())); diff != "" {
				t.Errorf("certificate differs (-want +found):\n%s", diff)
			}
			if err := pair.Chain().VerifyClient(bundle(t, authority), now); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestALeafServesOnlyItsPurpose(t *testing.T) {
	authority := root(t, "shop g1")
	trusted := bundle(t, authority)
	wantError(t, server(t, authority, "shop.example").Chain().VerifyClient(trusted, now), "verifying certificate ", "incompatible key usage")
	wantError(t, client(t, authority, "payments").Chain().VerifyServer(trusted, nil, now), "verifying certificate ", "incompatible key usage")
}
