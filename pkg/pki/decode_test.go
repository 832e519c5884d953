package pki_test

import (
	"crypto/x509"
	"encoding/pem"
	"testing"
)

// decodeCRL reads a CRL with crypto/x509 alone.
func decodeCRL(t testing.TB, data []byte) *x509.RevocationList {
	t.Helper()
	block, _ := pem.Decode(data)
	list, err := x509.ParseRevocationList(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return list
}
