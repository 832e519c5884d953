package pki_test

import (
	"bytes"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/internal/testpki"
	"sallyport.dev/sallyport/pkg/pki"
)

func TestNewRoot(t *testing.T) {
	authority := rootAt(t, "shop g1", year, now.Add(999*time.Millisecond))
	got := authority.Certificate().X509()

	type facts struct {
		Subject, Issuer     string
		CA                  bool
		PathLen             int
		Usage               x509.KeyUsage
		ExtendedUsages      int
		NotBefore, NotAfter time.Time
	}
	want := facts{
		Subject: "CN=shop g1", Issuer: "CN=shop g1", CA: true, PathLen: 1,
		Usage:     x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		NotBefore: now.Add(-10 * time.Minute), NotAfter: now.Add(year),
	}
	found := facts{got.Subject.String(), got.Issuer.String(), got.IsCA, got.MaxPathLen, got.KeyUsage, len(got.ExtKeyUsage) + len(got.UnknownExtKeyUsage), got.NotBefore, got.NotAfter}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("root differs (-want +found):\n%s", diff)
	}
	if id, _ := authority.Key().ID(); id != authority.Certificate().SubjectKeyID() || id != authority.Certificate().AuthorityKeyID() {
		t.Errorf("key ids are %s and %s, expected %s", authority.Certificate().SubjectKeyID(), authority.Certificate().AuthorityKeyID(), id)
	}
	if !authority.SelfSigned() || authority.IsZero() || (pki.Authority{}).SelfSigned() || !(pki.Authority{}).IsZero() {
		t.Error("SelfSigned or IsZero is wrong")
	}
}

func TestNewRootRefuses(t *testing.T) {
	key := generateKey(t, pki.ECDSAP256)
	for sentence, row := range map[string]struct {
		request pki.RootRequest
		refusal string
	}{
		"no name":                             {pki.RootRequest{Key: key, Lifetime: day}, "common name has 0 bytes, expected 1 to 64"},
		"a name of 65 bytes":                  {pki.RootRequest{CommonName: strings.Repeat("x", 65), Key: key, Lifetime: day}, "common name has 65 bytes, expected 1 to 64"},
		"no lifetime":                         {pki.RootRequest{CommonName: "ca", Key: key}, "lifetime is 0s, expected at least 1s"},
		"a negative lifetime":                 {pki.RootRequest{CommonName: "ca", Key: key, Lifetime: -day}, "lifetime is -24h0m0s, expected at least 1s"},
		"an end that certificates cannot say": {pki.RootRequest{CommonName: "ca", Key: key, Lifetime: 1<<63 - 1}, ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			at := now
			if row.refusal == "" {
				at, row.refusal = now.AddDate(7900, 0, 0), "which ends after the year 9999"
			}
			authority, err := pki.NewRoot(row.request, at)
			wantError(t, err, "making root: ", row.refusal)
			if !authority.IsZero() {
				t.Error("a refused root was returned")
			}
		})
	}
}

