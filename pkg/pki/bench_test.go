package pki_test

import (
	"bytes"
	"strings"
	"testing"

	"sallyport.dev/sallyport/pkg/pki"
)

const mebibyte = 1 << 20

// filled repeats a text up to a mebibyte.
func filled(text string) []byte {
	return []byte(strings.Repeat(text, mebibyte/len(text)+1)[:mebibyte])
}

// BenchmarkMebibyte gives a mebibyte of what is worst for it to each reader. The goal is
// ten milliseconds: encoding/pem took 750 ms for less (GHSA-r4pg-vg54-wxx4).
func BenchmarkMebibyte(b *testing.B) {
	ca := root(b, "bench")
	now := now
	inputs := map[string][]byte{
		"begin lines":         filled("-----BEGIN CERTIFICATE-----\n"),
		"dashes":              filled("-----BEGIN "),
		"headers":             append([]byte("-----BEGIN CERTIFICATE-----\n"), filled("a: b\n")...),
		"empty blocks":        filled("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"),
		"one certificate":     filled(string(ca.Certificate().PEM())),
		"one CRL":             filled(string(crl(b, ca, 1).PEM())),
		"a certificate, zero": append(bytes.Clone(ca.Certificate().PEM()), make([]byte, mebibyte)...),
		"one base64 block":    []byte("-----BEGIN CERTIFICATE-----\n" + strings.Repeat("MIIB", mebibyte/4) + "\n-----END CERTIFICATE-----\n"),
	}
	readers := map[string]struct {
		// most is how much it reads: more is refused unread, and shows nothing.
		most int
		read func([]byte)
	}{
		"Certificates": {512 << 10, func(in []byte) { _, _ = pki.ParseCertificates(in) }},
		"Bundle":       {512 << 10, func(in []byte) { _, _ = pki.ParseBundle(in, in, now) }},
		"CRLs":         {mebibyte, func(in []byte) { _, _ = pki.ParseCRLs(in) }},
		"Key":          {32 << 10, func(in []byte) { _, _ = pki.ParseKey(in) }},
		"Pair":         {64 << 10, func(in []byte) { _, _ = pki.ParsePair(in, in) }},
		"Request":      {16 << 10, func(in []byte) { _, _ = pki.ParseCertificateRequest(in) }},
	}
	for reader, r := range readers {
		for name, whole := range inputs {
			for size, in := range map[string][]byte{"mebibyte": whole, "most": whole[:min(len(whole), r.most)]} {
				b.Run(reader+"/"+strings.ReplaceAll(name, " ", "-")+"/"+size, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						r.read(in)
					}
				})
			}
		}
	}
}
