package rotate

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/testpki"
	"sallyport.dev/sallyport/pkg/pki"
)

// What was made by hand is read as a gateway would, and what is wrong with it is told.
func TestParseAdopted(t *testing.T) {
	root := testpki.Root(t, "by hand", partnerYear)
	issuing := root.CA(t, "issuing", partnerYear)
	other := testpki.Root(t, "other", partnerYear)
	server := issuing.Leaf(t, "shop.example", partnerYear)
	crl := func(of testpki.Issued) []byte { return of.CRL(t, 1, partnerMonth) }
	for sentence, row := range map[string]struct {
		server, cas, crls []byte
		groups            []int // how many CAs each has, sorted
		err               string
	}{
		"nothing":                      {},
		"a server's certificate alone": {server: pems(server.PEM(), issuing.PEM())},
		"one CA":                       {cas: root.PEM(), groups: []int{1}},
		"one CA with its CRL":          {cas: root.PEM(), crls: crl(root), groups: []int{1}},
		"CAs that have nothing to do with each other are judged apart": {cas: pems(root.PEM(), other.PEM()), groups: []int{1, 1}},
		"a CA is judged with its root":                                 {cas: pems(issuing.PEM(), other.PEM(), root.PEM()), groups: []int{1, 2}},
		"whatever their order":                                         {cas: pems(root.PEM(), other.PEM(), issuing.PEM()), groups: []int{1, 2}},
		"CRLs follow their CAs":                                        {cas: pems(root.PEM(), other.PEM()), crls: pems(crl(other), crl(root)), groups: []int{1, 1}},
		"a CRL for one of two CAs":                                     {cas: pems(root.PEM(), other.PEM()), crls: crl(root), err: "found 1 CRLs for 2 CAs"},
		"a CRL that openssl makes without being told how":              {cas: []byte(openSSLCA), crls: []byte(openSSLCRL), groups: []int{1}},
		"five CRLs that do not say whose they are":                     {cas: many(t, 5), crls: bytes.Repeat([]byte(openSSLCRL), 5), err: "5 CRLs do not say which key signed them"},
		"seventeen CAs":                                                {cas: many(t, 17), err: "there are 17 CAs, at most 16 are taken over"},
		"CRLs of nobody":                                               {crls: crl(root), err: "no CA that they could belong to"},
		"a CRL of somebody else":                                       {cas: root.PEM(), crls: crl(other), err: `no CRL is signed by CA "by hand"`},
		"garbage as CAs":                                               {cas: []byte("garbage"), err: "text outside of a block"},
		"garbage as CRLs":                                              {cas: root.PEM(), crls: []byte("garbage"), err: "reading CRL"},
		"a CA as a server's certificate":                               {server: root.PEM(), err: "expected the leaf first"},
		"a key among the CAs":                                          {cas: root.KeyPEM(t), err: "reading its CAs"},
		"a mebibyte of CAs":                                            {cas: bytes.Repeat(root.PEM(), 2000), err: "at most"},
	} {
		t.Run(sentence, func(t *testing.T) {
			a, err := ParseAdopted(row.server, row.cas, row.crls)
			if row.err != "" {
				if err == nil || !strings.Contains(err.Error(), row.err) {
					t.Fatalf("error %v, expected %q", err, row.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var sizes []int
			for _, group := range a.CAs(start) {
				sizes = append(sizes, len(group.Entries))
			}
			if slices.Sort(sizes); !slices.Equal(sizes, row.groups) {
				t.Errorf("groups of %v CAs, expected %v", sizes, row.groups)
			}
			again, err := ParseAdopted(a.ServerPEM(), a.CAsPEM(), a.CRLsPEM())
			if err != nil || !bytes.Equal(again.CAsPEM(), a.CAsPEM()) || !bytes.Equal(again.CRLsPEM(), a.CRLsPEM()) || !bytes.Equal(again.ServerPEM(), a.ServerPEM()) {
				t.Errorf("read back it is another: %v", err)
			}
			if empty := len(row.server)+len(row.cas) == 0; a.IsZero() != empty {
				t.Errorf("zero: %t", a.IsZero())
			}
		})
	}
}

// many are roots.
func many(t *testing.T, n int) []byte {
	t.Helper()
	var all []byte
	for i := range n {
		all = append(all, testpki.Root(t, fmt.Sprintf("root %d", i), partnerYear).PEM()...)
	}
	return all
}

// openSSLCRL was made by openssl ca -gencrl with the configuration that comes with it: it does not say which key signed it.
const (
	openSSLCA = `-----BEGIN CERTIFICATE-----
MIIBfjCCASOgAwIBAgIUIStyYSbxj/LZCzY+A8gB2Nh9Eq8wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJaGFuZCBtYWRlMB4XDTI2MTEyODIxMDcyOVoXDTM2MTEyNTIx
MDcyOVowFDESMBAGA1UEAwwJaGFuZCBtYWRlMFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAEt5ckKqIYY9Cp7XacQppuH39QVCzHrTiuehG2CiXzwbijccVkQC5UCD28
FBcaDIU4oz2CrPHuV81IuBztbZ2Ii6NTMFEwHQYDVR0OBBYEFG+UFTgNwOEBLDrR
bvCWmY1Z+kn3MB8GA1UdIwQYMBaAFG+UFTgNwOEBLDrRbvCWmY1Z+kn3MA8GA1Ud
EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAOvXFSSpQCXF1JqCRJNL55bv
EpgOWpJ5bdyPdSK6WGVuAiEAscgoMMjTluN6PKOvNVsaBOGy6lvYiuMaOQ6UAxsI
Nhk=
-----END CERTIFICATE-----
`
	openSSLCRL = `-----BEGIN X509 CRL-----
MIGrMFMCAQEwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJaGFuZCBtYWRlFw0yNjEx
MjgyMTA3MjlaFw0yOTAzMDIyMTA3MjlaoA4wDDAKBgNVHRQEAwIBATAKBggqhkjO
PQQDAgNIADBFAiEAurZgvO+pI0vcIPy6Vn+9q4yxxS/fR8gD1wpjyCODzgsCIELn
52rUqU8g/HcMcbruHZL3HJ/KUuczmt89ozBODUFF
-----END X509 CRL-----
`
)

// A CA that has ended takes with it what it signed, and neither who signed it nor another that vouches for that.
func TestACAThatHasEndedTakesNoOtherWithIt(t *testing.T) {
	over := testpki.Span{From: start.Add(-2 * time.Hour), To: start.Add(-time.Hour)}
	root := testpki.Root(t, "by hand", partnerYear)
	old, issuing := root.CA(t, "issuing 2019", over), root.CA(t, "issuing 2026", partnerYear)
	below := old.CA(t, "below", partnerYear)
	key := testpki.P256(t)
	was, renewed := testpki.RootWith(t, key, "renewed", over), testpki.RootWith(t, key, "renewed", partnerYear)
	under := renewed.CA(t, "under", partnerYear)
	for sentence, row := range map[string]struct{ all, left []byte }{
		"an intermediate":           {pems(root.PEM(), old.PEM()), root.PEM()},
		"what is below it":          {pems(below.PEM(), root.PEM(), old.PEM(), issuing.PEM()), pems(root.PEM(), issuing.PEM())},
		"the certificate before":    {pems(was.PEM(), renewed.PEM(), under.PEM()), pems(renewed.PEM(), under.PEM())},
		"the certificate before it": {pems(under.PEM(), renewed.PEM(), was.PEM()), pems(under.PEM(), renewed.PEM())},
	} {
		t.Run(sentence, func(t *testing.T) {
			a, err := ParseAdopted(nil, row.all, nil)
			if err != nil {
				t.Fatal(err)
			}
			if at := a.At(start); !bytes.Equal(at.CAsPEM(), row.left) {
				t.Errorf("left are %d groups:\n%s", len(at.CAs(start)), at.CAsPEM())
			}
			groups := a.CAs(start)
			if last := groups[len(groups)-1]; !last.standing(false, start).NotAfter.Before(start) || !groups[0].standing(false, start).NotAfter.After(start) {
				t.Errorf("what has ended is judged with what has not: %d groups", len(groups))
			}
		})
	}
}

// A CA that has ended is not taken over: gateways refuse its callers already, and it would have
// those of the others left out.
func TestCAsThatHaveEndedAreNotTakenOver(t *testing.T) {
	root, ended := testpki.Root(t, "by hand", partnerYear), testpki.Root(t, "ended", testpki.Span{From: start.Add(-2 * time.Hour), To: start.Add(-time.Hour)})
	below := ended.CA(t, "below", partnerYear)
	a, err := ParseAdopted(nil, pems(ended.PEM(), below.PEM(), root.PEM()), nil)
	if err != nil {
		t.Fatal(err)
	}
	if at := a.At(start); !bytes.Equal(at.CAsPEM(), root.PEM()) {
		t.Errorf("%d groups are taken over, expected the one that has not ended", len(at.CAs(start)))
	}
	if at := a.At(start.Add(-90 * time.Minute)); len(at.CAs(start.Add(-90*time.Minute))) != 2 {
		t.Errorf("%d groups before the end, expected 2", len(at.CAs(start.Add(-90*time.Minute))))
	}
}

// The certificate that was taken over is known by its bytes, and gives way with a sixth of its
// life left.
func TestTheCertificateThatWasTakenOver(t *testing.T) {
	span := testpki.Span{From: start, To: start.Add(60 * time.Hour)}
	root := testpki.Root(t, "by hand", partnerYear)
	pairOf := func(leaf testpki.Issued) pki.Pair {
		t.Helper()
		pair, err := pki.ParsePair(leaf.PEM(), leaf.KeyPEM(t))
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	leaf := root.Leaf(t, "shop.example", span)
	a, err := ParseAdopted(leaf.PEM(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !a.Made(pairOf(leaf)) {
		t.Error("it is not known again")
	}
	if a.Made(pairOf(root.Leaf(t, "shop.example", span))) || a.Made(pki.Pair{}) || (Adopted{}).Made(pairOf(leaf)) || (Adopted{}).Made(pki.Pair{}) {
		t.Error("another is taken for it")
	}
	if due := Handover(pairOf(leaf).Leaf()); !due.Equal(start.Add(50 * time.Hour)) {
		t.Errorf("it gives way at %s, expected with ten of sixty hours left", due)
	}
}
