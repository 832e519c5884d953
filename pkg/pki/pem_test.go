package pki_test

import (
	"bytes"
	"encoding/pem"
	"math"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/testpki"
	"sallyport.dev/sallyport/pkg/pki"
)

func TestCertificatesInPEMAreReadStrictly(t *testing.T) {
	ca := testpki.Root(t, "ca", testpki.Around(now))
	other := testpki.Root(t, "other", testpki.Around(now))
	block := ca.PEM()
	body := bytes.SplitAfterN(block, []byte("\n"), 2)[1]
	malformed := append([]byte("-----BEGIN CERTIFICATE-----\n!!!!\n"), "-----END CERTIFICATE-----\n"...)

	for sentence, row := range map[string]struct {
		data    []byte
		refusal string
		found   int
	}{
		"one block is read":                            {data: block, found: 1},
		"two blocks are read":                          {data: join(block, other.PEM()), found: 2},
		"white space around blocks is nothing":         {data: join([]byte(" \n\t\r\n"), block, []byte("\n\n \n"), other.PEM(), []byte("\n\n")), found: 2},
		"line ends of Windows are read":                {data: bytes.ReplaceAll(block, []byte("\n"), []byte("\r\n")), found: 1},
		"a file without the last line end is read":     {data: bytes.TrimSpace(block), found: 1},
		"nothing is refused":                           {data: nil, refusal: `no block found, expected ["CERTIFICATE"]`},
		"white space alone is refused":                 {data: []byte(" \n "), refusal: "no block found"},
		"text before the first block is refused":       {data: join([]byte("# our CA\n"), block), refusal: "text outside of a block, after block 0"},
		"text between blocks is refused":               {data: join(block, []byte("# the old one\n"), other.PEM()), refusal: "text outside of a block, after block 1"},
		"text after the last block is refused":         {data: join(block, []byte("trailing")), refusal: "text outside of a block, after block 1"},
		"a byte order mark is text":                    {data: join([]byte("\ufeff"), block), refusal: "text outside of a block, after block 0"},
		"headers are refused":                          {data: join([]byte("-----BEGIN CERTIFICATE-----\nComment: ours\n\n"), body), refusal: "block 1 has headers, expected none"},
		"a malformed block is refused":                 {data: malformed, refusal: "block 1 is malformed"},
		"a malformed block before a good one is too":   {data: join(malformed, block), refusal: "block 1 is malformed"},
		"a malformed block after a good one is too":    {data: join(block, malformed), refusal: "block 2 is malformed"},
		"a block without an end is refused":            {data: block[:len(block)/2], refusal: "block 1 is malformed"},
		"an end of another label is refused":           {data: bytes.Replace(block, []byte("END CERTIFICATE"), []byte("END X509 CRL"), 1), refusal: "block 1 is malformed"},
		"a cut block before a good one is refused":     {data: join(block[:len(block)/2], []byte("\n"), other.PEM()), refusal: "block 1 is malformed"},
		"a private key is refused":                     {data: join(block, ca.KeyPEM(t)), refusal: `block 2 is a "PRIVATE KEY", expected ["CERTIFICATE"]`},
		"a CRL is refused":                             {data: ca.CRL(t, 1, testpki.Around(now)), refusal: `block 1 is a "X509 CRL"`},
		"the old label X509 CERTIFICATE is refused":    {data: testpki.PEM("X509 CERTIFICATE", ca.X509.Raw), refusal: `block 1 is a "X509 CERTIFICATE"`},
		"a block that holds no certificate is refused": {data: testpki.PEM("CERTIFICATE", []byte("hello")), refusal: "block 1: reading certificate: "},
		"an empty block is refused":                    {data: testpki.PEM("CERTIFICATE", nil), refusal: "reading certificate: "},
		"bytes after a certificate are refused":        {data: testpki.PEM("CERTIFICATE", join(ca.X509.Raw, []byte{0})), refusal: "trailing data"},
		"DER instead of PEM is refused":                {data: ca.X509.Raw, refusal: "text outside of a block"},
		"10 000 blocks are refused":                    {data: bytes.Repeat([]byte("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"), 10_000)[:512<<10], refusal: "more than 256 blocks"},
		"more than 512 KiB are refused unread":         {data: bytes.Repeat([]byte("A"), 512<<10+1), refusal: "524289 bytes, at most 524288 are read"},
	} {
		t.Run(sentence, func(t *testing.T) {
			found, err := pki.ParseCertificates(row.data)
			if row.refusal != "" {
				wantError(t, err, row.refusal)
				return
			}
			if err != nil || len(found) != row.found {
				t.Fatalf("found %d certificates, %v, expected %d", len(found), err, row.found)
			}
			if !found[0].X509().Equal(ca.X509) {
				t.Errorf("found %s first, expected the order kept", found[0].X509().Subject)
			}
		})
	}
}

