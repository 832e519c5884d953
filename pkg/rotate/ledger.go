package rotate

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
)

// State says what a generation is used for.
type State string

// The states, in the order a generation passes through them.
const (
	// Prepared exists, and nobody sees it.
	Prepared State = "Prepared"
	// Trusted is trusted by gateways and published, and issues nothing.
	Trusted State = "Trusted"
	// Active issues.
	Active State = "Active"
	// Retiring issues nothing any more and is trusted until its last certificate has ended.
	Retiring State = "Retiring"
	// Withdrawn is trusted no more, and kept until every replica was seen to refuse what it signed.
	Withdrawn State = "Withdrawn"
)

// Generation is one key of an authority.
type Generation struct {
	// ID is g1, g2 and so on.
	ID string
	// State says what it is used for, Since when it began to be.
	State State
	Since time.Time
	// CreatedAt is when it was made. Its life counts from here.
	CreatedAt time.Time
	// Authority is its certificate and key.
	Authority pki.Authority
	// Above are the CAs above it up to the root, each with the CRL that its owner signed if revocation is asked for; none
	// for a root.
	Above []pki.BundleEntry
	// Probe is a client certificate that the CRL lists from the first day, so that
	// a handshake with it shows whether the edge heeds revocation. Its life is the
	// generation's own.
	Probe pki.Pair
	// CRL is the newest one; zero while the authority works without revocation.
	CRL pki.CRL
	// Cross is its certificate signed by the generation before it, and Before the root of
	// that one, which callers may hold alone until it ends. Both are zero for the first, and
	// for one that must not be vouched for by the one before.
	Cross, Before pki.Certificate
	// Replaced is since when no counted replica serves a certificate of it; zero while it is
	// in use.
	Replaced time.Time
	// CrossRevoked are the cross-signed certificates that it signed and that are revoked.
	CrossRevoked []CrossRevoked
}

// CrossRevoked is a cross-signed certificate of a compromised generation.
type CrossRevoked struct {
	// Serial of the certificate.
	Serial pki.Serial
	// At is since when it is revoked, NotAfter its end, both in whole seconds.
	At, NotAfter time.Time
}

// ended reports whether nothing that it signed is accepted any more.
func (g Generation) ended(now time.Time) bool {
	return now.After(g.Authority.Certificate().NotAfter())
}

// life is from when it was made to its end.
func (g Generation) life() time.Duration {
	return g.Authority.Certificate().NotAfter().Sub(g.CreatedAt)
}

// Activation is when the next generation issues at the latest, if nothing is in its way: with a
// sixth of the life left. A jitter of the authority's own makes it earlier.
func (g Generation) Activation() time.Time {
	return g.Authority.Certificate().NotAfter().Add(-g.life() / activateDivisor)
}

// keyID is the subject key identifier of its certificate.
func (g Generation) keyID() string { return g.Authority.Certificate().SubjectKeyID() }

// Ledger is the record of one authority's generations. The zero Ledger is that of
// an authority that has none yet.
type Ledger struct {
	generations []Generation
	// last is the highest number that a generation ever had.
	last int
}

// Generations are all of them, oldest first. Callers must not change the slice.
func (l Ledger) Generations() []Generation { return l.generations }

// Signed reports whether one of the generations signed a certificate.
func (l Ledger) Signed(leaf pki.Certificate) bool {
	return slices.ContainsFunc(l.generations, func(g Generation) bool { return signedBy(leaf, g.Authority.Certificate()) })
}

// Newest is the id of the newest generation there ever was; empty if there was none.
func (l Ledger) Newest() string {
	if l.last == 0 {
		return ""
	}
	return generationID(l.last)
}

// Active is the generation that issues; false if there is none.
func (l Ledger) Active() (Generation, bool) { return l.in(Active) }

// in is the newest generation in a state; false if there is none.
func (l Ledger) in(s State) (Generation, bool) {
	for _, g := range slices.Backward(l.generations) {
		if g.State == s {
			return g, true
		}
	}
	return Generation{}, false
}

// Next is the generation that gateways are learning to trust; false if there is none.
func (l Ledger) Next() (Generation, bool) { return l.in(Trusted) }

// Withdrawn is the generation that gateways have to refuse from now on; false if there is
// none.
func (l Ledger) Withdrawn() (Generation, bool) { return l.in(Withdrawn) }

// Revokes reports whether gateways get CRLs where they are asked for: not as long as a generation may sign none, or a CA
// above one has none, because with one CRL in a bundle each CA needs one.
func (l Ledger) Revokes(asked bool) bool {
	_, unable := l.signsNone()
	return asked && !unable
}

// signsNone is the oldest generation without CRLs; false if all have them.
func (l Ledger) signsNone() (Generation, bool) {
	for _, g := range l.generations {
		if !g.Authority.MaySignCRLs() || slices.ContainsFunc(g.Above, func(e pki.BundleEntry) bool { return e.CRL.IsZero() }) {
			return g, true
		}
	}
	return Generation{}, false
}

// Bundle is what gateways trust at now: the active generation first, then the
// others that are trusted and have not ended, each with its CRL if revocation is asked for, and what is above them. One
// that stands below a CA without a fresh CRL is left out, unless it is the active one: there is nothing else to trust.
func (l Ledger) Bundle(revocation bool, now time.Time) (pki.Bundle, error) {
	var own, above []pki.BundleEntry
	for _, g := range l.trusted(now) {
		entries, err := g.entries(revocation, now)
		if errors.Is(err, errStale) && g.State != Active {
			continue
		}
		if err != nil {
			return pki.Bundle{}, fmt.Errorf("making bundle: %w", err)
		}
		own, above = append(own, entries[0]), append(above, entries[1:]...)
	}
	for _, e := range above {
		own = with(own, e)
	}
	return pki.NewBundle(own, now)
}

