package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// Algorithm names the algorithm and size of a private key that is made here.
type Algorithm string

// The algorithms, in the words of the annotation key-algorithm.
const (
	// ECDSAP256 is ECDSA on the curve P-256.
	ECDSAP256 Algorithm = "ECDSA-P256"
	// ECDSAP384 is ECDSA on the curve P-384.
	ECDSAP384 Algorithm = "ECDSA-P384"
	// RSA2048 is RSA with a modulus of 2048 bits.
	RSA2048 Algorithm = "RSA-2048"
	// RSA3072 is RSA with a modulus of 3072 bits.
	RSA3072 Algorithm = "RSA-3072"
	// RSA4096 is RSA with a modulus of 4096 bits.
	RSA4096 Algorithm = "RSA-4096"
)

// Algorithms are all of them, the default first.
func Algorithms() []Algorithm {
	return []Algorithm{ECDSAP256, ECDSAP384, RSA2048, RSA3072, RSA4096}
}

// ParseAlgorithm takes the exact name of an algorithm.
func ParseAlgorithm(name string) (Algorithm, error) {
	if a := Algorithm(name); slices.Contains(Algorithms(), a) {
		return a, nil
	}
	return "", fmt.Errorf("reading key algorithm: found %.64q, expected one of %q", name, Algorithms())
}

// Key is a private key of one of the Algorithms. The zero Key signs nothing.
type Key struct {
	signer    crypto.Signer
	algorithm Algorithm
	encoded   []byte
}

// GenerateKey makes a new key.
func GenerateKey(a Algorithm) (Key, error) {
	signer, err := generate(a)
	if err != nil {
		return Key{}, fmt.Errorf("generating key: %w", err)
	}
	return newKey(signer)
}

func generate(a Algorithm) (crypto.Signer, error) {
	switch a {
	case ECDSAP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case ECDSAP384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	}
	return nil, fmt.Errorf("found algorithm %.64q, expected one of %q", a, Algorithms())
}

// ParseKey reads one private key in PEM: PKCS #8, or the older forms of RSA
// (RFC 8017 appendix A.1.2) and EC (RFC 5915). An encrypted key is refused.
func ParseKey(data []byte) (Key, error) {
	found, err := blocks(data, maxKeyPEM, 1, labelPKCS8, labelEC, labelRSA)
	if err != nil {
		return Key{}, fmt.Errorf("reading private key: %w", err)
	}
	signer, err := parseSigner(found[0].Type, found[0].Bytes)
	if err != nil {
		return Key{}, fmt.Errorf("reading private key: %w", err)
	}
	key, err := newKey(signer)
	if err != nil {
		return Key{}, fmt.Errorf("reading private key: %w", err)
	}
	return key, nil
}

// errKeyUnreadable stands for the decoders' own errors, which may quote the input.
var errKeyUnreadable = errors.New("the block does not hold a key of its label")

func parseSigner(label string, der []byte) (crypto.Signer, error) {
	switch label {
	case labelEC:
		if key, err := x509.ParseECPrivateKey(der); err == nil {
			return key, nil
		}
	case labelRSA:
		if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
			return key, nil
		}
	default:
		key, err := x509.ParsePKCS8PrivateKey(der)
		if signer, ok := key.(crypto.Signer); ok && err == nil {
			return signer, nil
		}
	}
	return nil, errKeyUnreadable
}

func newKey(signer crypto.Signer) (Key, error) {
	a, err := algorithmOf(signer.Public())
	if err != nil {
		return Key{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return Key{}, fmt.Errorf("encoding private key: %w", err)
	}
	return Key{signer: signer, algorithm: a, encoded: encode(labelPKCS8, der)}, nil
}

// algorithmOf names the algorithm of a public key that is one of ours exactly.
func algorithmOf(public crypto.PublicKey) (Algorithm, error) {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return ECDSAP256, nil
		case elliptic.P384():
			return ECDSAP384, nil
		}
		return "", fmt.Errorf("key is on the curve %s, expected P-256 or P-384", key.Params().Name)
	case *rsa.PublicKey:
		switch key.N.BitLen() {
		case 2048:
			return RSA2048, nil
		case 3072:
			return RSA3072, nil
		case 4096:
			return RSA4096, nil
		}
		return "", fmt.Errorf("RSA key has %d bits, expected 2048, 3072 or 4096", key.N.BitLen())
	}
	return "", fmt.Errorf("key is a %T, expected ECDSA or RSA", public)
}

// PEM is the key in PKCS #8. Callers must not change it.
func (k Key) PEM() []byte { return k.encoded }

// Public is the public half; nil for the zero Key.
func (k Key) Public() crypto.PublicKey {
	if k.signer == nil {
		return nil
	}
	return k.signer.Public()
}

// Algorithm is the key's algorithm.
func (k Key) Algorithm() Algorithm { return k.algorithm }

// ID is the subject key id that certificates of this key carry, in lower-case
// hexadecimal.
func (k Key) ID() (string, error) {
	id, err := keyID(k.Public())
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(id), nil
}

// matches reports whether the key is the private half of public.
func (k Key) matches(public crypto.PublicKey) bool {
	own, ok := k.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && own.Equal(public)
}

// keyID is the leftmost 160 bits of the SHA-256 of the public key (RFC 7093,
// section 2, method 1).
func keyID(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("encoding public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return sum[:20], nil
}
