package pki_test

import (
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/testpki"
	"sallyport.dev/sallyport/pkg/pki"
)

// Object identifiers of extensions (RFC 5280 section 4.2.1).
var (
	subjectKeyID     = []int{2, 5, 29, 14}
	basicConstraints = []int{2, 5, 29, 19}
)

func TestBundleOfCAs(t *testing.T) {
	span := testpki.Around(now)
	ca := testpki.Root(t, "ca", span)
	other := testpki.Root(t, "other", span)
	many := make([][]byte, 257)
	for i := range many {
		many[i] = ca.PEM()
	}

	for sentence, row := range map[string]struct {
		cas     []byte
		refusal string
	}{
		"one CA is trusted":             {cas: ca.PEM()},
		"two CAs are trusted":           {cas: join(ca.PEM(), other.PEM())},
		"a CA that is no root may be":   {cas: ca.CA(t, "issuing", span).PEM()},
		"one CA with two keys may be":   {cas: join(ca.PEM(), testpki.Root(t, "ca", span).PEM())},
		"one key with two names may be": {cas: join(ca.PEM(), testpki.RootWith(t, ca.Key, "ca again", span).PEM())},
		"a CA with pathLen 0 may be":    {cas: testpki.Root(t, "ca", span, pathLen(0)).PEM()},
		"a leaf is refused": {
			cas:     join(ca.PEM(), ca.Leaf(t, "shop.example", span).PEM()),
			refusal: "is not a CA (RFC 5280 section 4.2.1.9)",
		},
		"a CA of X.509 version 1 is refused": {
			cas: ca.Edited(t, ca.Key, func(b *testpki.Body) { b.Version, b.Extensions = 0, nil }), refusal: "is not a CA (RFC 5280 section 4.2.1.9)",
		},
		"a CA without basic constraints is refused": {
			cas: ca.Edited(t, ca.Key, func(b *testpki.Body) { b.WithoutExtension(basicConstraints...) }), refusal: "is not a CA",
		},
		"a CA without a subject key identifier is refused": {
			cas: ca.Edited(t, ca.Key, func(b *testpki.Body) { b.WithoutExtension(subjectKeyID...) }), refusal: "has no subject key identifier (RFC 5280 section 4.2.1.2)",
		},
		"a CA that may not sign certificates is refused": {
			cas:     testpki.Root(t, "ca", span, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }).PEM(),
			refusal: "may not sign certificates: key usage keyCertSign is missing (RFC 5280 section 4.2.1.3)",
		},
		"a CA that has ended is refused": {
			cas:     join(ca.PEM(), testpki.Root(t, "old", testpki.Span{From: now.Add(-year), To: now.Add(-time.Second)}).PEM()),
			refusal: "ended at 2026-09-01T11:59:59Z",
		},
		"a CA is good in its last second":  {cas: testpki.Root(t, "old", testpki.Span{From: now.Add(-year), To: now}).PEM()},
		"a CA is good in its first second": {cas: testpki.Root(t, "new", testpki.Span{From: now, To: now.Add(year)}).PEM()},
		"a CA that has not begun is refused": {
			cas:     testpki.Root(t, "new", testpki.Span{From: now.Add(time.Second), To: now.Add(year)}).PEM(),
			refusal: "is not valid before 2026-09-01T12:00:01Z",
		},
		"the same CA twice is refused":  {cas: join(ca.PEM(), other.PEM(), ca.PEM()), refusal: `reading bundle: CA "ca" is in it twice`},
		"more than 256 CAs are refused": {cas: join(many...), refusal: "more than 256 blocks"},
		"no CA is refused":              {cas: nil, refusal: "no block found"},
		"two keys under one name and one key id are refused": {
			cas:     join(ca.PEM(), testpki.Root(t, "ca", span, func(c *x509.Certificate) { c.SubjectKeyId = ca.X509.SubjectKeyId }).PEM()),
			refusal: `reading bundle: two CAs "ca" have the same subject key identifier and different keys`,
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			b, err := pki.ParseBundle(row.cas, nil, now)
			if row.refusal != "" {
				wantError(t, err, row.refusal)
				if !b.IsZero() {
					t.Error("a refused bundle was returned")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(b.CertificatesPEM()) != string(row.cas) || b.CRLsPEM() != nil {
				t.Error("the bundle is not what was read, in its order")
			}
			if next, ok := b.NextUpdate(); ok {
				t.Errorf("next update is %s, expected none without CRLs", next)
			}
		})
	}
}

