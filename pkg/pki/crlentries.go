package pki

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"time"
)

// signList makes a CRL of a template that has no entries, with entries, none of which is later than latest. All but the
// entries is what crypto/x509 makes of the template: its own encoding of entries takes as long as all else that is done with
// them, being read again and verified included.
func (a Authority) signList(template *x509.RevocationList, entries []Revoked, latest time.Time) ([]byte, error) {
	without, err := x509.CreateRevocationList(rand.Reader, template, a.certificate.parsed, a.key.signer)
	if err != nil || len(entries) == 0 { // such a list has no sequence of entries (RFC 5280 section 5.1.2.6)
		return without, err
	}
	var signed certificateList
	if _, err := asn1.Unmarshal(without, &signed); err != nil {
		return nil, err
	}
	list, err := withEntries(signed.List.FullBytes, entries, latest)
	if err != nil {
		return nil, err
	}
	signature, err := crypto.SignMessage(a.key.signer, rand.Reader, list, hashOf(a.key.algorithm))
	if err != nil {
		return nil, err
	}
	signed.List, signed.Signature = asn1.RawValue{FullBytes: list}, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	return asn1.Marshal(signed)
}

// certificateList is the CertificateList of RFC 5280 section 5.1.
type certificateList struct {
	List, Algorithm asn1.RawValue
	Signature       asn1.BitString
}

// withEntries is a TBSCertList of RFC 5280 section 5.1 that has no revokedCertificates, with some: they stand between nextUpdate
// and the extensions.
func withEntries(list []byte, entries []Revoked, latest time.Time) ([]byte, error) {
	encoded, err := make([]byte, 0, len(entries)*entrySize), error(nil)
	for _, entry := range entries {
		if encoded, err = appendEntry(encoded, entry, earlier(entry.At, latest)); err != nil {
			return nil, err
		}
	}
	var outer, field asn1.RawValue
	if _, err := asn1.Unmarshal(list, &outer); err != nil {
		return nil, err
	}
	extensions := outer.Bytes
	for {
		rest, err := asn1.Unmarshal(extensions, &field)
		if err != nil {
			return nil, err
		}
		if field.Class == asn1.ClassContextSpecific { // crlExtensions [0]
			break
		}
		extensions = rest
	}
	return sequence(outer.Bytes[:len(outer.Bytes)-len(extensions)], sequence(encoded), extensions), nil
}

// sequence is a SEQUENCE of what is encoded, its length in the shortest form (X.690 section 10.1).
func sequence(parts ...[]byte) []byte {
	length := 0
	for _, part := range parts {
		length += len(part)
	}
	encoded := append(make([]byte, 0, length+6), sequenceOctet)
	if length < 128 {
		encoded = append(encoded, byte(length))
	} else {
		octets := bytes.TrimLeft(binary.BigEndian.AppendUint32(nil, uint32(length)), "\x00") //nolint:gosec // a Secret has a mebibyte
		encoded = append(append(encoded, 0x80|byte(len(octets))), octets...)
	}
	for _, part := range parts {
		encoded = append(encoded, part...)
	}
	return encoded
}

// entrySize is the longest that an entry is: 20 octets of serial number with a leading zero, a GeneralizedTime, and a reason.
const entrySize = 2 + (2 + 21) + (2 + 15) + 14

// The years of dates that are UTCTime; all others are GeneralizedTime (RFC 5280 section 5.1.2.6).
const firstUTCTime, lastUTCTime = 1950, 2049

// reasonExtension is crlEntryExtensions with a reasonCode, of which the last octet is missing (RFC 5280 section 5.3.1).
var reasonExtension = []byte{sequenceOctet, 12, sequenceOctet, 10, asn1.TagOID, 3, 0x55, 0x1d, 0x15, asn1.TagOctetString, 3, asn1.TagEnum, 1}

// sequenceOctet is the identifier octet of a SEQUENCE: its tag, and that it is constructed.
const sequenceOctet = asn1.TagSequence | 0x20

// appendEntry appends an entry of revokedCertificates (RFC 5280 section 5.1). A reason of 0 is left out (section 5.3.1). Every length is
// one octet, for none reaches 128.
func appendEntry(to []byte, entry Revoked, at time.Time) ([]byte, error) {
	if at = at.UTC(); at.IsZero() || at.Year() < 0 || at.Year() > 9999 {
		return nil, fmt.Errorf("entry %s: revoked at %s, which no CRL can say", entry.Serial, stamp(at))
	}
	if entry.Reason < 0 || entry.Reason > maxReason {
		return nil, fmt.Errorf("entry %s: reason %d, expected one of at most %d (RFC 5280 section 5.3.1)", entry.Serial, entry.Reason, maxReason)
	}
	begin := len(to)
	to = append(to, sequenceOctet, 0)
	serial := bytes.TrimLeft(entry.Serial.octets[:], "\x00")
	if serial[0]&0x80 != 0 { // it would be negative
		to = append(to, asn1.TagInteger, byte(len(serial)+1), 0)
	} else {
		to = append(to, asn1.TagInteger, byte(len(serial)))
	}
	to = append(to, serial...)
	to = appendTime(to, at)
	if entry.Reason != 0 {
		to = append(append(to, reasonExtension...), byte(entry.Reason))
	}
	to[begin+1] = byte(len(to) - begin - 2)
	return to, nil
}

// appendTime appends a Time of RFC 5280 section 4.1.2.5, in UTC and whole seconds.
func appendTime(to []byte, at time.Time) []byte {
	year, month, day := at.Date()
	hour, minute, second := at.Clock()
	if year < firstUTCTime || year > lastUTCTime {
		to = appendDigits(append(to, asn1.TagGeneralizedTime, 15), year/100)
	} else {
		to = append(to, asn1.TagUTCTime, 13)
	}
	return append(appendDigits(to, year%100, int(month), day, hour, minute, second), 'Z')
}

// appendDigits appends two digits of each number.
func appendDigits(to []byte, numbers ...int) []byte {
	for _, number := range numbers {
		to = append(to, byte('0'+number/10), byte('0'+number%10)) //nolint:gosec // below 100
	}
	return to
}

// maxReason is the highest reason code of RFC 5280 section 5.3.1.
const maxReason = 10

// hashOf is what crypto/x509 hashes with before a key signs.
func hashOf(a Algorithm) crypto.Hash {
	if a == ECDSAP384 {
		return crypto.SHA384
	}
	return crypto.SHA256
}