func TestParseAuthority(t *testing.T) {
	span := testpki.Around(now)
	ca, other := testpki.Root(t, "ca", span), testpki.Root(t, "other", span)
	leaf := ca.Leaf(t, "shop.example", span)
	ed := testpki.KeyPEM(t, rsaKey(t, 1024))

	for sentence, row := range map[string]struct {
		certificate, key []byte
		refusal          string
	}{
		"a root with its key is read":          {certificate: ca.PEM(), key: ca.KeyPEM(t)},
		"an intermediate CA with its key is":   {certificate: other.CA(t, "issuing", span).PEM(), key: nil},
		"a CA that has ended is read":          {certificate: testpki.RootWith(t, ca.Key, "ca", testpki.Span{From: now.Add(-year), To: now.Add(-day)}).PEM(), key: ca.KeyPEM(t)},
		"the key of another CA is refused":     {certificate: ca.PEM(), key: other.KeyPEM(t), refusal: "reading CA: the private key does not belong to certificate " + mustSerial(t, ca.X509.SerialNumber.Text(16)).String()},
		"a leaf is refused":                    {certificate: leaf.PEM(), key: leaf.KeyPEM(t), refusal: "is not a CA"},
		"two certificates are refused":         {certificate: join(ca.PEM(), other.PEM()), key: ca.KeyPEM(t), refusal: "reading CA: reading PEM: more than 1 blocks"},
		"swapped arguments are refused":        {certificate: ca.KeyPEM(t), key: ca.PEM(), refusal: `reading CA: reading PEM: block 1 is a "PRIVATE KEY", expected ["CERTIFICATE"]`},
		"a certificate in the place of a key":  {certificate: ca.PEM(), key: ca.PEM(), refusal: `reading CA: reading private key: reading PEM: block 1 is a "CERTIFICATE"`},
		"a weak key is refused":                {certificate: ca.PEM(), key: ed, refusal: "RSA key has 1024 bits"},
		"a CA without a subject key id is not": {certificate: ca.Edited(t, ca.Key, func(b *testpki.Body) { b.WithoutExtension(subjectKeyID...) }), key: ca.KeyPEM(t), refusal: "has no subject key identifier"},
	} {
		t.Run(sentence, func(t *testing.T) {
			if row.key == nil {
				issuing := other.CA(t, "issuing", span)
				row.certificate, row.key = issuing.PEM(), issuing.KeyPEM(t)
			}
			authority, err := pki.ParseAuthority(row.certificate, row.key)
			if row.refusal != "" {
				wantError(t, err, row.refusal)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(authority.Certificate().PEM()) != string(row.certificate) || string(authority.Key().PEM()) != string(row.key) {
				t.Error("the CA is not what was read")
			}
		})
	}
}

func TestBackdate(t *testing.T) {
	for sentence, row := range map[string]struct{ lifetime, want time.Duration }{
		"ten minutes for a long life":       {90 * day, 10 * time.Minute},
		"ten minutes for a hundred minutes": {100 * time.Minute, 10 * time.Minute},
		"a tenth of less than that":         {time.Hour, 6 * time.Minute},
		"six seconds of a minute":           {time.Minute, 6 * time.Second},
		"a tenth of a second of a second":   {time.Second, 100 * time.Millisecond},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := pki.Backdate(row.lifetime); got != row.want {
				t.Errorf("found %s, expected %s", got, row.want)
			}
		})
	}
}