func TestBundleWithCRLs(t *testing.T) {
	span := testpki.Around(now)
	ca, other := testpki.Root(t, "ca", span), testpki.Root(t, "other", span)
	foreign := testpki.Root(t, "foreign", span)
	namesake := testpki.Root(t, "ca", span) // same name, another key
	noCRLSign := testpki.Root(t, "ca", span, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })
	lateSpan := testpki.Span{From: now.Add(-time.Hour), To: now.Add(time.Hour)}
	caCRL, otherCRL := ca.CRL(t, 1, span), other.CRL(t, 7, lateSpan)

	for sentence, row := range map[string]struct {
		cas, crls, order []byte
		refusal          string
	}{
		"each CA has its CRL":                                {cas: join(ca.PEM(), other.PEM()), crls: join(caCRL, otherCRL)},
		"CRLs in another order than their CAs are sorted":    {cas: join(ca.PEM(), other.PEM()), crls: join(otherCRL, caCRL), order: join(caCRL, otherCRL)},
		"CAs of one name have each its own":                  {cas: join(ca.PEM(), namesake.PEM()), crls: join(namesake.CRL(t, 1, span), caCRL), order: nil},
		"a CRL is good in its first second":                  {cas: ca.PEM(), crls: ca.CRL(t, 1, testpki.Span{From: now, To: now.Add(day)})},
		"a CRL for one CA of two is refused":                 {cas: join(ca.PEM(), other.PEM()), crls: caCRL, refusal: "reading bundle: found 1 CRLs for 2 CAs, expected one for each"},
		"two CRLs of one CA, none of the other, are refused": {cas: join(ca.PEM(), other.PEM()), crls: join(caCRL, ca.CRL(t, 2, span)), refusal: `reading bundle: no CRL is signed by CA "other"`},
		"a CRL too many is refused":                          {cas: ca.PEM(), crls: join(caCRL, otherCRL), refusal: "found 2 CRLs for 1 CAs"},
		"the CRL of a CA that is not in it is refused":       {cas: ca.PEM(), crls: foreign.CRL(t, 1, span), refusal: `no CRL is signed by CA "ca"`},
		"the CRL of a namesake is refused":                   {cas: ca.PEM(), crls: namesake.CRL(t, 1, span), refusal: `no CRL is signed by CA "ca"`},
		"a CRL past its next update is refused": {
			cas: ca.PEM(), crls: ca.CRL(t, 9, testpki.Span{From: now.Add(-day), To: now.Add(-time.Second)}),
			refusal: "CRL 9 ended at 2026-09-01T11:59:59Z",
		},
		"a CRL in the second of its next update is refused": {
			cas: ca.PEM(), crls: ca.CRL(t, 9, testpki.Span{From: now.Add(-day), To: now}), refusal: "CRL 9 ended at 2026-09-01T12:00:00Z",
		},
		"a CRL that has not begun is refused": {
			cas: ca.PEM(), crls: ca.CRL(t, 9, testpki.Span{From: now.Add(time.Minute), To: now.Add(day)}), refusal: "CRL 9 begins at 2026-09-01T12:01:00Z",
		},
		"one stale CRL spoils the bundle": {
			cas: join(ca.PEM(), other.PEM()), crls: join(caCRL, other.CRL(t, 2, testpki.Span{From: now.Add(-day), To: now})), refusal: "CRL 2 ended at",
		},
		"a CRL that the CA may not sign is refused": {
			cas: noCRLSign.PEM(), crls: (testpki.Issued{X509: withCRLSign(t, noCRLSign), Key: noCRLSign.Key}).CRL(t, 1, span), refusal: `no CRL is signed by CA "ca"`,
		},
		"a certificate among the CRLs is refused": {cas: ca.PEM(), crls: join(caCRL, ca.PEM()), refusal: `block 2 is a "CERTIFICATE", expected ["X509 CRL"]`},
	} {
		t.Run(sentence, func(t *testing.T) {
			b, err := pki.ParseBundle(row.cas, row.crls, now)
			if row.refusal != "" {
				wantError(t, err, row.refusal)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if row.order != nil && string(b.CRLsPEM()) != string(row.order) {
				t.Error("CRLs are not in the order of their CAs")
			}
			if again, err := pki.ParseBundle(b.CertificatesPEM(), b.CRLsPEM(), now); err != nil || string(again.CRLsPEM()) != string(b.CRLsPEM()) {
				t.Errorf("reading the bundle again: %v", err)
			}
		})
	}
}

