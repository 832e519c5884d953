package pki

import (
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
type Serial struct{ hex string }

// newSerial draws a serial number.
func newSerial() (Serial, error) {
	var random [serialOctets]byte
	for random[0] == 0 { // one length for all of them
		if _, err := rand.Read(random[:]); err != nil {
			return Serial{}, fmt.Errorf("drawing serial number: %w", err)
		}
	}
	return Serial{hex.EncodeToString(random[:])}, nil
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
	return Serial{digits}, nil
}

// serialOf takes the serial number from a certificate or a CRL entry.
func serialOf(n *big.Int) (Serial, error) {
	if n == nil || n.Sign() <= 0 {
		return Serial{}, fmt.Errorf("serial number is %v, expected a positive one (RFC 5280 section 4.1.2.2)", n)
	}
	if octets := len(n.Bytes()); octets > maxSerialOctets {
		return Serial{}, fmt.Errorf("serial number has %d octets, expected at most %d (RFC 5280 section 4.1.2.2)", octets, maxSerialOctets)
	}
	return Serial{hex.EncodeToString(n.Bytes())}, nil
}

// String is the number in lower-case hexadecimal, an even number of digits.
func (s Serial) String() string { return s.hex }

// IsZero reports whether this is the zero Serial.
func (s Serial) IsZero() bool { return s.hex == "" }

func (s Serial) number() *big.Int {
	n, _ := new(big.Int).SetString(s.hex, 16) // hex digits by construction
	return n
}
