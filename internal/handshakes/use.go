package handshakes

import (
	"strings"
	"time"
)

// State says what is known of the callers of an endpoint.
type State string

// The states.
const (
	// Counting is that it was not counted for long enough yet.
	Counting State = "Counting"
	// AllWith is that for long enough nobody came without a certificate, and somebody with one.
	AllWith State = "AllWith"
	// SomeWithout is that somebody came without a certificate lately.
	SomeWithout State = "SomeWithout"
	// NoCallers is that it was counted for long enough and nobody came with a certificate.
	NoCallers State = "NoCallers"
	// Unreadable is that a replica does not answer, or answers with something else.
	Unreadable State = "Unreadable"
	// LeftOut is that a replica does not count handshakes.
	LeftOut State = "LeftOut"
	// NoReplicas is that there is no replica to ask.
	NoReplicas State = "NoReplicas"
)

// Use is what is known of the callers of an endpoint. What the agent's own handshakes added is left out.
type Use struct {
	State State
	// Since is when counting began. It begins anew where a count may have been lost.
	Since time.Time
	// Handshakes since then, and how many of them came with a certificate that was verified.
	Handshakes, WithCertificate int64
	// LastWithout is when it was seen last that somebody had come without; zero if that is not known of anybody.
	LastWithout time.Time
	// Trouble names the replica that could not be asked, and why; empty if none.
	Trouble string
}

// tally is the count of an endpoint.
type tally struct {
	since       time.Time
	lastWithout time.Time
	// handshakes are those of others.
	handshakes, without int64
	counters            map[place]*counter
}

// place is one port of one replica.
type place struct {
	// replica is <namespace>/<pod>.
	replica string
	port    uint32
}

// counter is what was read of a place last.
type counter struct {
	// known is whether anything was.
	known bool
	// without is how many had no certificate. It is current, the other numbers are when they were exact last.
	without    uint64
	handshakes uint64
	// own is how many handshakes the agent itself had completed there when handshakes was read.
	own uint64
	// ownWithout is how many of the agent's own had no certificate when without was read, and unsettled whether without was
	// left as it was the last time, because the agent was in such a one itself.
	ownWithout uint64
	unsettled  bool
	// began is when the replica did, as it told last; zero if it did not.
	began time.Time
	// exact is whether handshakes and own belong together; inexact is how often in a row they did not since.
	exact   bool
	inexact int
	// read is when, and gone when the place ceased to be one; zero while it is.
	read, gone time.Time
	// trouble is why it could not be read now; nil if it was.
	trouble error
}

// maxInexact is how often in a row handshakes are not counted because the agent is in one itself: an agent with much to try is
// so nearly always, and then a few of its own are taken for others, or others for its own.
const maxInexact = 10

// remembered is how long a place is that ceased to be one: a pod that is Ready again goes on counting.
const remembered = time.Hour

// newTally begins with the places as they stand, whatever they counted before.
func newTally(places []place, lastWithout, now time.Time) *tally {
	t := &tally{since: now, lastWithout: lastWithout, counters: map[place]*counter{}}
	for _, p := range places {
		t.counters[p] = &counter{read: now}
	}
	return t
}

// place takes the places as they stand now. What a new replica counts counts from its beginning. Where one goes of
// which nothing was read lately, what it counted is lost, and all begins anew.
func (t *tally) place(places []place, lately time.Duration, now time.Time) {
	wanted := map[place]bool{}
	for _, p := range places {
		wanted[p] = true
		if c := t.counters[p]; c == nil {
			t.counters[p] = &counter{known: true, exact: true, read: now}
		} else {
			c.gone = time.Time{}
		}
	}
	for p, c := range t.counters {
		switch {
		case wanted[p]:
		case c.gone.IsZero():
			c.gone, c.trouble = now, nil
			if now.Sub(c.read) > lately || c.unsettled {
				t.restart(now)
			}
		case now.Sub(c.gone) > remembered:
			delete(t.counters, p)
		}
	}
}

// restart begins anew.
func (t *tally) restart(now time.Time) {
	t.since, t.handshakes, t.without = now, 0, 0
}