func TestBundleEndsWithTheFirstOfItsCRLs(t *testing.T) {
	ca, other := testpki.Root(t, "ca", testpki.Around(now)), testpki.Root(t, "other", testpki.Around(now))
	early, late := now.Add(time.Hour), now.Add(2*time.Hour)
	for sentence, ends := range map[string][2]time.Time{
		"the first CRL ends first":  {early, late},
		"the second CRL ends first": {late, early},
	} {
		t.Run(sentence, func(t *testing.T) {
			crls := join(ca.CRL(t, 1, testpki.Span{From: now, To: ends[0]}), other.CRL(t, 1, testpki.Span{From: now, To: ends[1]}))
			b, err := pki.ParseBundle(join(ca.PEM(), other.PEM()), crls, now)
			if err != nil {
				t.Fatal(err)
			}
			if next, ok := b.NextUpdate(); !ok || !next.Equal(early) {
				t.Errorf("next update is %s, %t, expected %s", next, ok, early)
			}
		})
	}
}

func TestNewBundleRefusesWhatParseBundleNeverBuilds(t *testing.T) {
	a, b := root(t, "a g1"), root(t, "b g1")
	large := make([]pki.BundleEntry, 257)
	for i := range large {
		large[i].CA = a.Certificate()
	}
	for sentence, row := range map[string]struct {
		entries []pki.BundleEntry
		refusal string
	}{
		"nothing":             {refusal: "making bundle: found 0 CAs, expected 1 to 256"},
		"257 entries":         {entries: large, refusal: "making bundle: found 257 CAs, expected 1 to 256"},
		"the same CA twice":   {entries: []pki.BundleEntry{{CA: a.Certificate()}, {CA: a.Certificate()}}, refusal: `making bundle: CA "a g1" is in it twice`},
		"an entry without CA": {entries: []pki.BundleEntry{{}}, refusal: "making bundle: an entry has no CA"},
		"CRLs for some":       {entries: []pki.BundleEntry{{CA: a.Certificate(), CRL: crl(t, a, 1)}, {CA: b.Certificate()}}, refusal: "some CAs have a CRL and some have none; gateways would refuse every caller of those without"},
		"the CRL of another":  {entries: []pki.BundleEntry{{CA: a.Certificate(), CRL: crl(t, b, 1)}}, refusal: `CRL 1 is of "CN=b g1", expected "CN=a g1"`},
		"a leaf":              {entries: []pki.BundleEntry{{CA: client(t, a, "payments").Leaf()}}, refusal: "is not a CA"},
	} {
		t.Run(sentence, func(t *testing.T) {
			_, err := pki.NewBundle(row.entries, now)
			wantError(t, err, row.refusal)
		})
	}
}

// Sorting out which CRL belongs to which CA takes one signature check for each: all
// pairs would be 65 536 checks. Where names and key ids are chosen so that only a
// check could tell, the bundle is refused before any.
func TestManyCAsOfOneNameAreSortedOutFast(t *testing.T) {
	const count, limit = 200, 2 * time.Second
	for sentence, row := range map[string]struct {
		keyID   []byte
		refusal string
	}{
		"each has its own key id":  {},
		"all have the same key id": {keyID: []byte("the same in all of it"), refusal: "the same subject key identifier and different keys"},
	} {
		t.Run(sentence, func(t *testing.T) {
			var cas, crls []byte
			for range count {
				ca := testpki.Root(t, "ca", testpki.Around(now), func(c *x509.Certificate) { c.SubjectKeyId = row.keyID })
				cas, crls = append(cas, ca.PEM()...), append(ca.CRL(t, 1, testpki.Around(now)), crls...)
			}
			var b pki.Bundle
			var err error
			if taken := fastest(limit, func() { b, err = pki.ParseBundle(cas, crls, now) }); taken > limit {
				t.Errorf("took %s, expected at most %s", taken, limit)
			}
			if row.refusal != "" {
				wantError(t, err, row.refusal)
				return
			}
			if err != nil || len(b.Certificates()) != count {
				t.Errorf("found %d CAs, %v", len(b.Certificates()), err)
			}
		})
	}
}

func pathLen(n int) testpki.Option {
	return func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = n, n == 0 }
}

// withCRLSign pretends that a CA may sign CRLs, so that crypto/x509 lets it.
func withCRLSign(t testing.TB, ca testpki.Issued) *x509.Certificate {
	t.Helper()
	copied, err := x509.ParseCertificate(ca.X509.Raw)
	if err != nil {
		t.Fatal(fmt.Errorf("copying certificate: %w", err))
	}
	copied.KeyUsage |= x509.KeyUsageCRLSign
	return copied
}
