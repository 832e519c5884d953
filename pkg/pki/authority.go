package pki

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"time"
)

// Back-dating keeps a certificate usable for a verifier whose clock is behind.
const (
	// MaxBackdate is how far behind a clock may be at the most.
	MaxBackdate     = 10 * time.Minute
	backdateDivisor = 10
)

// rootPathLen lets a root sign one CA below it: the cross-signed next generation
// (RFC 5280 section 4.2.1.9).
const rootPathLen = 1

// Authority is a CA certificate together with its key: it can sign. The zero
// Authority signs nothing.
type Authority struct {
	certificate Certificate
	key         Key
	// above is what peers get beside a leaf.
	above []Certificate
}

// RootRequest describes a self-signed root.
type RootRequest struct {
	// CommonName is the subject. Two generations of one authority must differ in
	// it: with equal subjects and different keys a verifier cannot tell which CRL
	// belongs to which (RFC 5280 section 6.3.3).
	CommonName string
	// Key is the root's own.
	Key Key
	// Lifetime counts from the moment of issue; at least one second.
	Lifetime time.Duration
}

// NewRoot makes a self-signed root that is valid at now.
func NewRoot(r RootRequest, now time.Time) (Authority, error) {
	if r.CommonName == "" || len(r.CommonName) > maxCommonName {
		return Authority{}, fmt.Errorf("making root: common name has %d bytes, expected 1 to %d", len(r.CommonName), maxCommonName)
	}
	validity, err := validityOf(r.Lifetime, now)
	if err != nil {
		return Authority{}, fmt.Errorf("making root: %w", err)
	}
	template, err := validity.template(r.Key.Public())
	if err != nil {
		return Authority{}, fmt.Errorf("making root: %w", err)
	}
	template.Subject = pkix.Name{CommonName: r.CommonName}
	template.BasicConstraintsValid, template.IsCA, template.MaxPathLen = true, true, rootPathLen
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	template.AuthorityKeyId = template.SubjectKeyId
	certificate, err := sign(template, template, r.Key.Public(), r.Key)
	if err != nil {
		return Authority{}, fmt.Errorf("making root: %w", err)
	}
	return newAuthority(certificate, r.Key)
}

// ParseAuthority reads a CA certificate and its key, both in PEM. Whether it is in
// its validity is asked when it signs.
func ParseAuthority(certificate, key []byte) (Authority, error) {
	certificates, err := parseCertificates(certificate, maxChainPEM, 1)
	if err != nil {
		return Authority{}, fmt.Errorf("reading CA: %w", err)
	}
	k, err := ParseKey(key)
	if err != nil {
		return Authority{}, fmt.Errorf("reading CA: %w", err)
	}
	return newAuthority(certificates[0], k)
}

func newAuthority(c Certificate, key Key) (Authority, error) {
	if err := c.asCA(); err != nil {
		return Authority{}, fmt.Errorf("reading CA: %w", err)
	}
	if !key.matches(c.parsed.PublicKey) {
		return Authority{}, fmt.Errorf("reading CA: the private key does not belong to certificate %s", c.serial)
	}
	a := Authority{certificate: c, key: key}
	if !c.selfIssued() {
		a.above = []Certificate{c} // peers have roots, and nothing between
	}
	return a, nil
}

// Through returns the same authority with other certificates beside its leaves: one of its
// own key, and those above that one. Peers that do not know the authority, and know who
// signed the last of them, find the way.
func (a Authority) Through(above ...Certificate) (Authority, error) {
	for i, c := range above {
		if err := c.asCA(); err != nil {
			return Authority{}, err
		}
		switch {
		case i == 0 && !a.sameCA(c):
			return Authority{}, fmt.Errorf("certificate %s is not of CA %q and its key", c.serial, a.certificate.parsed.Subject.CommonName)
		case i > 0 && above[i-1].parsed.CheckSignatureFrom(c.parsed) != nil:
			return Authority{}, fmt.Errorf("CA certificate %s is not signed by the next, %s", above[i-1].serial, c.serial)
		}
	}
	a.above = above
	return a, nil
}

func (a Authority) sameCA(c Certificate) bool {
	own := a.certificate.parsed
	return bytes.Equal(own.RawSubject, c.parsed.RawSubject) && bytes.Equal(own.RawSubjectPublicKeyInfo, c.parsed.RawSubjectPublicKeyInfo)
}

// Fit says why the CA cannot be that of an authority from now on, nil if it can: it is valid, and may sign CRLs where it has to (RFC 5280 sections 4.1.2.5, 4.2.1.3). What it constrains below
// itself is found out with each certificate.
func (a Authority) Fit(revocation bool, now time.Time) error {
	if a.IsZero() {
		return errNoAuthority
	}
	if err := a.certificate.ValidAt(now); err != nil {
		return err
	}
	if revocation && !a.MaySignCRLs() {
		return fmt.Errorf("CA certificate %s may not sign CRLs: key usage cRLSign is missing (RFC 5280 section 4.2.1.3); or ask for revocation None", a.certificate.serial)
	}
	return nil
}

// MaySignCRLs reports whether the CA's key usage has cRLSign (RFC 5280 section 4.2.1.3).
func (a Authority) MaySignCRLs() bool {
	return !a.IsZero() && a.certificate.parsed.KeyUsage&x509.KeyUsageCRLSign != 0
}

// MayVouch reports whether the CA allows another one below itself (RFC 5280 section 4.2.1.9).
func (a Authority) MayVouch() bool {
	return !a.IsZero() && (a.certificate.parsed.MaxPathLen > 0 || !a.certificate.parsed.MaxPathLenZero)
}

