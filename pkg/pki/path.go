package pki

import (
	"bytes"
	"fmt"
	"slices"
)

// PathAbove finds in a pool the CAs above one, from the one that signed it up to the root; none if it is a root itself
// (RFC 5280 section 6.1). The order of the pool does not matter, nor whether the CA itself is in it; anything else in it is
// an error, because somebody meant it to be trusted. So is a CA that two others of the pool could have signed, and a pool of more
// than most others: each may cost a signature for each of the others.
func PathAbove(ca Certificate, pool []Certificate, most int) ([]Certificate, error) {
	rest := slices.DeleteFunc(slices.Clone(pool), ca.Equal)
	if len(rest) > most {
		return nil, fmt.Errorf("%d CAs are above it, at most %d are taken", len(rest), most)
	}
	for i, c := range rest {
		if err := c.asCA(); err != nil {
			return nil, fmt.Errorf("reading the CAs above it: %w", err)
		}
		if slices.ContainsFunc(rest[:i], c.Equal) {
			return nil, fmt.Errorf("reading the CAs above it: CA %q is there twice", c.parsed.Subject.CommonName)
		}
	}
	var path []Certificate
	for last := ca; !last.selfIssued(); {
		above := slices.IndexFunc(rest, last.SignedBy)
		if above < 0 {
			return nil, fmt.Errorf("CA %q is signed by %q, which is not there: every CA up to the root has to be (in ca.crt, or behind the CA)", last.parsed.Subject.CommonName, last.parsed.Issuer)
		}
		last = rest[above]
		path, rest = append(path, last), slices.Delete(rest, above, above+1)
		if another := slices.IndexFunc(rest, path[len(path)-1].sameKeyAndName); another >= 0 {
			return nil, fmt.Errorf("CA %q is there with two certificates: which of them counts is not known", rest[another].parsed.Subject.CommonName)
		}
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("CA %q is there and not above %q: leave it out", rest[0].parsed.Subject.CommonName, ca.parsed.Subject.CommonName)
	}
	return path, nil
}

// selfIssued reports whether a CA signed itself.
func (c Certificate) selfIssued() bool {
	return bytes.Equal(c.parsed.RawIssuer, c.parsed.RawSubject) && c.parsed.CheckSignatureFrom(c.parsed) == nil
}

// SignedBy reports whether another CA signed this one, by its name and key. Hand-made ones have no key identifiers; where both have
// one and they differ, no verifier takes the one for the issuer of the other, and no signature is checked.
func (c Certificate) SignedBy(other Certificate) bool {
	issuer, subject := c.parsed.AuthorityKeyId, other.parsed.SubjectKeyId
	if len(issuer) > 0 && len(subject) > 0 && !bytes.Equal(issuer, subject) {
		return false
	}
	return bytes.Equal(c.parsed.RawIssuer, other.parsed.RawSubject) && c.parsed.CheckSignatureFrom(other.parsed) == nil
}

func (c Certificate) sameKeyAndName(other Certificate) bool {
	return bytes.Equal(c.parsed.RawSubject, other.parsed.RawSubject) && c.SameKey(other)
}
