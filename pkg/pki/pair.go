package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Chain is a leaf and the CAs above it, each signed by the next, without the root.
type Chain struct {
	certificates []Certificate
}

func newChain(certificates []Certificate) (Chain, error) {
	if len(certificates) == 0 || len(certificates) > maxChain {
		return Chain{}, fmt.Errorf("chain has %d certificates, expected 1 to %d", len(certificates), maxChain)
	}
	if certificates[0].parsed.IsCA {
		return Chain{}, fmt.Errorf("certificate %s is a CA, expected the leaf first", certificates[0].serial)
	}
	for i, c := range certificates[:len(certificates)-1] {
		if err := c.parsed.CheckSignatureFrom(certificates[i+1].parsed); err != nil {
			return Chain{}, fmt.Errorf("certificate %s is not signed by the next in the chain: %w", c.serial, err)
		}
	}
	return Chain{certificates: certificates}, nil
}

// ParseChain reads a chain in PEM, the leaf first.
func ParseChain(data []byte) (Chain, error) {
	certificates, err := parseCertificates(data, maxChainPEM, maxChain)
	if err != nil {
		return Chain{}, fmt.Errorf("reading chain: %w", err)
	}
	chain, err := newChain(certificates)
	if err != nil {
		return Chain{}, fmt.Errorf("reading chain: %w", err)
	}
	return chain, nil
}

// Leaf is the first certificate.
func (c Chain) Leaf() Certificate {
	if len(c.certificates) == 0 {
		return Certificate{}
	}
	return c.certificates[0]
}

// Above are the CAs above the leaf. Callers must not change the slice.
func (c Chain) Above() []Certificate {
	if len(c.certificates) == 0 {
		return nil
	}
	return c.certificates[1:]
}

// PEM is the leaf, then the CAs above it.
func (c Chain) PEM() []byte {
	var all []byte
	for _, certificate := range c.certificates {
		all = append(all, certificate.encoded...)
	}
	return all
}

// verify builds a path from the leaf to one of the roots, as a peer does at now
// (RFC 5280 section 6.1), and returns all such paths.
func (c Chain) verify(roots []Certificate, usage x509.ExtKeyUsage, now time.Time) ([][]*x509.Certificate, error) {
	if len(c.certificates) == 0 {
		return nil, errors.New("verifying chain: it is empty")
	}
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}}
	for _, root := range roots {
		options.Roots.AddCert(root.parsed)
	}
	for _, intermediate := range c.certificates[1:] {
		options.Intermediates.AddCert(intermediate.parsed)
	}
	paths, err := c.Leaf().parsed.Verify(options)
	if err != nil {
		return nil, fmt.Errorf("verifying certificate %s at %s: %w", c.Leaf().serial, stamp(now), err)
	}
	return paths, nil
}

// VerifyClient says why a gateway that trusts the bundle would refuse the caller
// at now; nil if it would let it in.
func (c Chain) VerifyClient(trusted Bundle, now time.Time) error {
	return c.verifyIn(trusted, x509.ExtKeyUsageClientAuth, now)
}

// VerifyServer says why a caller that trusts the bundle would refuse the server
// for one of the hosts at now; nil if it would talk to it under all of them.
func (c Chain) VerifyServer(trusted Bundle, hosts []string, now time.Time) error {
	if err := c.verifyIn(trusted, x509.ExtKeyUsageServerAuth, now); err != nil {
		return err
	}
	for _, host := range hosts {
		// A wildcard is served for the wildcard itself, not for one name below it.
		if !slices.Contains(c.Leaf().parsed.DNSNames, host) {
			return fmt.Errorf("verifying certificate %s: host %.300q is not among its names %q", c.Leaf().serial, host, c.Leaf().parsed.DNSNames)
		}
	}
	return nil
}

// verifyIn looks for a path that the CRLs do not refuse: a cross-signed certificate
// of a generation that is gone does no harm beside the root that replaced it.
func (c Chain) verifyIn(trusted Bundle, usage x509.ExtKeyUsage, now time.Time) error {
	paths, err := c.verify(trusted.Certificates(), usage, now)
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err = trusted.admits(path); err == nil {
			return nil
		}
	}
	return fmt.Errorf("verifying certificate %s: %w", c.Leaf().serial, err)
}

// Pair is a chain together with the private key of its leaf.
type Pair struct {
	chain Chain
	key   Key
}

func newPair(chain Chain, key Key) (Pair, error) {
	if !key.matches(chain.Leaf().parsed.PublicKey) {
		return Pair{}, fmt.Errorf("the private key does not belong to certificate %s", chain.Leaf().serial)
	}
	return Pair{chain: chain, key: key}, nil
}

// ParsePair reads a chain and the key of its leaf, both in PEM.
func ParsePair(certificates, key []byte) (Pair, error) {
	chain, err := ParseChain(certificates)
	if err != nil {
		return Pair{}, err
	}
	k, err := ParseKey(key)
	if err != nil {
		return Pair{}, err
	}
	pair, err := newPair(chain, k)
	if err != nil {
		return Pair{}, fmt.Errorf("reading pair: %w", err)
	}
	return pair, nil
}

// IsZero reports whether there is no pair.
func (p Pair) IsZero() bool { return len(p.chain.certificates) == 0 }

// Chain is the public part.
func (p Pair) Chain() Chain { return p.chain }

// Leaf is the certificate of the key.
func (p Pair) Leaf() Certificate { return p.chain.Leaf() }

// Key is the private key of the leaf.
func (p Pair) Key() Key { return p.key }

// CertificatePEM is the leaf, then the CAs above it.
func (p Pair) CertificatePEM() []byte { return p.chain.PEM() }

// KeyPEM is the private key in PKCS #8. Callers must not change it.
func (p Pair) KeyPEM() []byte { return p.key.PEM() }

// Equal reports whether both are the same chain and key.
func (p Pair) Equal(other Pair) bool {
	return bytes.Equal(p.CertificatePEM(), other.CertificatePEM()) && bytes.Equal(p.KeyPEM(), other.KeyPEM())
}
