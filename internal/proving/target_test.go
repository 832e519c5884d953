package proving

import (
	"hash/maphash"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/internal/probe"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func after(seconds float64) time.Time {
	return start.Add(time.Duration(seconds * float64(time.Second)))
}

const period = 10 * time.Second

var (
	metFinding  = probe.Finding{Verdict: probe.Met, Reason: probe.CertificateRefused, Message: "as it should be"}
	open        = probe.Finding{Verdict: probe.Failed, Reason: probe.Accepted, Message: "let in"}
	refused     = probe.Finding{Verdict: probe.Failed, Reason: probe.CertificateRefused, Message: "refused"}
	silence     = probe.Finding{Verdict: probe.Unknown, Reason: probe.Silent, Message: "no word"}
	unreachable = probe.Finding{Verdict: probe.Unknown, Reason: probe.Unreachable, Message: "no way there"}
)

func pendingOf(f probe.Finding) probe.Finding {
	return probe.Finding{Verdict: probe.Unknown, Reason: probe.Pending, Message: f.Message}
}

// round is one round of handshakes: what is found for one expectation, and what counts
// after it.
type round struct {
	at    float64
	found probe.Finding
	want  probe.Finding
}

func TestAFindingCountsWhenItIsNews(t *testing.T) {
	for name, test := range map[string]struct {
		of     probe.Expectation
		rounds []round
		// changed is when what is expected changed, in seconds; 0 for never.
		changed float64
	}{
		"met at once": {of: probe.AnonymousRefused, rounds: []round{{0.2, metFinding, metFinding}}},
		"a door that is open at first is waited for": {of: probe.AnonymousRefused, rounds: []round{
			{0.2, open, pendingOf(open)}, {1, open, pendingOf(open)}, {3, metFinding, metFinding},
		}},
		"a door that stays open counts when a period is over": {of: probe.AnonymousRefused, rounds: []round{
			{0.2, open, pendingOf(open)}, {10, open, open},
		}},
		"a door that opens counts at once": {of: probe.AnonymousRefused, rounds: []round{
			{0.2, metFinding, metFinding}, {1, open, open},
		}},
		"a door that opens counts at once after a change too": {of: probe.RevokedRefused, changed: 20, rounds: []round{
			{0.2, metFinding, metFinding}, {20.2, open, open},
		}},
		"whoever keeps changing things does not hide an open door": {of: probe.AnonymousRefused, changed: 9.9, rounds: []round{
			{0.2, open, pendingOf(open)}, {10, open, open},
		}},
		"a friend who is refused counts when it is seen twice": {of: probe.ManagedAccepted, rounds: []round{
			{0.2, metFinding, metFinding}, {30, refused, metFinding}, {30.3, refused, refused},
		}},
		"a friend who was refused once by chance": {of: probe.ManagedAccepted, rounds: []round{
			{0.2, metFinding, metFinding}, {30, refused, metFinding}, {30.3, metFinding, metFinding},
		}},
		"one lost packet is no news": {of: probe.RevokedRefused, rounds: []round{
			{0.2, metFinding, metFinding}, {30, unreachable, metFinding}, {30.3, metFinding, metFinding},
		}},
		"a replica that stays away": {of: probe.RevokedRefused, rounds: []round{
			{0.2, metFinding, metFinding}, {30, unreachable, metFinding}, {30.3, unreachable, unreachable}, {60, metFinding, metFinding},
		}},
		"a renewed leaf is waited for, and what was known stays": {of: probe.ServedLeafCurrent, changed: 50, rounds: []round{
			{0.2, metFinding, metFinding}, {50.2, refused, metFinding}, {51, metFinding, metFinding},
		}},
		"a renewed leaf that never comes": {of: probe.ServedLeafCurrent, changed: 50, rounds: []round{
			{0.2, metFinding, metFinding}, {50.2, refused, metFinding}, {60, refused, metFinding}, {60.3, refused, refused},
		}},
		"silence is no lost packet": {of: probe.RevokedRefused, rounds: []round{
			{0.2, metFinding, metFinding}, {30, silence, silence},
		}},
		"from one trouble to another": {of: probe.ManagedAccepted, rounds: []round{
			{10, unreachable, unreachable}, {20, refused, refused},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			target := &target{since: start, known: map[probe.Expectation]known{}}
			for _, round := range test.rounds {
				if test.changed != 0 && round.at > test.changed {
					target.changed = after(test.changed)
				}
				before := target.known[test.of].finding
				changed := target.absorb(observation{test.of: round.found}, []probe.Expectation{test.of}, after(round.at), period)
				got := target.known[test.of].finding
				if diff := cmp.Diff(round.want, got); diff != "" {
					t.Errorf("after %gs (-want +got):\n%s", round.at, diff)
				}
				if changed != (before != got) {
					t.Errorf("after %gs: told of a change: %t", round.at, changed)
				}
			}
		})
	}
}