// absorb takes what was read of a place. A count that is below the one before, or of a replica that began later, began anew.
// One that could not be read for long shows nothing of the time before it is read first.
func (t *tally) absorb(p place, count Count, mine own, lately time.Duration, now time.Time) {
	c := t.counters[p]
	if c == nil || !c.gone.IsZero() {
		return
	}
	before := *c
	c.known, c.read, c.trouble, c.began = true, now, nil, count.Began
	if c.inexact++; mine.exact || c.inexact > maxInexact {
		c.handshakes, c.own, c.exact, c.inexact = count.Handshakes, mine.completed, true, 0
	}
	if !before.known {
		c.without, c.ownWithout = count.WithoutCertificate, mine.anonymous
		if now.Sub(before.read) > lately {
			t.restart(now) // who came until now is not known
		}
		return
	}
	lost := false
	if count.Handshakes < before.handshakes || count.WithoutCertificate < before.without || count.later(before.began) {
		before.handshakes, c.without = 0, 0
		if c.inexact > 0 {
			c.handshakes = 0
		}
		lost = now.Sub(before.read) > lately
	}
	without := c.others(count, mine)
	if without > 0 {
		t.lastWithout = now
	}
	if lost {
		t.restart(now)
		return
	}
	t.without = min(t.without+without, maxCount)
	if before.exact && c.inexact == 0 {
		if c.own < before.own {
			before.own = 0 // it was forgotten, as nothing came for long
		}
		t.handshakes = min(t.handshakes+int64(c.handshakes-before.handshakes)-int64(c.own-before.own), maxCount) //nolint:gosec // below maxCount
	}
}

// inaccurate is how far two looks at the same replica may be apart in when it began: it tells of its uptime with a delay.
const inaccurate = 20 * time.Second

// later reports whether a count began after another. One that is not below the one before may be another's all the same.
func (c Count) later(began time.Time) bool {
	return !began.IsZero() && c.Began.Sub(began) > inaccurate
}

// others is how many came without a certificate since it was told last, who are not the agent. It has to do so where a Gateway
// on the port is to be mutual, and is let in as long as the replica has not heard of that. What came while it did so itself
// is told the next time, and then whatever it does.
func (c *counter) others(count Count, mine own) int64 {
	theirs := count.WithoutCertificate - c.without
	if theirs > 0 && !mine.settled && !c.unsettled {
		c.unsettled = true
		return 0
	}
	if mine.anonymous < c.ownWithout {
		c.ownWithout = 0 // it was forgotten, as nothing came for long
	}
	theirs -= min(theirs, mine.anonymous-c.ownWithout)
	c.without, c.ownWithout, c.unsettled = count.WithoutCertificate, mine.anonymous, false
	return int64(theirs) //nolint:gosec // below maxCount
}

// fail notes that a place could not be read.
func (t *tally) fail(p place, trouble error) {
	if c := t.counters[p]; c != nil && c.gone.IsZero() {
		c.trouble = trouble
	}
}

// use is what follows, for a window in which nobody may have come without a certificate.
func (t *tally) use(window time.Duration, now time.Time) Use {
	u := Use{Since: t.since, Handshakes: max(t.handshakes, t.without), LastWithout: t.lastWithout}
	u.WithCertificate = u.Handshakes - t.without
	replicas, worst := 0, place{}
	var trouble error
	for p, c := range t.counters {
		if !c.gone.IsZero() {
			continue
		}
		replicas++
		if c.trouble != nil && (trouble == nil || p.before(worst)) {
			trouble, worst = c.trouble, p
		}
	}
	if trouble != nil {
		u.Trouble = worst.replica + ": " + trouble.Error()
	}
	u.State = t.state(u, trouble, replicas, window, now)
	return u
}

func (t *tally) state(u Use, trouble error, replicas int, window time.Duration, now time.Time) State {
	switch {
	case !t.lastWithout.IsZero() && now.Sub(t.lastWithout) < window:
		return SomeWithout
	case replicas == 0:
		return NoReplicas
	case isLeftOut(trouble):
		return LeftOut
	case trouble != nil:
		return Unreadable
	case now.Sub(t.since) < window:
		return Counting
	case u.WithCertificate == 0:
		return NoCallers
	}
	return AllWith
}

func (p place) before(other place) bool {
	return strings.Compare(p.replica, other.replica) < 0 || p.replica == other.replica && p.port < other.port
}
