package pki_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
)

// What is signed is octet for octet what crypto/x509 makes of the same entries, whatever they are.
func TestACRLIsEncodedAsCryptoX509Does(t *testing.T) {
	for _, algorithm := range pki.Algorithms() {
		key := generateKey(t, algorithm)
		for _, at := range []time.Time{now, time.Date(2049, 12, 31, 23, 59, 0, 0, time.UTC), time.Date(2050, 1, 2, 0, 0, 0, 0, time.UTC)} {
			t.Run(fmt.Sprintf("%s in %d", algorithm, at.Year()), func(t *testing.T) {
				authority, err := pki.NewRoot(pki.RootRequest{CommonName: "shop g1", Key: key, Lifetime: year}, at)
				if err != nil {
					t.Fatal(err)
				}
				for _, count := range []int{0, 1, 2, 3, 2000} {
					request := pki.CRLRequest{Number: big.NewInt(1<<40 + 200), NextUpdate: at.Add(day), Entries: anyEntries(t, count, at)}
					list, err := authority.SignCRL(request, at)
					if err != nil {
						t.Fatalf("%d entries: %v", count, err)
					}
					template := &x509.RevocationList{Number: request.Number, ThisUpdate: list.ThisUpdate(), NextUpdate: list.NextUpdate()}
					for _, entry := range request.Entries {
						number, _ := new(big.Int).SetString(entry.Serial.String(), 16)
						revoked := entry.At.Truncate(time.Second)
						if revoked.After(list.ThisUpdate()) {
							revoked = list.ThisUpdate()
						}
						template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: number, RevocationTime: revoked, ReasonCode: entry.Reason})
					}
					der, err := x509.CreateRevocationList(rand.Reader, template, authority.Certificate().X509(), signerOf(t, authority))
					if err != nil {
						t.Fatal(err)
					}
					expected, err := x509.ParseRevocationList(der)
					if err != nil {
						t.Fatal(err)
					}
					if got := decodeCRL(t, list.PEM()); !bytes.Equal(got.RawTBSRevocationList, expected.RawTBSRevocationList) {
						t.Errorf("%d entries: signed is\n%x\nexpected\n%x", count, got.RawTBSRevocationList, expected.RawTBSRevocationList)
					}
				}
			})
		}
	}
}

// anyEntries are entries of all reasons, all lengths of serial numbers, with and without a leading one, and all times until now.
func anyEntries(t *testing.T, count int, now time.Time) []pki.Revoked {
	t.Helper()
	random := mathrand.New(mathrand.NewPCG(1, uint64(count))) //nolint:gosec // what is drawn is no secret
	entries := make([]pki.Revoked, count)
	for i := range entries {
		octets := make([]byte, 1+random.IntN(20))
		for j := range octets {
			octets[j] = byte(1 + random.IntN(255))
		}
		entries[i] = pki.Revoked{Serial: mustSerial(t, fmt.Sprintf("%x", octets)), At: now.Add(-time.Duration(random.Int64N(int64(year)))), Reason: random.IntN(11)}
	}
	if count == 3 { // a record that somebody edited, or a clock that stood still
		entries[1].At = time.Date(1938, 7, 1, 12, 0, 0, 0, time.UTC)
	}
	return entries
}

func TestAnEntryThatNoCRLCanHoldIsRefused(t *testing.T) {
	authority := root(t, "shop g1")
	for sentence, row := range map[string]struct {
		entry   pki.Revoked
		refusal string
	}{
		"of no time":           {pki.Revoked{Serial: mustSerial(t, "01")}, "entry 01: revoked at 0001-01-01T00:00:00Z, which no CRL can say"},
		"for a reason below 0": {pki.Revoked{Serial: mustSerial(t, "01"), At: now, Reason: -1}, "entry 01: reason -1, expected one of at most 10"},
		"for a reason of 11":   {pki.Revoked{Serial: mustSerial(t, "01"), At: now, Reason: 11}, "entry 01: reason 11, expected one of at most 10"},
		"for a reason of 128":  {pki.Revoked{Serial: mustSerial(t, "01"), At: now, Reason: 128}, "entry 01: reason 128"},
	} {
		t.Run(sentence, func(t *testing.T) {
			_, err := authority.SignCRL(pki.CRLRequest{Number: bigInt(1), NextUpdate: now.Add(day), Entries: []pki.Revoked{row.entry}}, now)
			if err == nil || !strings.Contains(err.Error(), row.refusal) {
				t.Errorf("found %v, expected %q", err, row.refusal)
			}
		})
	}
}
