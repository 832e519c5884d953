package pki_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

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

// BenchmarkCRL signs a list of 20,000, which is more than twice what a gateway's Secret takes, beside
// crypto/x509 alone. What is above that is parsing back what was made, and verifying it.
func BenchmarkCRL(b *testing.B) {
	const entries = 20_000
	ca := root(b, "bench")
	request := pki.CRLRequest{Number: big.NewInt(1), NextUpdate: now.Add(30 * 24 * time.Hour)}
	floor := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: request.NextUpdate}
	for range entries {
		number, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
		if err != nil {
			b.Fatal(err)
		}
		number.SetBit(number, 126, 1)
		serial, err := pki.ParseSerial(number.Text(16))
		if err != nil {
			b.Fatal(err)
		}
		request.Entries = append(request.Entries, pki.Revoked{Serial: serial, At: now})
		floor.RevokedCertificateEntries = append(floor.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: number, RevocationTime: now})
	}
	b.Run("Sallyport", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ca.SignCRL(request, now); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("x509", func(b *testing.B) {
		b.ReportAllocs()
		signer := signerOf(b, ca)
		for b.Loop() {
			if _, err := x509.CreateRevocationList(rand.Reader, floor, ca.Certificate().X509(), signer); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// signerOf is the key of a CA for crypto/x509.
func signerOf(b testing.TB, ca pki.Authority) crypto.Signer {
	b.Helper()
	block, _ := pem.Decode(ca.Key().PEM())
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		b.Fatal(err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		b.Fatalf("key is a %T", key)
	}
	return signer
}
