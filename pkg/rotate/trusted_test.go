package rotate

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/testpki"
	"sallyport.dev/sallyport/pkg/pki"
)

// partnerYear is the validity of a partner's CAs here, partnerMonth that of their CRLs.
var (
	partnerYear  = testpki.Span{From: start.Add(-time.Hour), To: start.Add(8760 * time.Hour)}
	partnerMonth = testpki.Span{From: start.Add(-time.Hour), To: start.Add(720 * time.Hour)}
)

func pems(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// CAs of others are trusted beside the authority's own as long as a gateway would work with all
// of it. What is wrong with one holds up no other.
func TestTrustAlso(t *testing.T) {
	s := settings()
	own := established(t, s)
	partner := testpki.Root(t, "partner", partnerYear)
	issuing := partner.CA(t, "partner issuing", partnerYear)
	other := testpki.Root(t, "other", partnerYear)
	crl := func(of testpki.Issued) []byte { return of.CRL(t, 1, partnerMonth) }
	ours := own.generations[0].Authority.Certificate()

	for sentence, row := range map[string]struct {
		cas, crls  []byte
		without    bool // revocation None
		at         time.Duration
		compromise []string
		leftOut    string
		adds       int
	}{
		"a root with its CRL is trusted":                 {cas: partner.PEM(), crls: crl(partner), adds: 1},
		"a CA and its root with both CRLs are trusted":   {cas: pems(issuing.PEM(), partner.PEM()), crls: pems(crl(partner), crl(issuing)), adds: 2},
		"without revocation no CRL is needed":            {cas: pems(issuing.PEM(), partner.PEM()), without: true, adds: 2},
		"without revocation a CA alone is trusted":       {cas: issuing.PEM(), without: true, adds: 1},
		"a CRL that nobody checks is no protection":      {cas: partner.PEM(), crls: crl(partner), without: true, leftOut: "gateways check none, as the condition RevocationCurrent of the authority tells"},
		"one without a CRL is left out":                  {cas: partner.PEM(), leftOut: "it states no CRL"},
		"a CA without its root is left out":              {cas: issuing.PEM(), crls: crl(issuing), leftOut: "none of its issuer"},
		"a CA whose root has no CRL is left out":         {cas: pems(issuing.PEM(), partner.PEM()), crls: crl(issuing), leftOut: "found 1 CRLs for 2 CAs"},
		"a CRL of somebody else is refused":              {cas: partner.PEM(), crls: crl(other), leftOut: `no CRL is signed by CA "partner"`},
		"a CRL in its last second is good":               {cas: partner.PEM(), crls: crl(partner), at: 720*time.Hour - time.Second, adds: 1},
		"a CRL that has ended is left out":               {cas: partner.PEM(), crls: crl(partner), at: 720 * time.Hour, leftOut: "ended at 2026-03-31T12:00:00Z"},
		"a CA that has ended is left out":                {cas: partner.PEM(), without: true, at: 8761 * time.Hour, leftOut: "ended at"},
		"a CA that has not begun is left out":            {cas: testpki.Root(t, "new", testpki.Span{From: start.Add(time.Hour), To: start.Add(9000 * time.Hour)}).PEM(), without: true, leftOut: "is not valid before"},
		"a leaf is left out":                             {cas: partner.Leaf(t, "shop.example", partnerYear).PEM(), without: true, leftOut: "is not a CA"},
		"one that may not sign certificates is":          {cas: testpki.Root(t, "x", partnerYear, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }).PEM(), without: true, leftOut: "keyCertSign is missing"},
		"garbage is left out":                            {cas: []byte("garbage"), leftOut: "text outside of a block"},
		"nothing is left out":                            {leftOut: "no block found"},
		"a key is no CA":                                 {cas: partner.KeyPEM(t), without: true, leftOut: "reading its CAs"},
		"a CRL of garbage is left out":                   {cas: partner.PEM(), crls: []byte("garbage"), leftOut: "reading CRL"},
		"the same CA twice is left out":                  {cas: pems(partner.PEM(), partner.PEM()), without: true, leftOut: "is in it twice"},
		"a mebibyte of CAs is left out":                  {cas: bytes.Repeat(partner.PEM(), 2000), without: true, leftOut: "at most"},
		"the authority's own generation is no partner":   {cas: ours.PEM(), without: true, leftOut: "is generation g1 of the authority itself"},
		"nor is its key under another name":              {cas: disguise(t, own), without: true, leftOut: "is generation g1 of the authority itself"},
		"a compromised key does not come back disguised": {cas: partner.PEM(), without: true, compromise: []string{certificateOf(t, partner).SubjectKeyID()}, leftOut: "is compromised"},
	} {
		t.Run(sentence, func(t *testing.T) {
			now := start.Add(row.at)
			s, own := s, own
			if s.Revocation = !row.without; s.Revocation && row.at > 0 {
				own = refreshed(t, own, s, now)
			}
			bundle, err := own.Bundle(s.Revocation, now)
			if err != nil {
				t.Fatal(err)
			}
			trusted := []TrustedCertificate{
				ParseTrustedCertificate("row", row.cas, row.crls),
				ParseTrustedCertificate("after", other.PEM(), nil),
			}
			if s.Revocation {
				trusted[1] = ParseTrustedCertificate("after", other.PEM(), other.CRL(t, 1, testpki.Span{From: start, To: now.Add(time.Hour)}))
			}
			if row.at > 8760*time.Hour {
				trusted = trusted[:1]
			}
			got, standings := own.TrustAlso(bundle, trusted, compromised(s, row.compromise), now)
			standing := standings[0]
			if row.leftOut == "" {
				if standing.LeftOut != nil {
					t.Fatalf("left out: %v", standing.LeftOut)
				}
			} else if standing.LeftOut == nil || !strings.Contains(standing.LeftOut.Error(), row.leftOut) {
				t.Fatalf("left out because %v, expected %q", standing.LeftOut, row.leftOut)
			}
			if found, want := len(got.Certificates()), len(bundle.Certificates())+row.adds+len(trusted)-1; found != want {
				t.Errorf("%d CAs are trusted, expected %d: an entry holds up no other", found, want)
			}
			if !got.Certificates()[0].Equal(ours) {
				t.Error("the authority's own CA is not the first any more")
			}
		})
	}
}

