package pki

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
)

// maxSerialOctets is the longest serial number of a certificate (RFC 5280 section
// 4.1.2.2).
const maxSerialOctets = 20

// serialOctets is how many random octets our own serial numbers have: 128 bits,
// twice what the CA/Browser Forum asks (Baseline Requirements section 7.1).
const serialOctets = 16

// Serial is the serial number of a certificate: positive, 20 octets at most. It is
// comparable; the zero Serial belongs to no certificate.
type Serial struct{ octets [maxSerialOctets]byte }

// newSerial draws a serial number.
func newSerial() (Serial, error) {
	var s Serial
	random := s.octets[maxSerialOctets-serialOctets:]
	for random[0] == 0 { // one length for all of them
		if _, err := rand.Read(random); err != nil {
			return Serial{}, fmt.Errorf("drawing serial number: %w", err)
		}
	}
	return s, nil
}

// ParseSerial reads a serial number in hexadecimal. Leading zeros and upper case
// are taken, so that what other tools print can be pasted.
func ParseSerial(text string) (Serial, error) {
	digits := strings.TrimLeft(strings.ToLower(text), "0")
	if digits == "" || len(digits) > 2*maxSerialOctets || strings.Trim(digits, "0123456789abcdef") != "" {
		return Serial{}, fmt.Errorf("reading serial number: found %.64q, expected a positive number of at most %d hexadecimal digits", text, 2*maxSerialOctets)
	}
	if len(digits)%2 == 1 {
		digits = "0" + digits
	}
	var s Serial
	if _, err := hex.Decode(s.octets[maxSerialOctets-len(digits)/2:], []byte(digits)); err != nil {
		return Serial{}, fmt.Errorf("reading serial number %s: %w", digits, err)
	}
	return s, nil
}

// serialOf takes the serial number from a certificate or a CRL entry.
func serialOf(n *big.Int) (Serial, error) {
	if n == nil || n.Sign() <= 0 {
		return Serial{}, fmt.Errorf("serial number is %v, expected a positive one (RFC 5280 section 4.1.2.2)", n)
	}
	if octets := (n.BitLen() + 7) / 8; octets > maxSerialOctets {
		return Serial{}, fmt.Errorf("serial number has %d octets, expected at most %d (RFC 5280 section 4.1.2.2)", octets, maxSerialOctets)
	}
	var s Serial
	n.FillBytes(s.octets[:])
	return s, nil
}

// String is the number in lower-case hexadecimal, an even number of digits.
func (s Serial) String() string { return hex.EncodeToString(bytes.TrimLeft(s.octets[:], "\x00")) }

// IsZero reports whether this is the zero Serial.
func (s Serial) IsZero() bool { return s == Serial{} }

func (s Serial) number() *big.Int { return new(big.Int).SetBytes(s.octets[:]) }