func TestMessagesNeverQuoteMuchOfTheInput(t *testing.T) {
	label := strings.Repeat("A", 1000)
	_, err := pki.ParseCertificates(testpki.PEM(label, []byte("x")))
	wantError(t, err, "block 1 is a ")
	if len(err.Error()) > 250 {
		t.Errorf("message has %d bytes: %s", len(err.Error()), err)
	}
}

func TestAKeyNeverAppearsInAMessage(t *testing.T) {
	key := testpki.KeyPEM(t, testpki.P256(t))
	block, _ := pem.Decode(key)
	cut := testpki.PEM("PRIVATE KEY", block.Bytes[:len(block.Bytes)-1])
	secret := strings.Split(string(key), "\n")[1][:40]
	for _, data := range [][]byte{key, cut, join(key, key), join([]byte("x"), key), bytes.Replace(key, []byte("END PRIVATE"), []byte("END"), 1)} {
		_, errCertificates := pki.ParseCertificates(data)
		_, errKey := pki.ParseKey(join(data, data))
		_, errRequest := pki.ParseCertificateRequest(data)
		for _, err := range []error{errCertificates, errKey, errRequest} {
			if err == nil {
				t.Fatal("found no error")
			}
			if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), string(block.Bytes[:16])) {
				t.Errorf("message quotes the key: %s", err)
			}
		}
	}
}

// A mebibyte of anything is judged in milliseconds, because sizes and counts are
// capped before anything is decoded. The limit here is far above what is measured,
// so that a busy machine does not fail the test, and far below the 750 ms that one
// crafted file of 856 kB cost others (CVE-2024-12401).
func TestHostileInputIsJudgedFast(t *testing.T) {
	const size, limit = 1 << 20, 100 * time.Millisecond
	fill := func(s string) []byte { return bytes.Repeat([]byte(s), size/len(s)) }
	rejected := []struct {
		sentence string
		data     []byte
	}{
		{"begin lines", fill("-----BEGIN ")},
		{"whole begin lines", fill("-----BEGIN CERTIFICATE-----\n")},
		{"begin lines of CRLs", fill("-----BEGIN X509 CRL-----\n")},
		{"begin lines that end in a colon", fill("-----BEGIN X509 CRL-----\na: b\n")},
		{"begin and end lines of different labels", fill("-----BEGIN X509 CRL-----\n-----END CERTIFICATE-----\n")},
		{"one block with many headers", join([]byte("-----BEGIN X509 CRL-----\n"), fill("a: b\n"))},
		{"one block of line ends", join([]byte("-----BEGIN X509 CRL-----\n"), fill("\n")[:size-60], []byte("-----END X509 CRL-----\n"))},
		{"dashes", fill("-")},
		{"small blocks", fill("-----BEGIN X509 CRL-----\nAA==\n-----END X509 CRL-----\n")},
		{"one block of zeros", testpki.PEM("X509 CRL", make([]byte, size*3/4-20_000))},
		{"one block of nested sequences", testpki.PEM("X509 CRL", bytes.Repeat([]byte{0x30, 0x80}, size*3/8-10_000))},
		{"white space", fill(" ")},
	}
	for _, row := range rejected {
		t.Run(row.sentence, func(t *testing.T) {
			for _, data := range [][]byte{row.data, row.data[:512<<10], row.data[:64<<10], row.data[:32<<10], row.data[:16<<10]} {
				taken := fastest(limit, func() {
					_, errBundle := pki.ParseBundle(data, data, now)
					_, errCRL := pki.ParseCRLs(data)
					_, errPair := pki.ParsePair(data, data)
					_, errKey := pki.ParseKey(data)
					_, errRequest := pki.ParseCertificateRequest(data)
					for _, err := range []error{errBundle, errCRL, errPair, errKey, errRequest} {
						if err == nil {
							t.Error("found no error")
						}
					}
				})
				if taken > limit {
					t.Errorf("%d bytes took %s, expected at most %s for all parsers together", len(data), taken, limit)
				}
			}
		})
	}
}

// fastest is the time of the fastest of some runs, or of the first that keeps within the
// limit: what else runs on the machine takes its time from some of them, not from all.
func fastest(limit time.Duration, run func()) time.Duration {
	best := time.Duration(math.MaxInt64)
	for range 40 {
		started := time.Now()
		run()
		if best = min(best, time.Since(started)); best <= limit {
			break
		}
	}
	return best
}
