package pki_test

import (
	"math/big"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/testpki"
	"sallyport.dev/sallyport/pkg/pki"
)

func bigInt(n int64) *big.Int { return big.NewInt(n) }

func TestParseSerial(t *testing.T) {
	for sentence, row := range map[string]struct{ text, want, refusal string }{
		"the form that String prints is taken":               {text: "0a1b", want: "0a1b"},
		"upper case is taken, as OpenSSL prints it":          {text: "0A1B", want: "0a1b"},
		"leading zeros do not make another number":           {text: "000000000a1b", want: "0a1b"},
		"an odd number of digits is filled up":               {text: "a1b", want: "0a1b"},
		"more zeros than 20 octets hold are still no number": {text: strings.Repeat("0", 41) + "1", want: "01"},
		"twenty octets fit":                                  {text: strings.Repeat("f", 40), want: strings.Repeat("f", 40)},
		"twenty-one octets do not":                           {text: strings.Repeat("f", 41), refusal: "expected a positive number of at most 40 hexadecimal digits"},
		"zero is not positive":                               {text: "00", refusal: `found "00", expected a positive number`},
		"nothing is no number":                               {text: "", refusal: `found "", expected a positive number`},
		"a sign is no digit":                                 {text: "-1", refusal: `found "-1"`},
		"colons are not read":                                {text: "0a:1b", refusal: `found "0a:1b"`},
		"a prefix is not read":                               {text: "0x0a", refusal: `found "0x0a"`},
		"a long text is cut in the message":                  {text: strings.Repeat("z", 10_000), refusal: strings.Repeat("z", 64) + `", expected`},
	} {
		t.Run(sentence, func(t *testing.T) {
			serial, err := pki.ParseSerial(row.text)
			if row.refusal != "" {
				wantError(t, err, "reading serial number: ", row.refusal)
				return
			}
			if err != nil || serial.String() != row.want {
				t.Fatalf("found %q, %v, expected %q", serial, err, row.want)
			}
			if again, err := pki.ParseSerial(serial.String()); again != serial || err != nil {
				t.Fatalf("reading it again gave %q, %v", again, err)
			}
		})
	}
}

func TestOwnSerialsAre128RandomBits(t *testing.T) {
	authority := root(t, "serials g1")
	seen := map[pki.Serial]bool{authority.Certificate().Serial(): true}
	var or, and [16]byte
	for i := range and {
		and[i] = 0xff
	}
	const issued = 64
	for range issued {
		serial := client(t, authority, "payments").Leaf().Serial()
		if len(serial.String()) != 32 {
			t.Fatalf("serial number %s has %d digits, expected 32", serial, len(serial.String()))
		}
		seen[serial] = true
		number, _ := new(big.Int).SetString(serial.String(), 16)
		for i, octet := range number.FillBytes(make([]byte, 16)) {
			or[i], and[i] = or[i]|octet, and[i]&octet
		}
	}
	if len(seen) != issued+1 {
		t.Errorf("found %d different serial numbers, expected %d", len(seen), issued+1)
	}
	// A bit that is the same 64 times is not random: 1 in 2^57 for all 128 of them.
	for i := range or {
		if or[i] != 0xff || and[i] != 0 {
			t.Errorf("octet %d has bits that never change: ever set %08b, always set %08b", i, or[i], and[i])
		}
	}
}

func TestSerialsOfOthers(t *testing.T) {
	ca := testpki.Root(t, "others", testpki.Around(now))
	octets := func(n int, first byte) *big.Int {
		all := make([]byte, n)
		all[0] = first
		return new(big.Int).SetBytes(all)
	}
	for sentence, row := range map[string]struct {
		number  *big.Int
		refusal string
	}{
		"one is a serial number":        {number: bigInt(1)},
		"twenty octets are":             {number: octets(20, 0x7f)},
		"thirty-two octets are refused": {number: octets(32, 0x7f), refusal: "serial number has 32 octets, expected at most 20 (RFC 5280 section 4.1.2.2)"},
		"zero is refused":               {number: bigInt(0), refusal: "serial number is 0, expected a positive one"},
		"a negative number is refused":  {number: bigInt(-5), refusal: "negative serial number"},
	} {
		t.Run(sentence, func(t *testing.T) {
			leaf := ca.Leaf(t, "shop.example", testpki.Around(now))
			_, err := pki.ParseCertificates(leaf.Edited(t, ca.Key, func(b *testpki.Body) { b.Serial = row.number }))
			if row.refusal != "" {
				wantError(t, err, "block 1: reading certificate: ", row.refusal)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}
