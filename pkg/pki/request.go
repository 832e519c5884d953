package pki

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
)

// CertificateRequest is the public key of a certificate request (RFC 2986) whose
// signature showed that the sender holds the private half. Names, extensions and
// usages that the request asks for are not kept: nobody may choose an identity.
type CertificateRequest struct {
	public crypto.PublicKey
}

// ParseCertificateRequest reads one certificate request in PEM and checks its own
// signature and the strength of its key.
func ParseCertificateRequest(data []byte) (CertificateRequest, error) {
	found, err := blocks(data, maxRequestPEM, 1, labelRequest)
	if err != nil {
		return CertificateRequest{}, fmt.Errorf("reading certificate request: %w", err)
	}
	request, err := x509.ParseCertificateRequest(found[0].Bytes)
	if err != nil {
		return CertificateRequest{}, fmt.Errorf("reading certificate request: %w", err)
	}
	// The key is judged first: a signature by a huge RSA key takes long to check.
	if _, err := algorithmOf(request.PublicKey); err != nil {
		return CertificateRequest{}, fmt.Errorf("reading certificate request: %w", err)
	}
	switch request.SignatureAlgorithm {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA, x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512:
	default:
		return CertificateRequest{}, fmt.Errorf("reading certificate request: signature algorithm is %s, expected SHA-256 or stronger", request.SignatureAlgorithm)
	}
	if err := request.CheckSignature(); err != nil {
		return CertificateRequest{}, errors.New("reading certificate request: it is not signed by its own key; make it again with the key it is for")
	}
	return CertificateRequest{public: request.PublicKey}, nil
}

// KeyID identifies the public key: the SHA-256 of its encoding, in lower-case
// hexadecimal.
func (r CertificateRequest) KeyID() (string, error) { return publicKeyID(r.public) }

// Certifies reports whether the certificate is for the request's key.
func (r CertificateRequest) Certifies(c Certificate) bool {
	own, ok := r.public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && !c.IsZero() && own.Equal(c.parsed.PublicKey)
}

// PublicKeyID identifies the certificate's public key as CertificateRequest.KeyID does.
func (c Certificate) PublicKeyID() (string, error) { return publicKeyID(c.parsed.PublicKey) }

func publicKeyID(public crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("encoding public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}
