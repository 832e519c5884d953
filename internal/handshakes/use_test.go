package handshakes

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	window = 24 * time.Hour
	lately = time.Minute
)

var (
	first  = place{"istio-system/a", 8443}
	second = place{"istio-system/b", 8444}
)

// step is what happens at a time after noon.
type step struct {
	after time.Duration
	do    func(t *tally, now time.Time)
}

func read(p place, handshakes, without, mine uint64) func(*tally, time.Time) {
	return func(t *tally, now time.Time) {
		t.absorb(p, Count{Handshakes: handshakes, WithoutCertificate: without}, own{completed: mine, exact: true, settled: true}, lately, now)
	}
}

func inexact(p place, handshakes, without, mine uint64) func(*tally, time.Time) {
	return func(t *tally, now time.Time) {
		t.absorb(p, Count{Handshakes: handshakes, WithoutCertificate: without}, own{completed: mine, settled: true}, lately, now)
	}
}

// since is a look at a replica that tells when it began.
func since(p place, handshakes, without uint64, began time.Duration) func(*tally, time.Time) {
	return func(t *tally, now time.Time) {
		t.absorb(p, Count{Handshakes: handshakes, WithoutCertificate: without, Began: noon.Add(began)}, own{exact: true, settled: true}, lately, now)
	}
}

// anonymous is a look in which the agent had come without a certificate itself, and may be doing so.
func anonymous(p place, handshakes, without, mine uint64, settled bool) func(*tally, time.Time) {
	return func(t *tally, now time.Time) {
		t.absorb(p, Count{Handshakes: handshakes, WithoutCertificate: without}, own{completed: mine, exact: settled, anonymous: mine, settled: settled}, lately, now)
	}
}

func placed(places ...place) func(*tally, time.Time) {
	return func(t *tally, now time.Time) { t.place(places, lately, now) }
}

func failing(p place, err error) func(*tally, time.Time) {
	return func(t *tally, _ time.Time) { t.fail(p, err) }
}

