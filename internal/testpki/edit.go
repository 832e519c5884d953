package testpki

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"
)

// Body is the signed part of a certificate (RFC 5280 section 4.1).
type Body struct {
	// Version is 2 for X.509 version 3.
	Version int `asn1:"optional,explicit,default:0,tag:0"`
	// Serial is any number, also one that no issuer may use.
	Serial *big.Int
	// Signature names the algorithm.
	Signature pkix.AlgorithmIdentifier
	// Issuer, Validity and Subject are as they were.
	Issuer, Validity, Subject asn1.RawValue
	// PublicKey is the encoded public key.
	PublicKey asn1.RawValue
	// Extensions can be left out or doubled.
	Extensions []pkix.Extension `asn1:"omitempty,optional,explicit,tag:3"`
}

type signedBody struct {
	Body      asn1.RawValue
	Algorithm pkix.AlgorithmIdentifier
	Signature asn1.BitString
}

// Edited is the certificate with another body, signed again by an ECDSA key, in
// PEM: for what crypto/x509 would not make.
func (i Issued) Edited(t testing.TB, by crypto.Signer, edit func(*Body)) []byte {
	t.Helper()
	var body Body
	if _, err := asn1.Unmarshal(i.X509.RawTBSCertificate, &body); err != nil {
		t.Fatalf("taking certificate apart: %v", err)
	}
	edit(&body)
	encoded := marshal(t, body)
	digest := sha256.Sum256(encoded)
	signature, err := by.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatalf("signing edited certificate: %v", err)
	}
	return PEM("CERTIFICATE", marshal(t, signedBody{
		Body:      asn1.RawValue{FullBytes: encoded},
		Algorithm: body.Signature,
		Signature: asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
	}))
}

// WithoutExtension removes one extension.
func (b *Body) WithoutExtension(id ...int) {
	b.Extensions = slices.DeleteFunc(b.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(id) })
}

func marshal(t testing.TB, value any) []byte {
	t.Helper()
	der, err := asn1.Marshal(value)
	if err != nil {
		t.Fatalf("encoding edited certificate: %v", err)
	}
	return der
}
