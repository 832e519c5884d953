package proving

import (
	"hash/maphash"
	"slices"
	"time"

	"sallyport.dev/sallyport/internal/probe"
)

// The times of a target beside its period.
const (
	// firstLook is when a change is tried first: istiod waits 100 ms for further changes
	// before it tells the gateways.
	firstLook = 150 * time.Millisecond
	// confirmAfter is when a finding is tried again that may be chance.
	confirmAfter = 300 * time.Millisecond
	// maxSlower bounds how much less often a replica is tried that gives no answer.
	maxSlower = 8
)

// target is one place with what is known of it. It is no state: an agent that begins
// has none, and finds it out.
type target struct {
	subject *subject
	spot    spot
	// since is when it was first wanted, changed when what is expected of it changed last.
	since, changed time.Time
	// known are the findings that count.
	known map[probe.Expectation]known
	// silent is how many times in a row nobody was there, early how
	// often it was tried since the last change without having met everything.
	silent, early int
	// confirming is whether the last finding has to be seen again until it counts.
	confirming bool
	// steady is whether everything expected was met when all of it was tried last, and nothing was
	// heard of that changed since. Turn counts the rounds, for what is tried by turns.
	steady bool
	turn   int
	// next is when it is tried.
	next time.Time
	// running is whether it is being tried now, stale whether that began before the last
	// change, gone whether it is no longer wanted.
	running, stale, gone bool
}

// known is the finding that counts for one expectation, and the time it was first expected.
type known struct {
	finding probe.Finding
	// met is whether it was met when it was last judged.
	met   bool
	since time.Time
}

// observation is what one round found, by expectation.
type observation map[probe.Expectation]probe.Finding

// absorb takes what a round found, and reports whether anything that counts changed.
// Within grace of a change, and until a regression is seen twice, what is not met does
// not count: the change has to reach the gateway, and one lost packet is no news (silence
// is: TCP has sent everything again by then). It always counts that somebody was let
// in who was refused before.
func (t *target) absorb(seen observation, expected []probe.Expectation, now time.Time, grace time.Duration) bool {
	changed, confirming, answered, met := false, false, false, true
	for e, found := range seen {
		answered = answered || found.Reason != probe.Unreachable && found.Reason != probe.Silent
		before, known := t.known[e]
		if !known {
			before.since = later(t.since, t.changed)
		}
		after, confirm := settle(before, e, found, t.settled(e, before, now, grace), t.confirming)
		confirming = confirming || confirm
		met = met && found.Verdict == probe.Met
		changed = changed || after.finding != before.finding
		t.known[e] = after
	}
	for e := range t.known {
		if !slices.Contains(expected, e) {
			delete(t.known, e)
			changed = true
		}
	}
	t.confirming = confirming
	t.steady = met && (t.steady || len(seen) == len(expected))
	if answered {
		t.silent = 0
	} else {
		t.silent++
	}
	if met {
		t.early = 0
	} else {
		t.early++
	}
	return changed
}

// settled reports whether a change has had the time to reach the gateway.
func (t *target) settled(e probe.Expectation, before known, now time.Time, grace time.Duration) bool {
	from := before.since
	if !e.Negative() && t.changed.After(from) {
		from = t.changed
	}
	return !now.Before(from.Add(grace))
}

// settle decides what a finding makes of what was known, and whether it has to be seen
// again until it counts.
func settle(before known, e probe.Expectation, found probe.Finding, settled, confirming bool) (after known, confirm bool) {
	after = before
	if found.Verdict == probe.Met {
		after.finding, after.met = found, true
		return after, false
	}
	opened := e.Negative() && found.Verdict == probe.Failed
	switch {
	case opened && before.met, settled && (opened || confirming || !before.met || found.Reason == probe.Silent):
		after.finding, after.met = found, false
	case before.met:
		return before, settled
	case !settled:
		after.finding = probe.Finding{Verdict: probe.Unknown, Reason: probe.Pending, Message: found.Message}
	}
	return after, false
}

// schedule sets when the target is tried next: soon while a change is on its way to the
// gateway, else once a period, and less often where no answer comes.
func (t *target) schedule(now time.Time, grace, every time.Duration, seed maphash.Seed) {
	switch {
	case t.confirming:
		t.next = now.Add(confirmAfter)
	case t.early > 0 && now.Before(t.settlesAt(grace)):
		// More and more seldom, but in any case when the time to settle is over.
		t.next = now.Add(firstLook << min(t.early, 16))
		if due := t.settlesAt(grace); due.Before(t.next) {
			t.next = due
		}
	default:
		t.next = slot(t.spot.place, now, every, seed)
		if t.silent > 1 {
			t.next = t.next.Add(grace * time.Duration(min(1<<min(t.silent-2, 8), maxSlower)-1))
		}
	}
}

// spacing is the time between two rounds for what happens to be found out within a
// period: a round takes up to the timeout of a handshake, and may have to be confirmed.
func spacing(period time.Duration) time.Duration {
	return max(period/2, period-timeout-confirmAfter)
}

// settlesAt is the end of the time a change has to reach the gateway.
func (t *target) settlesAt(grace time.Duration) time.Time {
	return later(t.since, t.changed).Add(grace)
}

// slot is the next moment of a place: each has its own within the period, derived from
// what it is, so that thousands are not tried at once and none drifts.
func slot(p place, now time.Time, period time.Duration, seed maphash.Seed) time.Time {
	phase := time.Duration(maphash.Comparable(seed, p) % uint64(period)) //nolint:gosec // a period is positive
	at := now.Truncate(period).Add(phase)
	for !at.After(now) {
		at = at.Add(period)
	}
	return at
}
