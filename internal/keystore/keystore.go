// Package keystore puts the key and the chain of a caller into a PKCS #12 file (RFC 7292), for
// callers that read no PEM.
//
// It refuses to know where the file and its password are kept, and to hold trust: roots are beside
// it, in PEM.
package keystore

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"unicode/utf8"

	"software.sslmate.com/src/go-pkcs12"

	"sallyport.dev/sallyport/pkg/pki"
)

// maxPassword bounds a password, in bytes: a word of hundreds is a file that was named by mistake.
const maxPassword = 256

// Password protects a key store. The zero Password protects none.
type Password struct{ text string }

// ParsePassword takes a password as a Secret holds it. A line break at the end is an editor's. It
// has to be text, because PKCS #12 has it in UTF-16 (RFC 7292, appendix B.1), and letters beyond the
// first plane have no place there.
func ParsePassword(raw []byte) (Password, error) {
	text := string(raw)
	for len(text) > 0 && (text[len(text)-1] == '\n' || text[len(text)-1] == '\r') {
		text = text[:len(text)-1]
	}
	switch {
	case text == "":
		return Password{}, errors.New("the password is empty")
	case len(text) > maxPassword:
		return Password{}, fmt.Errorf("the password has %d bytes, at most %d are taken", len(text), maxPassword)
	case !utf8.ValidString(text):
		return Password{}, errors.New("the password is no text in UTF-8")
	}
	for _, r := range text {
		if r > 0xffff || r == 0 {
			return Password{}, errors.New("the password has a letter that PKCS #12 has no place for")
		}
	}
	return Password{text: text}, nil
}

// Encode makes a file with the key and the chain of a pair: AES-256 and HMAC-SHA-256, as OpenSSL 1.1.1,
// Java 12 and Windows Server 2019 and everything newer read it.
func Encode(pair pki.Pair, password Password) ([]byte, error) {
	block, _ := pem.Decode(pair.KeyPEM())
	if block == nil || password.text == "" {
		return nil, errors.New("making key store: there is no key, or no password")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("making key store: %w", err)
	}
	var above []*x509.Certificate
	for _, c := range pair.Chain().Above() {
		above = append(above, c.X509())
	}
	file, err := pkcs12.Modern2023.Encode(key, pair.Leaf().X509(), above, password.text)
	if err != nil {
		return nil, fmt.Errorf("making key store: %w", err)
	}
	if !Holds(file, pair, password) {
		return nil, errors.New("making key store: what was made cannot be read back")
	}
	return file, nil
}

// Holds reports whether a file is one of this pair under this password. The bytes are others each time
// one is made, so they cannot be compared.
func Holds(file []byte, pair pki.Pair, password Password) bool {
	key, leaf, above, err := pkcs12.DecodeChain(file, password.text)
	if err != nil || !leaf.Equal(pair.Leaf().X509()) || len(above) != len(pair.Chain().Above()) {
		return false
	}
	for i, c := range pair.Chain().Above() {
		if !above[i].Equal(c.X509()) {
			return false
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	block, _ := pem.Decode(pair.KeyPEM())
	return err == nil && block != nil && string(der) == string(block.Bytes)
}
