package servingcertificate

import (
	"fmt"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// Lifetimes of what is kept here, and how long a new CA is trusted before it signs.
type Lifetimes struct {
	// CA is the life of a CA; it is replaced when half of it is over.
	CA time.Duration
	// Leaf is the life of the serving certificate.
	Leaf time.Duration
	// Overlap is how long a new CA is in caBundle before a certificate of it replaces
	// one that still works: every API server has to have read it.
	Overlap time.Duration
	// RenewBefore is the share of its life, in per cent, that a serving certificate has
	// left when it is renewed.
	RenewBefore int32
}

// DefaultLifetimes are what an install runs with.
func DefaultLifetimes() Lifetimes {
	return Lifetimes{CA: 8760 * time.Hour, Leaf: 2160 * time.Hour, Overlap: time.Minute, RenewBefore: 33}
}

// Check tells what is wrong with lifetimes that do not fit each other. The second half
// of a CA's life has to hold an overlap and a certificate that was issued before it.
func (l Lifetimes) Check() error {
	switch {
	case l.Leaf <= 0 || l.Overlap < 0:
		return fmt.Errorf("the webhook's certificate lives %s and a new CA is trusted %s before it signs: both have to be above zero", l.Leaf, l.Overlap)
	case l.RenewBefore < 1 || l.RenewBefore > 99:
		return fmt.Errorf("the webhook's certificate is renewed with %d %% of its life left: it has to be 1 to 99", l.RenewBefore)
	case l.CA < 2*(l.Leaf+l.Overlap):
		return fmt.Errorf("the webhook's CA lives %s: it has to live %s at least, twice a certificate of %s and an overlap of %s", l.CA, 2*(l.Leaf+l.Overlap), l.Leaf, l.Overlap)
	}
	return nil
}

// Action is something that is due.
type Action string

// The actions, in the order in which they are ever taken.
const (
	// MakeCA makes a new CA and keeps the certificate of the one before.
	MakeCA Action = "MakeCA"
	// WriteBundle writes the CAs into caBundle, and since when.
	WriteBundle Action = "WriteBundle"
	// IssueLeaf issues a serving certificate.
	IssueLeaf Action = "IssueLeaf"
	// DropPrevious forgets the CA before: nobody serves a certificate of it.
	DropPrevious Action = "DropPrevious"
)

// observed is what a pass found.
type observed struct {
	// current signs; zero if there is none that can be read.
	current pki.Authority
	// previous is trusted beside it; zero if there is none.
	previous pki.Certificate
	// serving is the stored pair; zero if there is none that can be read.
	serving pki.Pair
	// bundled is whether caBundle of every entry is exactly the wanted one.
	bundled bool
	// trustedSince is when caBundle was last written; zero if nobody wrote that down.
	trustedSince time.Time
	// replicas is how many replicas of the webhook are ready, updated how many of
	// them serve the stored certificate.
	replicas, updated int
}

// decision is what to do now: one action at most, so that each is seen to have
// happened before the next depends on it.
type decision struct {
	Action Action
	Reason rotate.Reason
	// Next is when to look again if nothing changes.
	Next time.Time
}

// decide is the whole order of things.
func decide(o observed, l Lifetimes, names []string, now time.Time) decision {
	if o.current.IsZero() {
		return decision{Action: MakeCA, Reason: rotate.ReasonMissing}
	}
	ca := o.current.Certificate()
	replaceAt := ca.NotAfter().Add(-l.CA / 2)
	if !now.Before(replaceAt) && o.previous.IsZero() {
		return decision{Action: MakeCA, Reason: rotate.ReasonDue}
	}
	if !o.bundled || (!o.previous.IsZero() && o.trustedSince.IsZero()) {
		return decision{Action: WriteBundle, Reason: rotate.ReasonIssuer}
	}
	plan := rotate.PlanServer(o.serving, names, LeafSettings(l), rotate.SignerOf(o.current), now)
	if plan.Issue {
		if start := o.mayIssue(l, now); start.After(now) {
			return decision{Next: start}
		}
		return decision{Action: IssueLeaf, Reason: plan.Reason}
	}
	if !o.previous.IsZero() && (now.After(o.previous.NotAfter()) || (o.replicas > 0 && o.updated == o.replicas)) {
		return decision{Action: DropPrevious, Reason: rotate.ReasonDue}
	}
	next := replaceAt
	if !plan.Next.IsZero() && plan.Next.Before(next) {
		next = plan.Next
	}
	if !o.previous.IsZero() {
		next = now.Add(askAgain) // replicas take a while to read what was written
	}
	return decision{Next: next}
}

// askAgain is how often replicas are asked what they serve while two CAs overlap.
const askAgain = time.Second

// mayIssue is when the current CA may sign: at once if nothing that works is served,
// else when it has been in caBundle for the overlap. When it was made says nothing: the
// agent may have died before it wrote caBundle, or somebody may have taken it out.
func (o observed) mayIssue(l Lifetimes, now time.Time) time.Time {
	if o.serving.IsZero() || o.previous.IsZero() || now.After(o.serving.Leaf().NotAfter()) || now.After(o.previous.NotAfter()) {
		return now
	}
	return o.trustedSince.Add(l.Overlap)
}

// LeafSettings are those of the serving certificate.
func LeafSettings(l Lifetimes) rotate.LeafSettings {
	return rotate.LeafSettings{Lifetime: l.Leaf, RenewBefore: l.RenewBefore, Algorithm: pki.ECDSAP256, Object: ServiceName}
}
