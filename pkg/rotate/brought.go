package rotate

import (
	"fmt"
	"slices"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
)

// Takes says why the CA that somebody brings cannot be a generation of the authority, nil if it can or
// is one: by its key, and by what a copy of the ledger can do with it that has it issue.
func (l Ledger) Takes(s AuthoritySettings, use Use, now time.Time) error {
	if err := l.knows(s.Brought, s.Rotation.Compromised); err != nil {
		return err
	}
	if l.Holds(s.Brought.CA) && !l.renews(s.Brought) {
		return nil
	}
	return l.try(s, use, now)
}

// Holds reports whether a CA is a generation already, with the same certificate.
func (l Ledger) Holds(ca pki.Authority) bool {
	return slices.ContainsFunc(l.generations, func(g Generation) bool { return g.Authority.Certificate().Equal(ca.Certificate()) })
}

// Use is what the certificates are for that an authority issues: what another CA is tried with before it is
// taken.
type Use struct {
	// Hosts of the servers.
	Hosts []string
	// Lifetime of a certificate, the longest that is asked for.
	Lifetime time.Duration
}

// try has the CA that is brought live the life of a generation on a copy of the ledger, and says what fails.
func (l Ledger) try(s AuthoritySettings, use Use, now time.Time) error {
	if use.Lifetime > s.LongestLeaf {
		return fmt.Errorf("certificates of %s are asked for, and one that it signs lives for %s at most, a sixth of its own life: bring one that is valid for longer, or ask for shorter ones", use.Lifetime, s.LongestLeaf)
	}
	after := Ledger{generations: slices.Clone(l.generations), last: l.last}
	trusts, _ := after.Bundle(s.Revocation, now) // what is wrong without it is not its fault
	if i := slices.IndexFunc(after.generations, func(g Generation) bool { return g.keyID() == s.Brought.keyID() }); i >= 0 {
		after.generations[i].renew(s.Brought)
	} else if err := after.create(generationID(l.last+1), s, now); err != nil {
		return err
	}
	made := slices.IndexFunc(after.generations, func(g Generation) bool { return g.Authority.Certificate().Equal(s.Brought.CA.Certificate()) })
	g := &after.generations[made]
	if s.Revocation {
		if err := g.signCRL(s, now); err != nil {
			return err
		}
	}
	if !trusts.IsZero() && g.State == Prepared {
		g.enter(Trusted, now)
		if _, err := after.Bundle(s.Revocation, now); err != nil {
			return err
		}
	}
	return g.serves(s, use, now)
}

// serves says what certificates of a generation its gateways or callers could not use.
func (g Generation) serves(s AuthoritySettings, use Use, now time.Time) error {
	bundle, err := Ledger{generations: []Generation{{ID: g.ID, State: Active, Authority: g.Authority, Above: g.Above, CRL: g.CRL}}}.Bundle(s.Revocation, now)
	if err != nil {
		return err
	}
	leaf := LeafSettings{Lifetime: max(use.Lifetime, time.Second), Algorithm: pki.ECDSAP256}
	for some := range slices.Chunk(use.Hosts, hostsTried) {
		if _, err := MaterializeServer(g.signer(), bundle, some, leaf, now); err != nil {
			return fmt.Errorf("a certificate for a server that it signs is of no use: %w", err)
		}
	}
	if _, err := MaterializeClient(g.signer(), bundle, ClientNames{CommonName: "trial", Identity: s.ProbeIdentity}, leaf, now); err != nil {
		return fmt.Errorf("a certificate for a caller that it signs is of no use: %w", err)
	}
	return nil
}

// hostsTried bounds the hosts in a certificate that is tried.
const hostsTried = 100

