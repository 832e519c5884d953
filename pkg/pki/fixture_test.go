package pki_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/testpki"
	"sallyport.dev/sallyport/pkg/pki"
)

// now is the instant of all tests: no table depends on the day it runs.
var now = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// wantError fails unless the error says every part, in this order.
func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("found no error, expected one that says %q", parts)
	}
	rest := err.Error()
	for _, part := range parts {
		_, after, found := strings.Cut(rest, part)
		if !found {
			t.Fatalf("error is\n%s\nexpected it to say %q (in this order: %q)", err, part, parts)
		}
		rest = after
	}
}

func generateKey(t testing.TB, a pki.Algorithm) pki.Key {
	t.Helper()
	key, err := pki.GenerateKey(a)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func root(t testing.TB, name string) pki.Authority {
	t.Helper()
	return rootAt(t, name, year, now)
}

func rootAt(t testing.TB, name string, lifetime time.Duration, at time.Time) pki.Authority {
	t.Helper()
	authority, err := pki.NewRoot(pki.RootRequest{CommonName: name, Key: generateKey(t, pki.ECDSAP256), Lifetime: lifetime}, at)
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

// authorityFrom takes a CA that testpki made.
func authorityFrom(t testing.TB, ca testpki.Issued) pki.Authority {
	t.Helper()
	authority, err := pki.ParseAuthority(ca.PEM(), ca.KeyPEM(t))
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

func server(t testing.TB, a pki.Authority, hosts ...string) pki.Pair {
	t.Helper()
	pair, err := a.IssueServer(pki.ServerRequest{Hosts: hosts, Key: generateKey(t, pki.ECDSAP256), Lifetime: 90 * day}, now)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func client(t testing.TB, a pki.Authority, name string) pki.Pair {
	t.Helper()
	pair, err := a.IssueClient(clientRequest(name), generateKey(t, pki.ECDSAP256), now)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func clientRequest(name string) pki.ClientRequest {
	return pki.ClientRequest{CommonName: name, Identity: "spiffe://cluster.local/ns/shop/client/" + name, Lifetime: 30 * day}
}

func crl(t testing.TB, a pki.Authority, number int64, revoked ...pki.Serial) pki.CRL {
	t.Helper()
	request := pki.CRLRequest{Number: bigInt(number), NextUpdate: now.Add(7 * day)}
	for _, serial := range revoked {
		request.Entries = append(request.Entries, pki.Revoked{Serial: serial, At: now.Add(-time.Minute), Reason: 1})
	}
	list, err := a.SignCRL(request, now)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// bundle trusts the authorities without revocation.
func bundle(t testing.TB, authorities ...pki.Authority) pki.Bundle {
	t.Helper()
	entries := make([]pki.BundleEntry, len(authorities))
	for i, a := range authorities {
		entries[i].CA = a.Certificate()
	}
	b, err := pki.NewBundle(entries, now)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
