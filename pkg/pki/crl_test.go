package pki_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/testpki"
	"sallyport.dev/sallyport/pkg/pki"
)

func TestCRLsOfOthers(t *testing.T) {
	ca := testpki.Root(t, "ca", testpki.Around(now))
	rsaCA := testpki.RootWith(t, rsaKey(t, 2048), "rsa ca", testpki.Around(now))
	made := func(by testpki.Issued, change func(*x509.RevocationList)) []byte {
		list := &x509.RevocationList{Number: bigInt(5), ThisUpdate: now, NextUpdate: now.Add(day),
			RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: bigInt(0xabc), RevocationTime: now}}}
		change(list)
		return by.CRLFrom(t, list)
	}
	critical := []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 0}}}
	harmless := []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 46}, Value: []byte{0x30, 0}}}
	certificateIssuer := []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0}}}

	for sentence, row := range map[string]struct {
		data    []byte
		refusal string
	}{
		"a complete CRL is read":                     {data: made(ca, func(*x509.RevocationList) {})},
		"an extension that is not critical is taken": {data: made(ca, func(l *x509.RevocationList) { l.ExtraExtensions = harmless })},
		"a CRL of a part of the certificates is refused": {
			data:    made(ca, func(l *x509.RevocationList) { l.ExtraExtensions = critical }),
			refusal: "reading CRL 5: critical extension 2.5.29.28 is not understood (RFC 5280 section 5.2)",
		},
		"a CRL that lists certificates of others is refused": {
			data:    made(ca, func(l *x509.RevocationList) { l.RevokedCertificateEntries[0].ExtraExtensions = certificateIssuer }),
			refusal: "reading CRL 5: entry 0abc: critical extension 2.5.29.29 is not understood (RFC 5280 section 5.3)",
		},
		"a signature over SHA-1 is refused": {
			data:    made(rsaCA, func(l *x509.RevocationList) { l.SignatureAlgorithm = x509.SHA1WithRSA }),
			refusal: "reading CRL 5: signature algorithm is SHA1-RSA, expected SHA-256 or stronger",
		},
		"a number of 20 octets is taken":       {data: made(ca, func(l *x509.RevocationList) { l.Number = new(big.Int).Lsh(bigInt(1), 158) })},
		"a certificate is refused":             {data: ca.PEM(), refusal: `block 1 is a "CERTIFICATE", expected ["X509 CRL"]`},
		"a block that holds no CRL is refused": {data: testpki.PEM("X509 CRL", []byte("hello")), refusal: "block 1: reading CRL: "},
		"more than 1 MiB are refused unread":   {data: make([]byte, 1<<20+1), refusal: "1048577 bytes, at most 1048576 are read"},
		"nothing is refused":                   {data: nil, refusal: "no block found"},
	} {
		t.Run(sentence, func(t *testing.T) {
			lists, err := pki.ParseCRLs(row.data)
			if row.refusal != "" {
				wantError(t, err, row.refusal)
				return
			}
			if err != nil || len(lists) != 1 {
				t.Fatalf("found %d CRLs, %v", len(lists), err)
			}
			if list := lists[0]; list.Entries() != 1 || !list.Lists(mustSerial(t, "abc")) || list.Lists(mustSerial(t, "abd")) || list.IsZero() {
				t.Errorf("found %d entries, expected the serial number abc alone", list.Entries())
			}
		})
	}
}

func TestSignCRL(t *testing.T) {
	authority := root(t, "shop g1")
	victim := client(t, authority, "payments").Leaf().Serial()
	list := crl(t, authority, 41, victim)
	parsed := decodeCRL(t, list.PEM())

	if list.Number().Int64() != 41 || list.Entries() != 1 || !list.Lists(victim) {
		t.Errorf("CRL %s has %d entries", list.Number(), list.Entries())
	}
	if want := now.Add(-10 * time.Minute); !list.ThisUpdate().Equal(want) {
		t.Errorf("begins at %s, expected it back-dated to %s", list.ThisUpdate(), want)
	}
	if want := now.Add(7 * day); !list.NextUpdate().Equal(want) {
		t.Errorf("ends at %s, expected %s", list.NextUpdate(), want)
	}
	for _, extension := range parsed.Extensions {
		if extension.Critical || extension.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 28}) {
			t.Errorf("found extension %s, which Envoy refuses (envoyproxy/envoy#37207)", extension.Id)
		}
	}
	if entry := parsed.RevokedCertificateEntries[0]; entry.ReasonCode != 1 || !entry.RevocationTime.Equal(list.ThisUpdate()) {
		t.Errorf("entry has reason %d at %s, expected the CRL's own start: it was revoked a minute ago", entry.ReasonCode, entry.RevocationTime)
	}
	if empty := crl(t, authority, 42); empty.Entries() != 0 || empty.Lists(victim) {
		t.Error("an empty CRL lists something")
	}
}