func certificateOf(t *testing.T, i testpki.Issued) pki.Certificate {
	t.Helper()
	certificates, err := pki.ParseCertificates(i.PEM())
	if err != nil {
		t.Fatal(err)
	}
	return certificates[0]
}

func compromised(s AuthoritySettings, ids []string) AuthoritySettings {
	s.Rotation.Compromised = ids
	return s
}

// disguise is a certificate of the authority's own key with another name and another key id.
func disguise(t *testing.T, own Ledger) []byte {
	t.Helper()
	block, _ := pem.Decode(own.generations[0].Authority.Key().PEM())
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		t.Fatalf("key is a %T", key)
	}
	return testpki.RootWith(t, signer, "harmless", partnerYear, func(c *x509.Certificate) { c.SubjectKeyId = []byte{1, 2, 3} }).PEM()
}

// refreshed is a ledger with CRLs that are fresh at now.
func refreshed(t *testing.T, l Ledger, s AuthoritySettings, now time.Time) Ledger {
	t.Helper()
	after, err := MaterializeAuthority(l, PlanAuthority(l, s, Evidence{}, now), s, now)
	if err != nil {
		t.Fatal(err)
	}
	return after
}

// Two partners may stand under the same root.
func TestPartnersUnderOneRoot(t *testing.T) {
	s := settings()
	own := established(t, s)
	root := testpki.Root(t, "exchange", partnerYear)
	first, second := root.CA(t, "first", partnerYear), root.CA(t, "second", partnerYear)
	bundle, err := own.Bundle(true, start)
	if err != nil {
		t.Fatal(err)
	}
	var trusted []TrustedCertificate
	for name, ca := range map[string]testpki.Issued{"first": first, "second": second} {
		trusted = append(trusted, ParseTrustedCertificate(name, pems(ca.PEM(), root.PEM()), pems(ca.CRL(t, 1, partnerMonth), root.CRL(t, 1, partnerMonth))))
	}
	got, standings := own.TrustAlso(bundle, trusted, s, start)
	for _, s := range standings {
		if s.LeftOut != nil {
			t.Errorf("%s is left out: %v", s.Name, s.LeftOut)
		}
	}
	if n := len(got.Certificates()); n != 4 {
		t.Errorf("%d CAs are trusted, expected 4", n)
	}
	for name, ca := range map[string]testpki.Issued{"first": first, "second": second} {
		leaf, err := pki.ParseChain(ca.Leaf(t, "caller", partnerYear).PEM())
		if err != nil {
			t.Fatal(err)
		}
		if err := leaf.VerifyClient(got, start); err != nil {
			t.Errorf("a caller of %s is refused: %v", name, err)
		}
	}
}