// knows says why the key of a CA cannot be that of a generation, nil if it can.
func (l Ledger) knows(b Brought, compromised []string) error {
	brought := b.CA
	certificate := brought.Certificate()
	id := certificate.SubjectKeyID()
	own, err := certificate.KeyID()
	if err != nil {
		return err
	}
	if slices.Contains(compromised, id) || slices.Contains(compromised, own) {
		return fmt.Errorf("its key %s is compromised: bring another one", id)
	}
	for _, above := range b.Above {
		key, err := above.KeyID()
		if err != nil {
			return err
		}
		if slices.Contains(compromised, above.SubjectKeyID()) || slices.Contains(compromised, key) {
			return fmt.Errorf("CA %q above it %w: bring one below another root", above.X509().Subject.CommonName, ErrCompromised)
		}
	}
	for _, g := range l.generations {
		known := g.Authority.Certificate()
		same := g.keyID() == id || known.SameKey(certificate)
		_, err := brought.Through(known)
		switch {
		case same && (g.State == Retiring || g.State == Withdrawn):
			return fmt.Errorf("its key %s is that of generation %s, which has given way to another: bring a new one", id, g.ID)
		case same && (err != nil || g.keyID() != id):
			return fmt.Errorf("its key %s was brought as %q with key id %s before, and certificates that it signed name that: keep name and key id, or make a new key", id, known.X509().Subject, g.keyID())
		}
	}
	return nil
}

// another reports whether somebody brings a key that no generation has yet.
func (p *planner) another() bool {
	if !p.s.Brings || p.s.Brought.IsZero() || p.knows(p.s.Brought, p.s.Rotation.Compromised) != nil {
		return false
	}
	id := p.s.Brought.keyID()
	return !slices.ContainsFunc(p.generations, func(g Generation) bool { return g.keyID() == id })
}

// takesBack plans to be rid of the generation that waits, where the key that is brought is the active one
// again: its owner thought better of it. False if it is not.
func (p *planner) takesBack(active Generation) bool {
	if !p.s.Brings || p.s.Brought.IsZero() || p.s.Brought.keyID() != active.keyID() {
		return false
	}
	if prepared, is := p.in(Prepared); is {
		p.step(Remove, prepared.ID, ReasonTakenBack)
		return true
	}
	if next, is := p.Next(); is {
		p.enter(active, Withdraw, next, ReasonTakenBack)
		return true
	}
	return false
}

// asked is why a rotation is made that somebody asked for.
func (p *planner) asked() Reason {
	if p.s.Brings {
		return ReasonBrought
	}
	return ReasonRequested
}

// beginBrought plans the next generation as soon as its owner brings it, unless callers may know only
// the generation before the active one.
func (p *planner) beginBrought(active Generation) {
	if !p.another() {
		return
	}
	due := p.queuedBrought(active)
	if p.now.Before(due) {
		p.plan.Wait.Queued = due
		p.look(due)
		return
	}
	if !p.held(active) {
		p.create(ReasonBrought)
	}
}

// replaceable are the generations that can be thrown out. The one that issues can only where another
// takes its place: gateways cannot trust nobody, and would go on with what they have.
func (p *planner) replaceable(thrown []Generation) []Generation {
	if _, is := p.successor(thrown); is || !p.s.Brings || p.another() {
		return thrown
	}
	return slices.DeleteFunc(thrown, func(g Generation) bool {
		if g.State == Active {
			p.plan.Wait.Irreplaceable = g.ID
		}
		return g.State == Active
	})
}

// queuedBrought is when a CA that is brought may become the next generation: when no caller can know only
// one before the active one.
func (p *planner) queuedBrought(active Generation) (due time.Time) {
	if p.s.Rotation.CallersUpdated == active.keyID() {
		return time.Time{}
	}
	if !active.Before.IsZero() {
		due = active.Before.NotAfter().Add(time.Second)
	}
	next := p.s.Brought.generation()
	for _, g := range p.old() {
		if !g.sameRoot(next) {
			due = maxTime(due, g.Authority.Certificate().NotAfter().Add(time.Second))
		}
	}
	return due
}