// CrossSign certifies the key of another CA under the other's own name, so that whoever
// trusts only this one can verify what the other signs (RFC 5280 section 3.2). It is valid
// while both are, and lets no further CA stand below it.
func (a Authority) CrossSign(other Certificate, now time.Time) (Certificate, error) {
	if a.IsZero() {
		return Certificate{}, errNoAuthority
	}
	own := a.certificate.parsed
	if !a.MayVouch() {
		return Certificate{}, fmt.Errorf("cross-signing CA %q: CA %q allows no CA below itself, its path length is 0 (RFC 5280 section 4.2.1.9)",
			other.parsed.Subject.CommonName, own.Subject.CommonName)
	}
	for _, c := range []Certificate{a.certificate, other} {
		if err := errors.Join(c.asCA(), c.ValidAt(now)); err != nil {
			return Certificate{}, fmt.Errorf("cross-signing CA %q: %w", other.parsed.Subject.CommonName, err)
		}
	}
	span := validity{from: other.NotBefore(), to: other.NotAfter()}.inside(a.certificate)
	template, err := span.template(other.parsed.PublicKey)
	if err != nil {
		return Certificate{}, fmt.Errorf("cross-signing: %w", err)
	}
	template.RawSubject, template.SubjectKeyId = other.parsed.RawSubject, other.parsed.SubjectKeyId
	template.BasicConstraintsValid, template.IsCA, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	template.AuthorityKeyId = own.SubjectKeyId
	return sign(template, own, other.parsed.PublicKey, a.key)
}

// Certificate is the CA's own certificate.
func (a Authority) Certificate() Certificate { return a.certificate }

// Key is the CA's private key.
func (a Authority) Key() Key { return a.key }

// IsZero reports whether there is no authority.
func (a Authority) IsZero() bool { return a.certificate.IsZero() }

// Above are the certificates that peers get beside a leaf: none of a root, unless Through
// says so. Callers must not change the slice.
func (a Authority) Above() []Certificate { return a.above }

// SelfSigned reports whether the CA is its own issuer: a root.
func (a Authority) SelfSigned() bool { return !a.IsZero() && a.certificate.selfIssued() }

var errNoAuthority = errors.New("there is no CA to sign with")

// issue signs a leaf from a template whose names and usages are set: it adds the
// validity (inside the CA's own), the serial number and the key ids. The signature is
// checked as it is made (crypto/x509.CreateCertificate); whether a peer would take the
// certificate depends on what the peer trusts, so VerifyServer and VerifyClient tell.
func (a Authority) issue(names x509.Certificate, public crypto.PublicKey, lifetime time.Duration, now time.Time) (Chain, error) {
	if a.IsZero() {
		return Chain{}, errNoAuthority
	}
	if err := a.certificate.ValidAt(now); err != nil {
		return Chain{}, fmt.Errorf("signing with CA %q: %w", a.certificate.parsed.Subject.CommonName, err)
	}
	validity, err := validityOf(lifetime, now)
	if err != nil {
		return Chain{}, err
	}
	template, err := validity.inside(a.certificate).template(public)
	if err != nil {
		return Chain{}, err
	}
	template.Subject, template.DNSNames, template.URIs = names.Subject, names.DNSNames, names.URIs
	template.ExtKeyUsage = names.ExtKeyUsage
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.BasicConstraintsValid = true // says that it is no CA
	template.AuthorityKeyId = a.certificate.parsed.SubjectKeyId
	leaf, err := sign(template, a.certificate.parsed, public, a.key)
	if err != nil {
		return Chain{}, err
	}
	return newChain(append([]Certificate{leaf}, a.above...))
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key Key) (Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key.signer)
	if err != nil {
		return Certificate{}, fmt.Errorf("signing certificate: %w", err)
	}
	return newCertificate(der)
}

// validity is a span of time in whole seconds, as certificates have it.
type validity struct{ from, to time.Time }

// Backdate is how long before its issue a certificate of this lifetime begins: a
// tenth of the lifetime, ten minutes at most.
func Backdate(lifetime time.Duration) time.Duration {
	return min(MaxBackdate, lifetime/backdateDivisor)
}

func validityOf(lifetime time.Duration, now time.Time) (validity, error) {
	if lifetime < time.Second {
		return validity{}, fmt.Errorf("lifetime is %s, expected at least 1s", lifetime)
	}
	v := validity{from: now.Add(-Backdate(lifetime)).Truncate(time.Second), to: now.Add(lifetime).Truncate(time.Second)}
	if v.to.Year() > 9999 { // RFC 5280 section 4.1.2.5
		return validity{}, fmt.Errorf("lifetime is %s, which ends after the year 9999", lifetime)
	}
	return v, nil
}

// inside cuts the span to that of a CA: a leaf that outlives its issuer is refused
// by some verifiers from the issuer's end on, and by others never.
func (v validity) inside(ca Certificate) validity {
	if v.from.Before(ca.NotBefore()) {
		v.from = ca.NotBefore()
	}
	if v.to.After(ca.NotAfter()) {
		v.to = ca.NotAfter()
	}
	return v
}

func (v validity) template(public crypto.PublicKey) (*x509.Certificate, error) {
	if public == nil {
		return nil, errors.New("there is no key to certify")
	}
	if _, err := algorithmOf(public); err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	id, err := keyID(public)
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{SerialNumber: serial.number(), NotBefore: v.from, NotAfter: v.to, SubjectKeyId: id}, nil
}