// trusted are the generations that gateways trust at now, the active one first. One that has ended is left out even
// if it is the active one, as long as there is another: callers of that one are accepted, and need its CRLs.
func (l Ledger) trusted(now time.Time) []Generation {
	var first, others []Generation
	for _, g := range l.generations {
		switch g.State {
		case Active:
			first = append(first, g)
		case Trusted, Retiring:
			if !g.ended(now) {
				others = append(others, g)
			}
		case Prepared, Withdrawn:
		}
	}
	if len(others) > 0 {
		first = slices.DeleteFunc(first, func(g Generation) bool { return g.ended(now) })
	}
	return append(first, others...)
}

// CRLsEnd is when the first CRL ends of the generations that gateways trust at now; the zero time if one of them has none, or
// none is trusted.
func (l Ledger) CRLsEnd(now time.Time) time.Time {
	var end time.Time
	for _, g := range l.trusted(now) {
		if g.CRL.IsZero() {
			return time.Time{}
		}
		if next := g.CRL.NextUpdate(); end.IsZero() || next.Before(end) {
			end = next
		}
	}
	return end
}

// Signer is who signs leaves now.
type Signer struct {
	// Generation that signs.
	Generation Generation
	// Authority signs, and hands out with each leaf what callers need who know only the
	// generation before.
	Authority pki.Authority
	// Held are the roots of which a caller may hold each alone, the one above the signer, or its own, first.
	Held []pki.Certificate
	// Good are the generations before whose certificates are still as good.
	Good []pki.Certificate
	// Unvouched is whether callers that know only the generation before cannot verify what this one
	// signs: their servers keep what they have for as long as they can.
	Unvouched bool
	// Before is who signs for those servers until then what they lost or what has other names; nil if nobody can.
	Before *Signer
}

// SignerOf is an authority that is nobody's successor, and a root.
func SignerOf(a pki.Authority) Signer { return Generation{Authority: a}.signer() }

// signer is the generation as one that is nobody's successor.
func (g Generation) signer() Signer {
	return Signer{Generation: g, Authority: g.Authority, Held: []pki.Certificate{g.root()}}
}

// Signer is the active generation as a signer; false if there is none.
func (l Ledger) Signer(now time.Time) (Signer, bool, error) {
	active, ok := l.Active()
	if !ok {
		return Signer{}, false, nil
	}
	s, err := active.signerNow(now)
	if err != nil {
		return Signer{}, false, err
	}
	for _, g := range l.generations {
		if g.State != Retiring || g.ended(now) {
			continue
		}
		s.Good = append(s.Good, g.Authority.Certificate())
		if !g.sameRoot(active) {
			before, err := g.signerNow(now)
			if err != nil {
				return Signer{}, false, err
			}
			s.Before = &before
		}
	}
	return s, true, nil
}

// signerNow is the generation as a signer whom the one before it vouches for.
func (g Generation) signerNow(now time.Time) (s Signer, err error) {
	s = g.signer()
	if !g.Cross.IsZero() && !now.After(g.Cross.NotAfter()) {
		if s.Authority, err = g.Authority.Through(g.Cross); err != nil {
			return Signer{}, fmt.Errorf("handing out generation %s through the one before: %w", g.ID, err)
		}
		s.Held = append(s.Held, g.Before)
	}
	return s, nil
}

// heldAlone are the bundles of callers that know one root alone.
func (s Signer) heldAlone(now time.Time) ([]pki.Bundle, error) {
	var bundles []pki.Bundle
	for _, root := range s.Held {
		bundle, err := pki.NewBundle([]pki.BundleEntry{{CA: root}}, now)
		if err != nil {
			return nil, err
		}
		bundles = append(bundles, bundle)
	}
	return bundles, nil
}

// check holds a ledger to what every reader relies on: ids that rise, and at most one
// generation that issues and one that is about to.
func (l Ledger) check() error {
	previous := 0
	count := map[State]int{}
	for _, g := range l.generations {
		n, err := generationNumber(g.ID)
		if err != nil {
			return err
		}
		if n <= previous {
			return fmt.Errorf("generation %s comes after g%d, expected rising numbers", g.ID, previous)
		}
		previous = n
		switch g.State {
		case Active, Prepared, Trusted, Retiring, Withdrawn:
			count[g.State]++
		default:
			return fmt.Errorf("generation %s is in state %.32q, expected Prepared, Trusted, Active, Retiring or Withdrawn", g.ID, g.State)
		}
	}
	if l.last < previous {
		return fmt.Errorf("the last generation was g%d, and there is a g%d", l.last, previous)
	}
	if count[Active] > 1 {
		return fmt.Errorf("%d generations are active, expected one", count[Active])
	}
	if n := count[Prepared] + count[Trusted]; n > 1 {
		return fmt.Errorf("%d generations are about to become active, expected one", n)
	}
	return nil
}

// Earlier reports whether a generation's id is before another's; an empty or unreadable one is
// before all.
func Earlier(id, other string) bool {
	n, err := generationNumber(id)
	m, otherErr := generationNumber(other)
	return err != nil || otherErr == nil && n < m
}

func generationID(n int) string { return "g" + strconv.Itoa(n) }

func generationNumber(id string) (int, error) {
	digits, ok := strings.CutPrefix(id, "g")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 1 || generationID(n) != id {
		return 0, fmt.Errorf("generation is called %.32q, expected g1, g2 and so on", id)
	}
	return n, nil
}
