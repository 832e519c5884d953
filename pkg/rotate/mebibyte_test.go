package rotate

import (
	"strings"
	"testing"
)

const mebibyte = 1 << 20

func filled(text string) []byte {
	return []byte(strings.Repeat(text, mebibyte/len(text)+1)[:mebibyte])
}

// BenchmarkMebibyte gives a mebibyte of what is worst for it to each reader of a record;
// a Secret cannot hold more. The goal is ten milliseconds.
func BenchmarkMebibyte(b *testing.B) {
	encoded, err := established(b, settings()).Encode()
	if err != nil {
		b.Fatal(err)
	}
	for name, spoil := range map[string]func(data map[string][]byte){
		"index-of-a-mebibyte": func(data map[string][]byte) { data[indexKey] = filled(`{"version":1,"generations":[`) },
		"index-too-deep":      func(data map[string][]byte) { data[indexKey] = filled("[")[:maxIndex] },
		"generations": func(data map[string][]byte) {
			data[indexKey] = []byte(`{"version":1,"generations":[` + strings.TrimSuffix(strings.Repeat(`{"id":"1"},`, 1400), ",") + `]}`)
		},
		"a-certificate": func(data map[string][]byte) {
			each(data, certificateFile, filled("-----BEGIN CERTIFICATE-----\n"))
		},
		"a-key": func(data map[string][]byte) { each(data, keyFile, filled("-----BEGIN PRIVATE KEY-----\n")) },
		"a-CRL": func(data map[string][]byte) { each(data, crlFile, filled("-----BEGIN X509 CRL-----\n")) },
		"other-keys": func(data map[string][]byte) {
			for i := range mebibyte / 64 {
				data[strings.Repeat("x", 1+i%60)+string(rune('a'+i%26))] = nil
			}
		},
	} {
		b.Run("ledger/"+name, func(b *testing.B) {
			data := map[string][]byte{}
			for key, value := range encoded {
				data[key] = value
			}
			spoil(data)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = DecodeLedger(data)
			}
		})
	}
	for name, text := range map[string][]byte{
		"lines": filled("\n"), "spaces": filled(" "), "words": filled("a "), "digits": filled("7"), "records": filled("7f01 1790000000 g1 shop/a\n"),
	} {
		for size, in := range map[string][]byte{"mebibyte": text, "most": text[:MaxShard]} {
			b.Run("serials/"+name+"/"+size, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_, _ = ParseSerials(in)
				}
			})
		}
	}
}

// each replaces the file of every generation.
func each(data map[string][]byte, suffix string, by []byte) {
	for key := range data {
		if strings.HasSuffix(key, suffix) && !strings.HasSuffix(key, ".probe"+suffix) {
			data[key] = by
		}
	}
}
