package rotate

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
)

// TrustedCertificate is the CA of somebody else, with those above it up to the root, whose
// callers gateways accept. It was read, and is judged by TrustAlso.
type TrustedCertificate struct {
	// Name of the entry.
	Name string
	// Entries are its CAs, each with its CRL if any were stated.
	Entries []pki.BundleEntry
	// Unreadable is why there are none; nil if there are.
	Unreadable error
}

// ParseTrustedCertificate reads CAs and their CRLs in PEM. Without CRLs, crls is empty. What
// cannot be read is told by the entry itself, so that it holds up no other.
func ParseTrustedCertificate(name string, cas, crls []byte) TrustedCertificate {
	t := TrustedCertificate{Name: name}
	certificates, err := pki.ParseCertificates(cas)
	if err != nil {
		t.Unreadable = fmt.Errorf("reading its CAs: %w", err)
		return t
	}
	var lists []pki.CRL
	if len(crls) > 0 {
		if lists, err = pki.ParseCRLs(crls); err != nil {
			t.Unreadable = err
			return t
		}
	}
	t.Entries, t.Unreadable = pki.PairEntries(certificates, lists)
	return t
}

// Standing is how the CA of somebody else stands at an instant.
type Standing struct {
	// Name of the entry.
	Name string
	// LeftOut is why gateways do not trust it; nil if they do.
	LeftOut error
	// NotAfter is when gateways stop trusting it unless it is replaced: the first end of its
	// CAs and of the CRLs that they need. Expected is when its owner ought to have replaced
	// what ends first. Both are zero if it cannot be read.
	NotAfter, Expected time.Time
	// Next is when the passing of time alone changes how it stands; zero if it never does.
	Next time.Time
}

// TrustAlso is what gateways trust that accept callers of other CAs too: a bundle, and each
// entry in its order as long as a gateway would work with all of it at now. An entry that is
// malformed, has ended, is not complete or does not fit is left out, and holds up no other.
// With revocation an entry needs CRLs, one for each CA up to the root. One that is
// a generation of the authority itself, or has a key that is compromised, is left out: what was
// withdrawn must not come back in disguise.
func (l Ledger) TrustAlso(bundle pki.Bundle, trusted []TrustedCertificate, s AuthoritySettings, now time.Time) (pki.Bundle, []Standing) {
	standings := make([]Standing, 0, len(trusted))
	for _, t := range trusted {
		standing := t.standing(s.Revocation, now)
		if standing.LeftOut = t.unfit(s.Revocation); standing.LeftOut == nil {
			standing.LeftOut = l.disguised(t, s.Rotation.Compromised)
		}
		if standing.LeftOut == nil {
			var with pki.Bundle
			if with, standing.LeftOut = bundle.With(t.Entries, now); standing.LeftOut == nil {
				bundle = with
			}
		}
		standings = append(standings, standing)
	}
	return bundle, standings
}

// ErrNeedsCRL says that gateways would refuse every caller of a CA that states no CRL.
var ErrNeedsCRL = errors.New("it states no CRL, and with revocation by CRL gateways refuse every caller of a CA without one: state one for each of its CAs")

var errNoCRL = errors.New("it states a CRL, and gateways check none, as the condition RevocationCurrent of the authority tells: leave it out, or see that they do")

// unfit says what keeps an entry out at any time, nil if nothing does.
func (t TrustedCertificate) unfit(revocation bool) error {
	switch {
	case t.Unreadable != nil:
		return t.Unreadable
	case revocation && t.Entries[0].CRL.IsZero():
		return ErrNeedsCRL
	case !revocation && !t.Entries[0].CRL.IsZero():
		return errNoCRL
	}
	return nil
}

// ErrCompromised says that somebody else may hold the key of a CA.
var ErrCompromised = errors.New("is compromised")

// disguised says which CA of the entry the authority itself has withdrawn or may withdraw, nil
// if none is.
func (l Ledger) disguised(t TrustedCertificate, compromised []string) error {
	for _, entry := range t.Entries {
		id := entry.CA.SubjectKeyID()
		own, err := entry.CA.KeyID()
		if err != nil {
			return err
		}
		if slices.Contains(compromised, id) || slices.Contains(compromised, own) {
			return fmt.Errorf("its CA %s %w", id, ErrCompromised)
		}
		for _, g := range l.generations {
			if g.keyID() == id || g.Authority.Certificate().SameKey(entry.CA) {
				return fmt.Errorf("its CA %s is generation %s of the authority itself", id, g.ID)
			}
		}
	}
	return nil
}

// The share of its validity that a certificate or a CRL has left, and the most, when its owner
// ought to have replaced it.
const (
	expectedDivisor = 10
	mostExpected    = 30 * 24 * time.Hour
)

func expected(from, to time.Time) time.Time {
	return to.Add(-min(mostExpected, to.Sub(from)/expectedDivisor)).Truncate(time.Second)
}

// standing is how an entry stands in time.
func (t TrustedCertificate) standing(revocation bool, now time.Time) Standing {
	s := Standing{Name: t.Name}
	span := func(from, to, last time.Time) {
		s.NotAfter, s.Expected = earlier(s.NotAfter, to), earlier(s.Expected, expected(from, to))
		for _, change := range []time.Time{from, last} {
			if change.After(now) {
				s.Next = earlier(s.Next, change)
			}
		}
	}
	for _, entry := range t.Entries {
		span(entry.CA.NotBefore(), entry.CA.NotAfter(), entry.CA.NotAfter().Add(time.Second))
		if revocation && !entry.CRL.IsZero() {
			span(entry.CRL.ThisUpdate(), entry.CRL.NextUpdate(), entry.CRL.NextUpdate())
		}
	}
	return s
}
