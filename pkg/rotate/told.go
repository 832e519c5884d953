package rotate

import (
	"fmt"
	"slices"
)

// ToldGeneration is what was told of one generation.
type ToldGeneration struct {
	// ID of the generation, KeyID the subject key identifier of its certificate.
	ID, KeyID string
	// State that it was in.
	State State
}

// Told is what was told of a ledger when it was looked at last.
type Told struct {
	// Generations that it had, oldest first.
	Generations []ToldGeneration
	// Newest is the id of the newest one there ever was; empty if none was told of.
	Newest string
}

// states are all of them, in the order a generation passes through them.
var states = []State{Prepared, Trusted, Active, Retiring, Withdrawn}

// Behind says in what a ledger is older than what was told of it, empty if in nothing. A generation goes forward
// through its states, is gone in the end, and neither comes back nor changes its key: one that does was restored. It
// would issue, or be trusted, although callers and gateways have been told that it is no more.
func (l Ledger) Behind(t Told) string {
	if Earlier(l.Newest(), t.Newest) {
		return fmt.Sprintf("its newest generation is %s, and there was a %s", l.Newest(), t.Newest)
	}
	for _, g := range l.generations {
		i := slices.IndexFunc(t.Generations, func(told ToldGeneration) bool { return told.ID == g.ID })
		if i < 0 {
			if t.Newest != "" && !Earlier(t.Newest, g.ID) {
				return fmt.Sprintf("generation %s is %s in it, and it was gone", g.ID, g.State)
			}
			continue
		}
		told := t.Generations[i]
		if told.KeyID != g.keyID() {
			return fmt.Sprintf("generation %s has key %s in it, and it had %s", g.ID, g.keyID(), told.KeyID)
		}
		if slices.Index(states, g.State) < slices.Index(states, told.State) {
			return fmt.Sprintf("generation %s is %s in it, and it was %s", g.ID, g.State, told.State)
		}
	}
	return ""
}

// After returns the ledger with its next generation numbered after one that there was, so that none of another key
// gets its number: certificates are recorded under it.
func (l Ledger) After(id string) Ledger {
	if n, err := generationNumber(id); err == nil {
		l.last = max(l.last, n)
	}
	return l
}
