package rotate

import (
	"bytes"
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
			for _, group := range a.CAs() {
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
		t.Errorf("%d groups are taken over, expected the one that has not ended", len(at.CAs()))
	}
	if at := a.At(start.Add(-90 * time.Minute)); len(at.CAs()) != 2 {
		t.Errorf("%d groups before the end, expected 2", len(at.CAs()))
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