// What fits goes by the order of the entries.
func TestWhatDoesNotFitIsLeftOut(t *testing.T) {
	s := settings()
	s.Revocation = false
	own := established(t, s)
	bundle, err := own.Bundle(false, start)
	if err != nil {
		t.Fatal(err)
	}
	many := manyRoots(t, 200)
	small := testpki.Root(t, "small", partnerYear)
	got, standings := own.TrustAlso(bundle, []TrustedCertificate{
		ParseTrustedCertificate("many", many, nil),
		ParseTrustedCertificate("the same again", many, nil),
		ParseTrustedCertificate("more", manyRoots(t, 60), nil),
		ParseTrustedCertificate("small", small.PEM(), nil),
	}, s, start)
	var out []string
	for _, s := range standings {
		if s.LeftOut != nil {
			out = append(out, s.Name)
		}
	}
	if len(out) != 1 || out[0] != "more" {
		t.Errorf("left out: %v, expected more", out)
	}
	if n := len(got.Certificates()); n != 202 {
		t.Errorf("%d CAs, expected 202", n)
	}
}

func manyRoots(t *testing.T, n int) []byte {
	t.Helper()
	var all []byte
	for range n {
		all = append(all, testpki.Root(t, "another", partnerYear).PEM()...)
	}
	return all
}

// The passing of time has a plan of its own: when to look, and when to remind the owner.
func TestHowATrustedCertificateStandsInTime(t *testing.T) {
	s := settings()
	own := established(t, s)
	bundle, err := own.Bundle(true, start)
	if err != nil {
		t.Fatal(err)
	}
	partner := testpki.Root(t, "partner", testpki.Span{From: start.Add(-time.Hour), To: start.Add(999 * time.Hour)})
	crl := partner.CRL(t, 1, testpki.Span{From: start.Add(time.Hour), To: start.Add(101 * time.Hour)})
	_, standings := own.TrustAlso(bundle, []TrustedCertificate{ParseTrustedCertificate("partner", partner.PEM(), crl)}, s, start)
	got := standings[0]
	if got.LeftOut == nil || !strings.Contains(got.LeftOut.Error(), "begins at") {
		t.Errorf("left out because %v, expected that its CRL has not begun", got.LeftOut)
	}
	for what, pair := range map[string][2]time.Time{
		"the end is that of the CRL":                {got.NotAfter, start.Add(101 * time.Hour)},
		"the owner has nine tenths of its validity": {got.Expected, start.Add(91 * time.Hour)},
		"it begins to be good":                      {got.Next, start.Add(time.Hour)},
	} {
		if !pair[0].Equal(pair[1]) {
			t.Errorf("%s: %s, expected %s", what, pair[0], pair[1])
		}
	}
	_, standings = own.TrustAlso(bundle, []TrustedCertificate{ParseTrustedCertificate("partner", partner.PEM(), crl)}, s, start.Add(2*time.Hour))
	if got := standings[0]; got.LeftOut != nil || !got.Next.Equal(start.Add(101*time.Hour)) {
		t.Errorf("left out because %v, next look at %s", got.LeftOut, got.Next)
	}
	_, standings = own.TrustAlso(bundle, []TrustedCertificate{ParseTrustedCertificate("garbage", []byte("x"), nil)}, s, start)
	if got := standings[0]; !got.NotAfter.IsZero() || !got.Next.IsZero() {
		t.Errorf("what cannot be read ends at %s and changes at %s", got.NotAfter, got.Next)
	}
}