func TestWhatIsNoLongerExpectedIsForgotten(t *testing.T) {
	target := &target{since: start, known: map[probe.Expectation]known{}}
	target.absorb(observation{probe.AnonymousRefused: metFinding, probe.ManagedAccepted: metFinding}, []probe.Expectation{probe.AnonymousRefused, probe.ManagedAccepted}, after(1), period)
	if !target.absorb(observation{probe.ManagedAccepted: metFinding}, []probe.Expectation{probe.ManagedAccepted}, after(2), period) {
		t.Error("nobody is told")
	}
	if _, kept := target.known[probe.AnonymousRefused]; kept || len(target.known) != 1 {
		t.Errorf("%d expectations are left", len(target.known))
	}
}

func TestATargetIsTriedWhenItIsWorthwhile(t *testing.T) {
	seed := maphash.MakeSeed()
	one := []probe.Expectation{probe.AnonymousRefused}
	all := func(f probe.Finding) observation { return observation{probe.AnonymousRefused: f} }
	next := func(target *target, found probe.Finding, at float64) time.Duration {
		target.absorb(all(found), one, after(at), period)
		target.schedule(after(at), period, spacing(period), seed)
		return target.next.Sub(after(at))
	}
	t.Run("soon after a change, then less and less soon, and when the time for it is over", func(t *testing.T) {
		target := &target{since: start, known: map[probe.Expectation]known{}}
		got := []time.Duration{next(target, open, 0.15), next(target, open, 0.45), next(target, open, 1.05), next(target, open, 2.25), next(target, open, 4.65), next(target, open, 9.45)}
		want := []time.Duration{300 * time.Millisecond, 600 * time.Millisecond, 1200 * time.Millisecond, 2400 * time.Millisecond, 4800 * time.Millisecond, 550 * time.Millisecond}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("waits (-want +got):\n%s", diff)
		}
	})
	t.Run("once a period, each at a moment of its own that does not drift", func(t *testing.T) {
		target := &target{since: start, known: map[probe.Expectation]known{}}
		next(target, metFinding, 100)
		first := target.next
		if wait := first.Sub(after(100)); wait <= 0 || wait > period {
			t.Errorf("waits %s", wait)
		}
		target.absorb(all(metFinding), one, first.Add(100*time.Millisecond), period)
		target.schedule(first.Add(100*time.Millisecond), period, spacing(period), seed)
		if got := target.next.Sub(first); got != period-timeout-confirmAfter {
			t.Errorf("%s between two rounds", got)
		}
	})
	t.Run("again within the second when a finding is to be confirmed", func(t *testing.T) {
		target := &target{since: start, known: map[probe.Expectation]known{}}
		next(target, metFinding, 100)
		if got := next(target, unreachable, 120); got != confirmAfter {
			t.Errorf("waits %s", got)
		}
	})
	t.Run("less often where no answer comes, and as often as ever once one does", func(t *testing.T) {
		target := &target{since: start, known: map[probe.Expectation]known{}}
		var waits []time.Duration
		for i := range 8 {
			waits = append(waits, next(target, unreachable, float64(100+1000*i)).Truncate(period)/period)
		}
		if diff := cmp.Diff([]time.Duration{0, 0, 1, 3, 7, 7, 7, 7}, waits); diff != "" {
			t.Errorf("whole periods waited (-want +got):\n%s", diff)
		}
		if got := next(target, metFinding, 100000); got > period {
			t.Errorf("waits %s", got)
		}
	})
}

func TestTheQueueGivesWhatIsDueInOrder(t *testing.T) {
	var q queue
	due := func(at float64) *target { return &target{next: after(at)} }
	third, first, second := due(3), due(1), due(2)
	for _, each := range []*target{third, first, second} {
		q.push(each)
	}
	if got, next := q.pop(after(0)); got != nil || !next.Equal(after(1)) {
		t.Errorf("%v, next at %s", got, next)
	}
	second.gone = true
	third.next = after(0.5) // sooner than it was
	q.push(third)
	for _, want := range []*target{third, first} {
		got, _ := q.pop(after(10))
		if got != want {
			t.Errorf("%+v, expected %+v", got, want)
		}
		got.next = after(20)
	}
	if got, next := q.pop(after(10)); got != nil || !next.IsZero() || len(q.entries) != 0 {
		t.Errorf("%v, next at %s, %d entries are left", got, next, len(q.entries))
	}
}
