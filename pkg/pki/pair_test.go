package pki_test

import (
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/testpki"
	"sallyport.dev/sallyport/pkg/pki"
)

func TestParsePair(t *testing.T) {
	span := testpki.Around(now)
	ca := testpki.Root(t, "ca", span)
	issuing := ca.CA(t, "issuing", span)
	leaf, other := issuing.Leaf(t, "shop.example", span), issuing.Leaf(t, "other.example", span)
	long := leaf.PEM()
	for range 8 {
		long = append(long, issuing.PEM()...)
	}

	for sentence, row := range map[string]struct {
		certificates, key []byte
		refusal           string
	}{
		"a leaf and its key":                      {certificates: leaf.PEM(), key: leaf.KeyPEM(t)},
		"a chain and the key of its leaf":         {certificates: join(leaf.PEM(), issuing.PEM()), key: leaf.KeyPEM(t)},
		"a chain with its root":                   {certificates: join(leaf.PEM(), issuing.PEM(), ca.PEM()), key: leaf.KeyPEM(t)},
		"the key of another leaf is refused":      {certificates: leaf.PEM(), key: other.KeyPEM(t), refusal: "reading pair: the private key does not belong to certificate " + mustSerial(t, leaf.X509.SerialNumber.Text(16)).String()},
		"the key of the CA is refused":            {certificates: join(leaf.PEM(), issuing.PEM()), key: issuing.KeyPEM(t), refusal: "reading pair: the private key does not belong to certificate"},
		"a chain in the wrong order is refused":   {certificates: join(issuing.PEM(), leaf.PEM()), key: leaf.KeyPEM(t), refusal: "reading chain: certificate " + mustSerial(t, issuing.X509.SerialNumber.Text(16)).String() + " is a CA, expected the leaf first"},
		"a chain with a gap is refused":           {certificates: join(leaf.PEM(), ca.PEM()), key: leaf.KeyPEM(t), refusal: "is not signed by the next in the chain"},
		"a leaf after the leaf is refused":        {certificates: join(leaf.PEM(), other.PEM()), key: leaf.KeyPEM(t), refusal: "is not signed by the next in the chain"},
		"a chain of nine certificates is refused": {certificates: long, key: leaf.KeyPEM(t), refusal: "reading chain: reading PEM: more than 8 blocks"},
		"a key among certificates is refused":     {certificates: join(leaf.PEM(), leaf.KeyPEM(t)), key: leaf.KeyPEM(t), refusal: `block 2 is a "PRIVATE KEY"`},
		"swapped arguments are refused":           {certificates: leaf.KeyPEM(t), key: leaf.PEM(), refusal: `reading chain: reading PEM: block 1 is a "PRIVATE KEY", expected ["CERTIFICATE"]`},
		"no certificate is refused":               {key: leaf.KeyPEM(t), refusal: "reading chain: reading PEM: no block found"},
		"no key is refused":                       {certificates: leaf.PEM(), refusal: "reading private key: reading PEM: no block found"},
		"more than 64 KiB are refused unread":     {certificates: make([]byte, 64<<10+1), key: leaf.KeyPEM(t), refusal: "65537 bytes, at most 65536 are read"},
	} {
		t.Run(sentence, func(t *testing.T) {
			pair, err := pki.ParsePair(row.certificates, row.key)
			if row.refusal != "" {
				wantError(t, err, row.refusal)
				if !pair.IsZero() {
					t.Error("a refused pair was returned")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(pair.CertificatePEM()) != string(row.certificates) || string(pair.KeyPEM()) != string(row.key) {
				t.Error("the pair is not what was read")
			}
			again, err := pki.ParsePair(pair.CertificatePEM(), pair.KeyPEM())
			if err != nil || !again.Equal(pair) || again.Equal(pki.Pair{}) {
				t.Errorf("reading the pair again: %v", err)
			}
		})
	}
}

func TestVerifyServer(t *testing.T) {
	ca := testpki.Root(t, "ca", testpki.Around(now))
	leaf := ca.Leaf(t, "shop.example", testpki.Span{From: now.Add(-time.Minute), To: now.Add(time.Minute)})
	wildcard := ca.Leaf(t, "*.shop.example", testpki.Around(now))
	noName := ca.Leaf(t, "shop.example", testpki.Around(now), func(c *x509.Certificate) { c.DNSNames = nil })
	chain := func(issued testpki.Issued) pki.Chain { return mustChain(t, issued.PEM()) }
	trusted := mustBundle(t, ca.PEM(), nil)

	for sentence, row := range map[string]struct {
		chain   pki.Chain
		trusted pki.Bundle
		hosts   []string
		at      time.Duration
		refusal string
	}{
		"its name":            {chain: chain(leaf), trusted: trusted, hosts: []string{"shop.example"}},
		"no name asked for":   {chain: chain(leaf), trusted: trusted},
		"the wildcard itself": {chain: chain(wildcard), trusted: trusted, hosts: []string{"*.shop.example"}},
		"the last second":     {chain: chain(leaf), trusted: trusted, at: time.Minute},
		"a name below the wildcard is another one": {chain: chain(wildcard), trusted: trusted, hosts: []string{"a.shop.example"}, refusal: `host "a.shop.example" is not among its names ["*.shop.example"]`},
		"another name":             {chain: chain(leaf), trusted: trusted, hosts: []string{"shop.example", "x.example"}, refusal: `host "x.example" is not among its names ["shop.example"]`},
		"a common name is no name": {chain: chain(noName), trusted: trusted, hosts: []string{"shop.example"}, refusal: `host "shop.example" is not among its names []`},
		"a second too late":        {chain: chain(leaf), trusted: trusted, at: time.Minute + time.Second, refusal: "at 2026-09-01T12:01:01Z: x509: certificate has expired"},
		"a second too early":       {chain: chain(leaf), trusted: trusted, at: -time.Minute - time.Second, refusal: "at 2026-09-01T11:58:59Z: x509: certificate has expired or is not yet valid"},
		"a CA that is not trusted": {chain: chain(leaf), trusted: mustBundle(t, testpki.Root(t, "ca", testpki.Around(now)).PEM(), nil), refusal: "signed by unknown authority"},
		"nothing is trusted":       {chain: chain(leaf), refusal: "signed by unknown authority"},
		"no chain":                 {trusted: trusted, refusal: "verifying chain: it is empty"},
	} {
		t.Run(sentence, func(t *testing.T) {
			err := row.chain.VerifyServer(row.trusted, row.hosts, now.Add(row.at))
			if row.refusal != "" {
				wantError(t, err, row.refusal)
				return
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPathsLongerThanTheirCAsAllowAreRefused(t *testing.T) {
	span := testpki.Around(now)
	for sentence, row := range map[string]struct {
		options []testpki.Option
		below   int
		refusal string
	}{
		"pathLen 0 signs leaves":              {options: []testpki.Option{pathLen(0)}, below: 0},
		"pathLen 0 signs no CA":               {options: []testpki.Option{pathLen(0)}, below: 1, refusal: "too many intermediates for path length constraint"},
		"pathLen 1 has one CA below":          {options: []testpki.Option{pathLen(1)}, below: 1},
		"pathLen 1 has no two CAs below":      {options: []testpki.Option{pathLen(1)}, below: 2, refusal: "too many intermediates for path length constraint"},
		"without pathLen any number is below": {below: 3},
	} {
		t.Run(sentence, func(t *testing.T) {
			ca := testpki.Root(t, "ca", span, row.options...)
			issuer, above := ca, []byte(nil)
			for i := range row.below {
				issuer = issuer.CA(t, string(rune('a'+i)), span)
				above = join(issuer.PEM(), above)
			}
			chain := mustChain(t, join(issuer.Leaf(t, "shop.example", span).PEM(), above))
			err := chain.VerifyServer(mustBundle(t, ca.PEM(), nil), nil, now)
			if row.refusal != "" {
				wantError(t, err, row.refusal)
				return
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestVerifyClientKnowsTheRevoked(t *testing.T) {
	span := testpki.Around(now)
	ca, other := testpki.Root(t, "ca", span), testpki.Root(t, "other", span)
	issuing := ca.CA(t, "issuing", span)
	leaf := ca.Leaf(t, "payments", span)
	below := issuing.Leaf(t, "payments", span)
	serial := leaf.X509.SerialNumber
	leafWithoutKeyID := leaf.Edited(t, ca.Key, func(b *testpki.Body) { b.WithoutExtension(2, 5, 29, 35) })

	for sentence, row := range map[string]struct {
		chain     []byte
		cas, crls []byte
		refusal   string
	}{
		"a bundle without CRLs revokes nobody":                            {chain: leaf.PEM(), cas: ca.PEM()},
		"an empty CRL revokes nobody":                                     {chain: leaf.PEM(), cas: ca.PEM(), crls: ca.CRL(t, 1, span)},
		"another serial number is not this one":                           {chain: leaf.PEM(), cas: ca.PEM(), crls: ca.CRL(t, 1, span, new(big.Int).Add(serial, bigInt(1)))},
		"the same serial number of another CA is neither":                 {chain: leaf.PEM(), cas: join(ca.PEM(), other.PEM()), crls: join(ca.CRL(t, 1, span), other.CRL(t, 1, span, serial))},
		"a listed leaf is revoked":                                        {chain: leaf.PEM(), cas: ca.PEM(), crls: ca.CRL(t, 1, span, bigInt(9), serial), refusal: "is revoked by CRL 1 of "},
		"a listed leaf under the second CA is revoked":                    {chain: leaf.PEM(), cas: join(other.PEM(), ca.PEM()), crls: join(other.CRL(t, 1, span), ca.CRL(t, 1, span, serial)), refusal: "is revoked by CRL 1 of "},
		"a listed leaf that names no key of its issuer is":                {chain: leafWithoutKeyID, cas: ca.PEM(), crls: ca.CRL(t, 1, span, serial), refusal: "is revoked by CRL 1 of "},
		"a leaf below a listed CA is revoked":                             {chain: join(below.PEM(), issuing.PEM()), cas: join(ca.PEM(), issuing.PEM()), crls: join(ca.CRL(t, 1, span, issuing.X509.SerialNumber), issuing.CRL(t, 1, span)), refusal: "is revoked by CRL 1 of "},
		"a leaf below a CA with its own CRL is taken":                     {chain: join(below.PEM(), issuing.PEM()), cas: join(ca.PEM(), issuing.PEM()), crls: join(ca.CRL(t, 1, span), issuing.CRL(t, 1, span))},
		"a leaf below a CA without CRL is refused":                        {chain: join(below.PEM(), issuing.PEM()), cas: ca.PEM(), crls: ca.CRL(t, 1, span), refusal: "the bundle has CRLs, but none of its issuer \"CN=issuing\""},
		"a leaf below a CA without CRL is taken where nothing is revoked": {chain: join(below.PEM(), issuing.PEM()), cas: ca.PEM()},
	} {
		t.Run(sentence, func(t *testing.T) {
			err := mustChain(t, row.chain).VerifyClient(mustBundle(t, row.cas, row.crls), now)
			if row.refusal != "" {
				wantError(t, err, "verifying certificate ", row.refusal)
				return
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func mustChain(t testing.TB, data []byte) pki.Chain {
	t.Helper()
	chain, err := pki.ParseChain(data)
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

func mustBundle(t testing.TB, cas, crls []byte) pki.Bundle {
	t.Helper()
	b, err := pki.ParseBundle(cas, crls, now)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