func TestWhatIsKnownOfCallers(t *testing.T) {
	const day = 24 * time.Hour
	silent := errors.New("port 15090, where its statistics are, could not be reached")
	tests := map[string]struct {
		before time.Duration // when somebody came without, by an agent before this one, before noon; 0: nobody
		steps  []step
		at     time.Duration
		want   Use
	}{
		"what was counted before does not count": {steps: []step{{0, read(first, 900, 50, 7)}}, at: day,
			want: Use{State: NoCallers, Since: noon}},
		"nobody came": {at: day, want: Use{State: NoCallers, Since: noon}},
		"the agent's own handshakes are no callers": {steps: []step{{0, read(first, 900, 0, 7)}, {time.Hour, read(first, 1000, 0, 107)}}, at: day,
			want: Use{State: NoCallers, Since: noon}},
		"all came with one, for long enough": {steps: []step{{0, read(first, 900, 50, 7)}, {time.Hour, read(first, 1000, 50, 17)}}, at: day,
			want: Use{State: AllWith, Since: noon, Handshakes: 90, WithCertificate: 90}},
		"all came with one, not for long enough": {steps: []step{{0, read(first, 0, 0, 0)}, {time.Hour, read(first, 10, 0, 0)}}, at: day - time.Second,
			want: Use{State: Counting, Since: noon, Handshakes: 10, WithCertificate: 10}},
		"somebody came without": {steps: []step{{0, read(first, 0, 0, 0)}, {time.Hour, read(first, 10, 3, 2)}}, at: day,
			want: Use{State: SomeWithout, Since: noon, Handshakes: 8, WithCertificate: 5, LastWithout: noon.Add(time.Hour)}},
		"somebody came without, long ago": {steps: []step{{0, read(first, 0, 0, 0)}, {time.Hour, read(first, 10, 3, 2)}}, at: day + time.Hour,
			want: Use{State: AllWith, Since: noon, Handshakes: 8, WithCertificate: 5, LastWithout: noon.Add(time.Hour)}},
		"an agent before this one saw somebody without": {before: time.Hour, steps: []step{{0, read(first, 0, 0, 0)}}, at: time.Hour,
			want: Use{State: SomeWithout, Since: noon, LastWithout: noon.Add(-time.Hour)}},
		"replicas are added up": {steps: []step{{0, placed(first, second)}, {0, read(first, 0, 0, 0)}, {0, read(second, 0, 0, 0)}, {time.Hour, read(first, 10, 0, 0)}, {time.Hour, read(second, 5, 1, 0)}}, at: time.Hour,
			want: Use{State: SomeWithout, Since: noon, Handshakes: 15, WithCertificate: 14, LastWithout: noon.Add(time.Hour)}},
		"a new replica counts from its beginning": {steps: []step{{0, read(first, 100, 100, 0)}, {time.Hour, placed(first, second)}, {time.Hour, read(second, 5, 1, 2)}}, at: time.Hour,
			want: Use{State: SomeWithout, Since: noon, Handshakes: 3, WithCertificate: 2, LastWithout: noon.Add(time.Hour)}},
		"a replica that began anew counts from its beginning": {steps: []step{{0, read(first, 100, 100, 50)}, {30 * time.Second, read(first, 5, 1, 52)}}, at: time.Minute,
			want: Use{State: SomeWithout, Since: noon, Handshakes: 3, WithCertificate: 2, LastWithout: noon.Add(30 * time.Second)}},
		"a replica that began anew unseen: what it counted is lost": {steps: []step{{0, read(first, 100, 0, 0)}, {time.Hour, read(first, 5, 0, 0)}}, at: day,
			want: Use{State: Counting, Since: noon.Add(time.Hour)}},
		"a replica that began anew unseen, and has somebody without": {steps: []step{{0, read(first, 100, 0, 0)}, {time.Hour, read(first, 5, 1, 0)}}, at: day,
			want: Use{State: SomeWithout, Since: noon.Add(time.Hour), LastWithout: noon.Add(time.Hour)}},
		"a replica that goes right after it was read": {steps: []step{{0, placed(first, second)}, {0, read(first, 0, 0, 0)}, {0, read(second, 0, 0, 0)}, {lately, placed(first)}, {lately, read(first, 9, 0, 0)}}, at: day,
			want: Use{State: AllWith, Since: noon, Handshakes: 9, WithCertificate: 9}},
		"a replica that goes unread: what it counted is lost": {steps: []step{{0, placed(first, second)}, {0, read(first, 0, 0, 0)}, {0, read(second, 0, 0, 0)}, {time.Second, failing(second, silent)}, {time.Hour, placed(first)}}, at: day,
			want: Use{State: Counting, Since: noon.Add(time.Hour)}},
		"a replica that comes back goes on": {steps: []step{{0, read(first, 100, 100, 0)}, {10 * time.Second, placed()}, {20 * time.Second, read(first, 999, 999, 0)}, {30 * time.Second, placed(first)}, {30 * time.Second, read(first, 101, 100, 0)}}, at: day,
			want: Use{State: AllWith, Since: noon, Handshakes: 1, WithCertificate: 1}},
		"a replica that is read first after long: who came before is not known": {steps: []step{{20 * time.Hour, read(first, 900, 50, 7)}, {21 * time.Hour, read(first, 1000, 50, 7)}}, at: day,
			want: Use{State: Counting, Since: noon.Add(20 * time.Hour), Handshakes: 100, WithCertificate: 100}},
		"a replica that claims more than can be counted, again and again": {steps: []step{{0, read(first, 0, 0, 0)}, {time.Second, read(first, maxCount-1, maxCount-1, 0)}, {2 * time.Second, read(first, 0, 0, 0)}, {3 * time.Second, read(first, maxCount-1, maxCount-1, 0)}}, at: time.Hour,
			want: Use{State: SomeWithout, Since: noon, Handshakes: maxCount, LastWithout: noon.Add(3 * time.Second)}},
		"the agent's own without a certificate are no callers": {steps: []step{{0, read(first, 10, 5, 0)}, {time.Minute, anonymous(first, 12, 7, 2, true)}}, at: day,
			want: Use{State: NoCallers, Since: noon}},
		"somebody without beside the agent's own": {steps: []step{{0, read(first, 10, 5, 0)}, {time.Minute, anonymous(first, 13, 8, 2, true)}}, at: time.Hour,
			want: Use{State: SomeWithout, Since: noon, Handshakes: 1, LastWithout: noon.Add(time.Minute)}},
		"the agent's own without a certificate is underway": {steps: []step{{0, read(first, 10, 5, 0)}, {time.Minute, anonymous(first, 11, 6, 0, false)}, {2 * time.Minute, anonymous(first, 11, 6, 1, true)}}, at: day,
			want: Use{State: NoCallers, Since: noon}},
		"somebody without beside one of the agent's that is refused": {steps: []step{{0, read(first, 10, 5, 0)}, {time.Minute, anonymous(first, 11, 6, 0, false)}, {2 * time.Minute, anonymous(first, 11, 6, 0, false)}}, at: time.Hour,
			want: Use{State: SomeWithout, Since: noon, Handshakes: 1, LastWithout: noon.Add(2 * time.Minute)}},
		"a replica that goes before it is known whether the agent's own was refused": {steps: []step{{0, placed(first, second)}, {0, read(first, 0, 0, 0)}, {0, read(second, 0, 0, 0)}, {time.Minute, anonymous(second, 1, 1, 0, false)}, {time.Minute, placed(first)}}, at: day,
			want: Use{State: Counting, Since: noon.Add(time.Minute)}},
		"the agent's own are forgotten": {steps: []step{{0, read(first, 10, 0, 9)}, {time.Minute, read(first, 12, 0, 1)}}, at: day,
			want: Use{State: AllWith, Since: noon, Handshakes: 1, WithCertificate: 1}},
		"a replica that began anew, and is not below what it was": {steps: []step{{0, since(first, 3, 1, -time.Hour)}, {30 * time.Second, since(first, 5, 1, 5*time.Second)}}, at: time.Hour,
			want: Use{State: SomeWithout, Since: noon, Handshakes: 5, WithCertificate: 4, LastWithout: noon.Add(30 * time.Second)}},
		"a replica that began anew unseen, and is not below what it was": {steps: []step{{0, since(first, 3, 1, -time.Hour)}, {time.Hour, since(first, 500, 1, time.Minute)}}, at: day + time.Hour,
			want: Use{State: NoCallers, Since: noon.Add(time.Hour), LastWithout: noon.Add(time.Hour)}},
		"a replica that tells of its uptime with a delay": {steps: []step{{0, since(first, 3, 1, -time.Hour)}, {30 * time.Second, since(first, 5, 1, 10*time.Second-time.Hour)}}, at: day,
			want: Use{State: AllWith, Since: noon, Handshakes: 2, WithCertificate: 2}},
		"no replica": {steps: []step{{time.Second, placed()}}, at: day, want: Use{State: NoReplicas, Since: noon}},
		"a replica that does not answer": {steps: []step{{0, placed(first, second)}, {0, read(first, 0, 0, 0)}, {0, failing(second, silent)}}, at: day,
			want: Use{State: Unreadable, Since: noon, Trouble: "istio-system/b: port 15090, where its statistics are, could not be reached"}},
		"a replica that does not count": {steps: []step{{0, failing(first, errLeftOut)}}, at: day,
			want: Use{State: LeftOut, Since: noon, Trouble: "istio-system/a: its statistics leave handshakes out"}},
		"of several the first by name is told": {steps: []step{{0, placed(first, second)}, {0, failing(first, errLeftOut)}, {0, failing(second, silent)}}, at: day,
			want: Use{State: LeftOut, Since: noon, Trouble: "istio-system/a: its statistics leave handshakes out"}},
		"a replica that answers again": {steps: []step{{0, read(first, 0, 0, 0)}, {time.Minute, failing(first, silent)}, {time.Hour, read(first, 4, 0, 0)}}, at: day,
			want: Use{State: AllWith, Since: noon, Handshakes: 4, WithCertificate: 4}},
		"that somebody came without is certain, whoever does not answer": {steps: []step{{0, read(first, 0, 0, 0)}, {time.Second, read(first, 1, 1, 0)}, {time.Minute, failing(first, silent)}}, at: time.Hour,
			want: Use{State: SomeWithout, Since: noon, Handshakes: 1, LastWithout: noon.Add(time.Second), Trouble: "istio-system/a: port 15090, where its statistics are, could not be reached"}},
		"in the middle of the agent's own": {steps: []step{{0, inexact(first, 903, 0, 0)}, {time.Minute, read(first, 903, 0, 3)}, {2 * time.Minute, inexact(first, 910, 0, 5)}, {3 * time.Minute, read(first, 911, 0, 7)}}, at: day,
			want: Use{State: AllWith, Since: noon, Handshakes: 4, WithCertificate: 4}},
		"somebody without in the middle of the agent's own": {steps: []step{{0, read(first, 0, 0, 0)}, {time.Minute, inexact(first, 3, 1, 0)}}, at: time.Minute,
			want: Use{State: SomeWithout, Since: noon, Handshakes: 1, LastWithout: noon.Add(time.Minute)}},
		"the agent's own without end": {steps: append([]step{{0, read(first, 0, 0, 0)}}, slices.Repeat([]step{{time.Minute, inexact(first, 9, 0, 2)}}, maxInexact+1)...), at: day,
			want: Use{State: AllWith, Since: noon, Handshakes: 7, WithCertificate: 7}},
		"a replica that began anew in the middle of the agent's own": {steps: []step{{0, read(first, 100, 0, 0)}, {time.Second, inexact(first, 5, 0, 1)}, {2 * time.Second, read(first, 105, 0, 3)}}, at: day,
			want: Use{State: AllWith, Since: noon, Handshakes: 102, WithCertificate: 102}},
		"the agent hears of its own first": {steps: []step{{0, read(first, 0, 0, 0)}, {time.Second, read(first, 1, 1, 3)}}, at: time.Hour,
			want: Use{State: SomeWithout, Since: noon, Handshakes: 1, LastWithout: noon.Add(time.Second)}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var last time.Time
			if test.before > 0 {
				last = noon.Add(-test.before)
			}
			counted := newTally([]place{first}, last, noon)
			for _, s := range test.steps {
				s.do(counted, noon.Add(s.after))
			}
			if diff := cmp.Diff(test.want, counted.use(window, noon.Add(test.at))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What went is forgotten after a while, so that pods that come and go do not pile up.
func TestAPlaceThatWentIsForgotten(t *testing.T) {
	counted := newTally([]place{first}, time.Time{}, noon)
	counted.place(nil, lately, noon)
	counted.place(nil, lately, noon.Add(remembered+time.Second))
	if len(counted.counters) != 0 {
		t.Errorf("%d places are remembered", len(counted.counters))
	}
}