func TestALeafLivesInsideItsCA(t *testing.T) {
	at := func(from, to time.Duration) testpki.Span { return testpki.Span{From: now.Add(from), To: now.Add(to)} }
	for sentence, row := range map[string]struct {
		ca       testpki.Span
		lifetime time.Duration
		want     testpki.Span
		refusal  string
	}{
		"a leaf well inside is back-dated":        {ca: at(-year, year), lifetime: 90 * day, want: at(-10*time.Minute, 90*day)},
		"a short leaf is back-dated less":         {ca: at(-year, year), lifetime: time.Minute, want: at(-6*time.Second, time.Minute)},
		"back-dating stops at the CA's beginning": {ca: at(-time.Minute, year), lifetime: 90 * day, want: at(-time.Minute, 90*day)},
		"the leaf ends with the CA":               {ca: at(-year, day), lifetime: 90 * day, want: at(-10*time.Minute, day)},
		"both ends are the CA's":                  {ca: at(0, time.Second), lifetime: 90 * day, want: at(0, time.Second)},
		"a CA that has ended signs nothing":       {ca: at(-year, -time.Second), lifetime: day, refusal: `signing with CA "ca": certificate `},
		"a CA that has not begun signs nothing":   {ca: at(time.Second, year), lifetime: day, refusal: "is not valid before 2026-09-01T12:00:01Z"},
		"a lifetime under a second is refused":    {ca: at(-year, year), lifetime: time.Second - 1, refusal: "lifetime is 999.999999ms, expected at least 1s"},
	} {
		t.Run(sentence, func(t *testing.T) {
			authority := authorityFrom(t, testpki.Root(t, "ca", row.ca))
			pair, err := authority.IssueServer(pki.ServerRequest{Hosts: []string{"shop.example"}, Key: generateKey(t, pki.ECDSAP256), Lifetime: row.lifetime}, now)
			if row.refusal != "" {
				wantError(t, err, "issuing server certificate for shop.example: ", row.refusal)
				if !pair.IsZero() {
					t.Error("a refused pair was returned")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := (testpki.Span{From: pair.Leaf().NotBefore(), To: pair.Leaf().NotAfter()}); got != row.want {
				t.Errorf("valid from %s to %s, expected %s to %s", got.From, got.To, row.want.From, row.want.To)
			}
		})
	}
}

func TestAChainHoldsAllButTheRoot(t *testing.T) {
	rootCA := testpki.Root(t, "root", testpki.Around(now))
	issuing := rootCA.CA(t, "issuing", testpki.Around(now))
	for sentence, row := range map[string]struct {
		by   testpki.Issued
		want int
	}{
		"under a root it is the leaf alone":               {rootCA, 1},
		"under an intermediate CA that one comes with it": {issuing, 2},
	} {
		t.Run(sentence, func(t *testing.T) {
			pair := server(t, authorityFrom(t, row.by), "shop.example")
			if got := bytes.Count(pair.CertificatePEM(), []byte("BEGIN CERTIFICATE")); got != row.want {
				t.Errorf("found %d certificates, expected %d", got, row.want)
			}
			trusted, err := pki.ParseBundle(rootCA.PEM(), nil, now)
			if err != nil {
				t.Fatal(err)
			}
			if err := pair.Chain().VerifyServer(trusted, []string{"shop.example"}, now); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTheZeroAuthoritySignsNothing(t *testing.T) {
	_, err := (pki.Authority{}).IssueServer(pki.ServerRequest{Hosts: []string{"shop.example"}, Key: generateKey(t, pki.ECDSAP256), Lifetime: day}, now)
	wantError(t, err, "issuing server certificate for shop.example: there is no CA to sign with")
	_, err = (pki.Authority{}).IssueClient(clientRequest("payments"), generateKey(t, pki.ECDSAP256), now)
	wantError(t, err, "issuing client certificate for spiffe://cluster.local/ns/shop/client/payments: there is no CA to sign with")
}

func TestCrossSignedAuthorityIsVerifiedByThoseWhoKnowItsSignerAlone(t *testing.T) {
	current, next := root(t, "current"), root(t, "next")
	cross, err := current.CrossSign(next.Certificate(), now)
	if err != nil {
		t.Fatal(err)
	}
	if c := cross.X509(); !c.MaxPathLenZero || c.Subject.CommonName != "next" || cross.SubjectKeyID() != next.Certificate().SubjectKeyID() {
		t.Errorf("cross-signed certificate of %q, key %s, path length %d", c.Subject.CommonName, cross.SubjectKeyID(), c.MaxPathLen)
	}
	through, err := next.Through(cross)
	if err != nil {
		t.Fatal(err)
	}
	key := generateKey(t, pki.ECDSAP256)
	hosts := []string{"a.example.com"}
	for name, test := range map[string]struct {
		signer, knows pki.Authority
		verifies      bool
	}{
		"handed out with it, known is its signer": {through, current, true},
		"handed out with it, known is itself":     {through, next, true},
		"handed out without, known is its signer": {next, current, false},
	} {
		pair, err := test.signer.IssueServer(pki.ServerRequest{Hosts: hosts, Key: key, Lifetime: time.Hour}, now)
		if err != nil {
			t.Fatal(err)
		}
		bundle, err := pki.NewBundle([]pki.BundleEntry{{CA: test.knows.Certificate()}}, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := pair.Chain().VerifyServer(bundle, hosts, now); (err == nil) != test.verifies {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCrossSigningIsRefusedWhereNobodyCouldVerifyIt(t *testing.T) {
	current, next := root(t, "current"), root(t, "next")
	cross, err := current.CrossSign(next.Certificate(), now)
	if err != nil {
		t.Fatal(err)
	}
	below, err := pki.ParseAuthority(cross.PEM(), next.Key().PEM())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := next.IssueServer(pki.ServerRequest{Hosts: []string{"a.example.com"}, Key: next.Key(), Lifetime: time.Hour}, now)
	if err != nil {
		t.Fatal(err)
	}
	leaf := pair.Leaf()
	for name, test := range map[string]struct {
		sign func() error
		want string
	}{
		"its path length is 0":  {func() error { _, err := below.CrossSign(current.Certificate(), now); return err }, "allows no CA below itself, its path length is 0"},
		"it has ended":          {func() error { _, err := current.CrossSign(next.Certificate(), now.Add(1e6*time.Hour)); return err }, "ended at"},
		"there is none":         {func() error { _, err := (pki.Authority{}).CrossSign(next.Certificate(), now); return err }, "there is no CA to sign with"},
		"it is of another CA":   {func() error { _, err := current.Through(cross); return err }, `is not of CA "current"`},
		"the next does not fit": {func() error { _, err := next.Through(cross, next.Certificate()); return err }, "is not signed by the next"},
		"it is no CA's":         {func() error { _, err := next.Through(leaf); return err }, "is not a CA"},
	} {
		if err := test.sign(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: found error %v, expected one with %q", name, err, test.want)
		}
	}
}
