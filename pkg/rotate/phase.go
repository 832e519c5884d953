package rotate

import (
	"slices"
	"time"
)

// Phase is how far an authority is on the way from one generation to the next.
type Phase string

// The phases.
const (
	// PhaseStable says that one generation is all there is.
	PhaseStable Phase = "Stable"
	// PhasePrepare says that the next generation exists and nobody sees it.
	PhasePrepare Phase = "Prepare"
	// PhaseTrust says that gateways and callers are learning to trust the next generation.
	PhaseTrust Phase = "Trust"
	// PhaseActivate says that leaves of the generation before are being re-issued.
	PhaseActivate Phase = "Activate"
	// PhaseRetire says that the generation before waits for its last certificate to end, or for every
	// replica to refuse it.
	PhaseRetire Phase = "Retire"
)

// Phases are all of them, in order.
func Phases() []Phase {
	return []Phase{PhaseStable, PhasePrepare, PhaseTrust, PhaseActivate, PhaseRetire}
}

// Phase is how far the ledger is.
func (l Ledger) Phase() Phase {
	for state, phase := range map[State]Phase{Prepared: PhasePrepare, Trusted: PhaseTrust} {
		if _, is := l.in(state); is {
			return phase
		}
	}
	old := l.old()
	switch {
	case len(old) == 0:
		return PhaseStable
	case slices.ContainsFunc(old, func(g Generation) bool { return g.State == Retiring && g.Replaced.IsZero() }):
		return PhaseActivate
	}
	return PhaseRetire
}

// old are the generations before the active one.
func (l Ledger) old() []Generation {
	var old []Generation
	for _, g := range l.generations {
		if g.State == Retiring || g.State == Withdrawn {
			old = append(old, g)
		}
	}
	return old
}

// Answer is what is known of a question to a replica.
type Answer string

// The answers.
const (
	// Yes says that handshakes showed what is asked for.
	Yes Answer = "Yes"
	// No says that they showed the opposite.
	No Answer = "No"
	// Unknown says that nothing is known.
	Unknown Answer = "Unknown"
	// Pending says that nothing is known yet, and that nothing is wrong.
	Pending Answer = "Pending"
)

// Finding is what one replica of a gateway answered.
type Finding struct {
	// Gateway is <namespace>/<name>.
	Gateway string
	// Replica is <namespace>/<pod>; empty if the Gateway as a whole was not told yet.
	Replica string
	// Counted is whether a rotation waits for it: the Gateway once accepted the active generation.
	Counted bool
	// Answer it gave.
	Answer Answer
	// Message says why, for people; empty with Yes.
	Message string
}

// Evidence is what is known of the gateways and callers of an authority.
type Evidence struct {
	// Accepts is whether a certificate of the generation that is about to issue is accepted.
	Accepts []Finding
	// Serves is whether a certificate of the active generation is served.
	Serves []Finding
	// Refuses is whether a certificate of the withdrawn generation is refused (Ledger.Withdrawn: the newest of several).
	Refuses []Finding
	// InUse are the ids of generations of which a server certificate is stored behind a Gateway
	// that works.
	InUse map[string]bool
	// ClientsEnd is when the last certificate ends that was issued to a caller and not revoked,
	// by the id of the generation that signed it.
	ClientsEnd map[string]time.Time
	// ClientsUnknown is whether a part of what was issued to callers is not in it: any generation before
	// the active one may have issued what ends last.
	ClientsUnknown bool
}

// Wait is what keeps a rotation in its phase.
type Wait struct {
	// Blocked are the findings of counted replicas that hold it up: failed ones always,
	// unknown ones for a while.
	Blocked []Finding
	// Until is when unknown ones hold it up no longer; zero if any has failed.
	Until time.Time
	// Unproven are the findings of the rest that are not Yes. They hold nothing up.
	Unproven []Finding
	// Queued is until when a rotation that is asked for waits for callers that know only the
	// generation before; zero if none does. Answer may come earlier.
	Queued time.Time
	// Irreplaceable is a compromised generation that stays, because it is the only one that can issue and
	// its owner has not brought another key; empty if none is.
	Irreplaceable string
	// Held is whether the authority was told to stay in its phase, Opens when a window lets it go on;
	// zero if it is paused.
	Held  bool
	Opens time.Time
}

// gate decides whether a phase may be left by what replicas answered.
type gate struct {
	open   bool
	reason Reason
	wait   Wait
}

// ask judges findings at now. Unknown ones count until a limit.
func ask(findings []Finding, proof bool, limit, now time.Time) gate {
	if !proof {
		return gate{open: true, reason: ReasonTime}
	}
	var g gate
	failed, pending, missed := false, false, false
	for _, f := range findings {
		switch {
		case f.Answer == Yes:
		case !f.Counted:
			g.wait.Unproven = append(g.wait.Unproven, f)
		case f.Answer == No:
			failed = true
			g.wait.Blocked = append(g.wait.Blocked, f)
		case now.Before(limit) && f.Answer == Pending:
			pending = true
		case now.Before(limit):
			g.wait.Blocked = append(g.wait.Blocked, f)
		default:
			missed = true
			g.wait.Unproven = append(g.wait.Unproven, f)
		}
	}
	g.open, g.reason = len(g.wait.Blocked) == 0 && !pending, ReasonProven
	if missed {
		g.reason = ReasonTime
	}
	if !g.open && !failed {
		g.wait.Until = limit
	}
	return g
}
