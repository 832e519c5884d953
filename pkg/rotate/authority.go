package rotate

import (
	"slices"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
)

// AuthoritySettings are what is asked of an authority.
type AuthoritySettings struct {
	// Name goes into the subject of each generation, cut to 40 bytes. The jitter of its rotation
	// is derived from it.
	Name string
	// RootLifetime is the life of one generation.
	RootLifetime time.Duration
	// RootAlgorithm is that of a generation's key.
	RootAlgorithm pki.Algorithm
	// Brings is whether somebody else makes the keys. Brought is then the pair he offers now; zero
	// if there is none that can be used. RootLifetime and RootAlgorithm are its own.
	Brings  bool
	Brought Brought
	// LongestLeaf bounds the life of what a generation signs.
	LongestLeaf time.Duration
	// Revocation is whether gateways get CRLs.
	Revocation bool
	// CRLValidity is the time from a CRL's signature to its next update.
	CRLValidity time.Duration
	// CRLRefresh is the time between two signatures of a CRL.
	CRLRefresh time.Duration
	// ProbeIdentity is the URI of the revoked probe certificate.
	ProbeIdentity string
	// Revocations are the certificates of callers that CRLs have to list.
	Revocations Revocations
	// Rotation says how one generation gives way to the next.
	Rotation RotationSettings
}

// RotationSettings say how one generation gives way to the next.
type RotationSettings struct {
	// Paused keeps the authority in its phase, but not beyond the point of no return.
	Paused bool
	// Windows are the only times in which another phase may be entered; none allows any time. They
	// too hold nothing up beyond the point of no return.
	Windows []Window
	// MinimumOverlap is how long gateways trust the next generation until it issues, at least;
	// a quarter of what the active one has left, at most.
	MinimumOverlap time.Duration
	// Proof is whether handshakes have to show that a phase may be left.
	Proof bool
	// ProofTimeout is how long a replica holds a phase up of which nothing is known.
	ProofTimeout time.Duration
	// LookEvery is how often to look for answers that hold a phase up.
	LookEvery time.Duration
	// RotateAfter asks for a rotation: a generation made before it is replaced. Zero asks for none.
	RotateAfter time.Time
	// Compromised are the key ids of generations that must not be trusted any longer.
	Compromised []string
	// CallersUpdated is the key id of a generation that every caller knows.
	CallersUpdated string
}

// Window is a recurring span of time.
type Window struct {
	// Opens is when it opens next after an instant; zero if it never does again.
	Opens func(after time.Time) time.Time
	// Duration is how long it stays open.
	Duration time.Duration
}

// opens is when another phase may be entered next: zero if it may be at now, or if no window opens
// ever again, which is false.
func (s RotationSettings) opens(now time.Time) (next time.Time, may bool) {
	for _, w := range s.Windows {
		opened := w.Opens(now.Add(-w.Duration))
		if !opened.IsZero() && !opened.After(now) {
			return time.Time{}, true
		}
		next = earlier(next, w.Opens(now))
	}
	return next, len(s.Windows) == 0
}

// The shares of a generation's life at which something has to happen. SPIRE has the same
// (spiffe/spire:pkg/server/ca/manager/slot.go).
const (
	prepareDivisor  = 2  // half of it is over: the next one is made
	activateDivisor = 6  // a sixth is left: the next one issues
	noReturnDivisor = 12 // a twelfth is left: time alone decides
	overlapDivisor  = 4  // of what is left, the overlap takes a quarter at most
)

// PlanAuthority says what to do with an authority now: which phase to enter, which
// generations and CRLs to make. An authority without any generation gets its first. Each
// phase is stored before the next one is entered. One whose active generation has ended, and
// that has no next one, gets nothing unless asked: who trusted it must be asked. Where somebody
// else makes the keys, another key of his is what asks.
func PlanAuthority(ledger Ledger, s AuthoritySettings, e Evidence, now time.Time) Plan {
	p := planner{Ledger: ledger, s: s, e: e, now: now, plan: Plan{Phase: ledger.Phase()}}
	if len(ledger.generations) == 0 {
		if !s.Brings || !s.Brought.IsZero() {
			p.create(ReasonMissing)
		}
		return p.plan
	}
	p.renew()
	if !p.throwOut() {
		p.rotate()
	}
	p.signCRLs()
	return p.plan
}

// planner gathers the steps of one plan.
type planner struct {
	Ledger
	s    AuthoritySettings
	e    Evidence
	now  time.Time
	plan Plan
}

func (p *planner) step(a Action, generation string, r Reason) {
	p.plan.Steps = append(p.plan.Steps, Step{Action: a, Generation: generation, Reason: r})
}

// look has the plan made again at an instant.
func (p *planner) look(at time.Time) { p.plan.Next = earlier(p.plan.Next, at) }

// create makes the next generation and its first CRL. It returns its id.
func (p *planner) create(r Reason) string {
	id := generationID(p.last + 1)
	p.step(CreateGeneration, id, r)
	if p.s.Revocation {
		p.step(SignCRL, id, ReasonMissing)
		p.look(p.now.Add(p.s.CRLRefresh))
	}
	return id
}

// signCRLs signs those that are due, of every generation that stays.
func (p *planner) signCRLs() {
	if !p.s.Revocation {
		return
	}
	for _, g := range p.generations {
		if g.ended(p.now) || p.leaves(g.ID) {
			continue
		}
		due, reason := crlDue(g, p.s, p.now)
		if p.revokes(g) {
			due, reason = p.now, ReasonRevocation
		}
		if !due.After(p.now) {
			p.step(SignCRL, g.ID, reason)
			due = p.now.Add(p.s.CRLRefresh)
		}
		p.look(due)
	}
}

// leaves reports whether a generation is dropped by the plan.
func (p *planner) leaves(id string) bool {
	return slices.ContainsFunc(p.plan.Steps, func(s Step) bool {
		return s.Generation == id && (s.Action == Remove || s.Action == ThrowOut)
	})
}

// revokes reports whether a generation vouched for one that is thrown out.
func (p *planner) revokes(g Generation) bool {
	return slices.ContainsFunc(p.generations, func(thrown Generation) bool {
		return p.leaves(thrown.ID) && slices.Contains(p.s.Rotation.Compromised, thrown.keyID()) && thrown.crossedBy(g)
	})
}

// crossedBy reports whether another generation vouches for this one.
func (g Generation) crossedBy(signer Generation) bool {
	return !g.Cross.IsZero() && g.Before.SameKey(signer.Authority.Certificate()) // its certificate may have been renewed since
}

// crlDue is when the generation needs its next CRL, and why.
func crlDue(g Generation, s AuthoritySettings, now time.Time) (time.Time, Reason) {
	switch {
	case g.CRL.IsZero():
		return now, ReasonMissing
	case !s.Revocations.listedBy(g, now):
		return now, ReasonRevocation
	case g.CRL.NextUpdate().After(now.Add(s.CRLValidity)):
		return now, ReasonLifetime // a shorter validity is asked for than when it was signed
	}
	return g.CRL.NextUpdate().Add(s.CRLRefresh - s.CRLValidity), ReasonDue
}