// renew plans to take what the owner of a key renewed, if he did: its certificate, those above it, and their CRLs. The key
// is the same, so nothing else changes.
func (p *planner) renew() {
	if !p.s.Brings || p.s.Brought.IsZero() || p.knows(p.s.Brought, p.s.Rotation.Compromised) != nil {
		return
	}
	for _, g := range p.generations {
		if g.renews(p.s.Brought) {
			p.step(Renew, g.ID, ReasonRenewed)
		}
	}
}

// renews reports whether what is brought renews a generation: the same key with a certificate that ends later, or below
// other certificates; or, whatever its key, a newer CRL of a CA above it.
func (g Generation) renews(b Brought) bool {
	if g.keyID() == b.keyID() {
		mine, other := g.Authority.Certificate(), b.CA.Certificate()
		return other.NotAfter().After(mine.NotAfter()) || other.Equal(mine) && !slices.EqualFunc(g.above(), b.Above, pki.Certificate.Equal) || g.fresher(b)
	}
	return g.fresher(b)
}

func (g Generation) fresher(b Brought) bool {
	return !slices.EqualFunc(g.Above, newest(g.Above, b.CRLs), func(a, b pki.BundleEntry) bool { return a.CRL.Equal(b.CRL) })
}

// renews reports whether what is brought renews any generation.
func (l Ledger) renews(b Brought) bool {
	return slices.ContainsFunc(l.generations, func(g Generation) bool { return g.renews(b) })
}

// renew takes what is renewed.
func (g *Generation) renew(b Brought) {
	if g.keyID() != b.keyID() {
		g.Above = newest(g.Above, b.CRLs)
		return
	}
	if !g.Authority.Certificate().NotAfter().After(b.CA.Certificate().NotAfter()) {
		g.Authority = b.CA
		g.Above = b.entries(g.Above)
	}
	g.Above = newest(g.Above, b.CRLs)
}

func (b Brought) keyID() string { return b.CA.Certificate().SubjectKeyID() }

// generation is what it would be.
func (b Brought) generation() Generation { return Generation{Authority: b.CA, Above: b.entries(nil)} }

// Unvouched reports whether callers that know only the generation before cannot verify what the
// active one signs: nothing vouches for it, and nobody said that all callers know it.
func (l Ledger) Unvouched(callersUpdated string) bool {
	active, is := l.Active()
	return is && active.Cross.IsZero() && callersUpdated != active.keyID() && slices.ContainsFunc(l.generations, func(g Generation) bool {
		return g.State == Retiring && !g.sameRoot(active)
	})
}

// unvouchedDivisor: a server certificate of the generation before is kept until a sixth of its life is
// left where callers may not know the next one.
const unvouchedDivisor = 6

// unvouched reports whether a certificate is of the generation before, and callers may not know
// the active one.
func (s Signer) unvouched(leaf pki.Certificate) bool {
	return s.Unvouched && slices.ContainsFunc(s.Good, func(before pki.Certificate) bool { return signedBy(leaf, before) })
}

// planUnvouched judges such a certificate: it stays for as long as it can.
func planUnvouched(leaf pki.Certificate, now time.Time) LeafPlan {
	if due := unvouchedUntil(leaf); now.Before(due) {
		return LeafPlan{Next: due}
	}
	return LeafPlan{Issue: true, Reason: ReasonIssuer, PutOff: validity{leaf.NotBefore(), leaf.NotAfter()}.putOff()}
}

func unvouchedUntil(leaf pki.Certificate) time.Time {
	return leaf.NotAfter().Add(-leaf.NotAfter().Sub(leaf.NotBefore()) / unvouchedDivisor)
}

// RenewalTime is when a server's certificate is renewed: as RenewalTime says, or later where callers may
// not know this signer.
func (s Signer) RenewalTime(leaf pki.Certificate, settings LeafSettings) time.Time {
	if s.unvouched(leaf) {
		return unvouchedUntil(leaf)
	}
	return RenewalTime(leaf, settings)
}
