package rotate

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// Reason says why something is made. It is a word for events and metrics.
type Reason string

// The reasons.
const (
	// ReasonMissing says that there is none yet.
	ReasonMissing Reason = "Missing"
	// ReasonUnreadable says that what is stored cannot be read or does not match itself.
	ReasonUnreadable Reason = "Unreadable"
	// ReasonIssuer says that the stored certificate was not signed by the active generation.
	ReasonIssuer Reason = "IssuerChanged"
	// ReasonChain says that other certificates belong beside the leaf.
	ReasonChain Reason = "ChainChanged"
	// ReasonNames says that other hosts or names are asked for.
	ReasonNames Reason = "NamesChanged"
	// ReasonKey says that another key or key algorithm is asked for.
	ReasonKey Reason = "KeyChanged"
	// ReasonLifetime says that another lifetime is asked for.
	ReasonLifetime Reason = "LifetimeChanged"
	// ReasonDue says that its time has come.
	ReasonDue Reason = "Due"
	// ReasonRevocation says that the CRL does not list what it must.
	ReasonRevocation Reason = "RevocationChanged"
	// ReasonRequested says that somebody asked for it.
	ReasonRequested Reason = "Requested"
	// ReasonStored says that what it waited for is stored.
	ReasonStored Reason = "Stored"
	// ReasonProven says that handshakes showed it on every replica that counts.
	ReasonProven Reason = "Proven"
	// ReasonTime says that time alone decided: nothing was known of some replicas, or nothing was to be asked.
	ReasonTime Reason = "TimeAlone"
	// ReasonEnded says that the certificate of the generation has ended.
	ReasonEnded Reason = "Ended"
	// ReasonBrought says that somebody who makes the authority's keys brought another one.
	ReasonBrought Reason = "Brought"
	// ReasonTakenBack says that he brought the one before again.
	ReasonTakenBack Reason = "TakenBack"
	// ReasonRenewed says that he renewed the certificate of a key.
	ReasonRenewed Reason = "Renewed"
	// ReasonCompromised says that somebody else may hold the key.
	ReasonCompromised Reason = "Compromised"
)

// Reasons are those for which certificates of servers and callers are issued.
func Reasons() []Reason {
	return []Reason{ReasonMissing, ReasonUnreadable, ReasonIssuer, ReasonChain, ReasonNames, ReasonKey, ReasonLifetime, ReasonDue}
}

// Action is something a plan for an authority asks to be made.
type Action string

// The actions.
const (
	// CreateGeneration makes a key, its root, its revoked probe certificate, and has the
	// active generation vouch for it.
	CreateGeneration Action = "CreateGeneration"
	// SignCRL signs the next CRL of a generation.
	SignCRL Action = "SignCRL"
	// Trust has gateways and callers trust a generation that was prepared.
	Trust Action = "Trust"
	// Activate has a generation issue, and the one before retire.
	Activate Action = "Activate"
	// Renew takes the certificate that the owner of a generation's key renewed.
	Renew Action = "Renew"
	// NoteReplaced notes that no replica serves a certificate of a retiring generation.
	NoteReplaced Action = "NoteReplaced"
	// Withdraw takes a generation out of what gateways and callers trust.
	Withdraw Action = "Withdraw"
	// Remove drops a generation and its key.
	Remove Action = "Remove"
	// ThrowOut drops a generation whose key somebody else may hold, and revokes what vouches
	// for it.
	ThrowOut Action = "ThrowOut"
)

// Step is one action on one generation.
type Step struct {
	// Action to take.
	Action Action
	// Generation is the id of the generation: g1, g2 and so on.
	Generation string
	// Reason why.
	Reason Reason
}

// Plan is what to do now, in this order, and when to look again. Next is zero if
// only a change of the inputs can make anything due.
type Plan struct {
	// Steps in the order in which they are to be taken.
	Steps []Step
	// Next is the next instant at which something becomes due.
	Next time.Time
	// Phase is how far the rotation is before the steps.
	Phase Phase
	// Wait is what the phase waits for.
	Wait Wait
}

// jitterDivisor bounds the jitter: a twentieth of a certificate's life.
const jitterDivisor = 20

// jitter is a share of span below a twentieth that depends on the object alone. It
// must be the same on every pass: a random one would move the moment of renewal
// each time somebody looks, and the earliest would win.
func jitter(object string, span time.Duration) time.Duration {
	return spread(object, span/jitterDivisor)
}

// spread is a moment within a span that depends on the object alone.
func spread(object string, span time.Duration) time.Duration {
	if span <= 0 {
		return 0
	}
	sum := sha256.Sum256([]byte(object))
	return time.Duration(binary.BigEndian.Uint64(sum[:8]) % uint64(span)) //nolint:gosec // span is positive and below the largest int64
}

// earlier is the earlier of two instants, of which a zero one means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
