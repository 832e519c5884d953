package pki

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"slices"
)

// Size caps in bytes, checked before anything is decoded: the time that decoders
// need grows faster than their input does.
const (
	// maxKeyPEM holds an RSA key of 16384 bits, twice.
	maxKeyPEM = 32 << 10
	// maxChainPEM holds the longest chain (maxChain) with room for large keys.
	maxChainPEM = 64 << 10
	// maxBundlePEM and maxCRLPEM are what fits into one Secret (1 MiB) together.
	maxBundlePEM = 512 << 10
	maxCRLPEM    = 1 << 20
	// MaxCRLs is what the CRLs of all CAs of a bundle may take, in bytes of PEM.
	MaxCRLs = maxCRLPEM - maxBundlePEM
	// maxRequestPEM is the cap of spec.csr in the ClientCertificate's schema.
	maxRequestPEM = 16 << 10
	// maxChain is how many certificates a chain has at most.
	maxChain = 8
	// maxBundle is how many CAs a bundle has at most.
	maxBundle = 256
)

// Labels of PEM blocks (RFC 7468 sections 5, 6, 7, 10, 13).
const (
	labelCertificate = "CERTIFICATE"
	labelRequest     = "CERTIFICATE REQUEST"
	labelCRL         = "X509 CRL"
	labelPKCS8       = "PRIVATE KEY"
	labelEC          = "EC PRIVATE KEY"
	labelRSA         = "RSA PRIVATE KEY"
)

// blocks decodes PEM strictly: at least one block and at most most of them, each
// with one of the labels, without headers, and nothing but white space around
// them. A lenient reader would take a private key pasted into ca.crt for a comment.
func blocks(data []byte, size, most int, labels ...string) ([]*pem.Block, error) {
	if len(data) > size {
		return nil, fmt.Errorf("reading PEM: %d bytes, at most %d are read", len(data), size)
	}
	var found []*pem.Block
	rest := bytes.TrimSpace(data)
	for len(rest) > 0 {
		if !bytes.HasPrefix(rest, []byte("-----BEGIN ")) {
			return nil, fmt.Errorf("reading PEM: text outside of a block, after block %d", len(found))
		}
		block, after := pem.Decode(rest)
		if block == nil {
			return nil, fmt.Errorf("reading PEM: block %d is malformed", len(found)+1)
		}
		// The decoder skips a malformed block and returns a later one.
		if skipped := len(rest) - len(after); bytes.Count(rest[:skipped], []byte("-----BEGIN ")) != 1 {
			return nil, fmt.Errorf("reading PEM: block %d is malformed", len(found)+1)
		}
		if !slices.Contains(labels, block.Type) {
			return nil, fmt.Errorf("reading PEM: block %d is a %.64q, expected %q", len(found)+1, block.Type, labels)
		}
		if len(block.Headers) > 0 {
			return nil, fmt.Errorf("reading PEM: block %d has headers, expected none (encrypted keys are not read)", len(found)+1)
		}
		if found = append(found, block); len(found) > most {
			return nil, fmt.Errorf("reading PEM: more than %d blocks", most)
		}
		rest = bytes.TrimSpace(after)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("reading PEM: no block found, expected %q", labels)
	}
	return found, nil
}

func encode(label string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
}