func TestSignCRLRefuses(t *testing.T) {
	authority := root(t, "shop g1")
	young := rootAt(t, "young g1", year, now.Add(day))
	noCRLSign := authorityFrom(t, testpki.Root(t, "ca", testpki.Around(now), func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }))
	good := pki.CRLRequest{Number: bigInt(1), NextUpdate: now.Add(day)}
	with := func(change func(*pki.CRLRequest)) pki.CRLRequest { r := good; change(&r); return r }

	for sentence, row := range map[string]struct {
		by      pki.Authority
		request pki.CRLRequest
		refusal string
	}{
		"without a CA":                     {request: good, refusal: "signing CRL: there is no CA to sign with"},
		"without a number":                 {by: authority, request: with(func(r *pki.CRLRequest) { r.Number = nil }), refusal: "signing CRL: "},
		"a number of 21 octets":            {by: authority, request: with(func(r *pki.CRLRequest) { r.Number = new(big.Int).Lsh(bigInt(1), 160) }), refusal: "CRL: "},
		"a next update that is now":        {by: authority, request: with(func(r *pki.CRLRequest) { r.NextUpdate = now }), refusal: "signing CRL: next update at 2026-09-01T12:00:00Z: lifetime is 0s, expected at least 1s"},
		"an entry without a serial number": {by: authority, request: with(func(r *pki.CRLRequest) { r.Entries = []pki.Revoked{{At: now}} }), refusal: "signing CRL: an entry has no serial number"},
		"a CA that has not begun":          {by: young, request: good, refusal: "begins at"},
		"a CA that may not sign CRLs":      {by: noCRLSign, request: good, refusal: "signing CRL: "},
	} {
		t.Run(sentence, func(t *testing.T) {
			list, err := row.by.SignCRL(row.request, now)
			wantError(t, err, row.refusal)
			if !list.IsZero() {
				t.Error("a refused CRL was returned")
			}
		})
	}
}

// A ledger lists ten thousands of serial numbers, and a gateway has to be told all of them.
func TestCRLOfManyEntries(t *testing.T) {
	authority := root(t, "shop g1")
	request := pki.CRLRequest{Number: bigInt(1), NextUpdate: now.Add(day), Entries: manyEntries(t, 10_000)}
	list, err := authority.SignCRL(request, now)
	if err != nil {
		t.Fatal(err)
	}
	b, err := pki.NewBundle([]pki.BundleEntry{{CA: authority.Certificate(), CRL: list}}, now)
	if err != nil {
		t.Fatal(err)
	}
	again, err := pki.ParseBundle(b.CertificatesPEM(), b.CRLsPEM(), now)
	if err != nil {
		t.Fatal(err)
	}
	if list.Entries() != 10_000 || string(again.CRLsPEM()) != string(list.PEM()) {
		t.Errorf("found %d entries", list.Entries())
	}
}

func TestCRLsThatDoNotFitIntoASecretAreRefused(t *testing.T) {
	authority := root(t, "shop g1")
	list, err := authority.SignCRL(pki.CRLRequest{Number: bigInt(1), NextUpdate: now.Add(day), Entries: manyEntries(t, 20_000)}, now)
	if err != nil {
		t.Fatal(err)
	}
	_, err = pki.NewBundle([]pki.BundleEntry{{CA: authority.Certificate(), CRL: list}}, now)
	wantError(t, err, fmt.Sprintf("making bundle: the CRLs take %d bytes, at most 524288 fit", len(list.PEM())))
}

func manyEntries(t testing.TB, count int) []pki.Revoked {
	t.Helper()
	entries := make([]pki.Revoked, count)
	for i := range entries {
		entries[i] = pki.Revoked{Serial: mustSerial(t, "7f"+strings.Repeat("0", 22)+fmt.Sprintf("%08x", i)), At: now}
	}
	return entries
}
