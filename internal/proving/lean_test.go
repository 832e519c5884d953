package proving

import (
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/internal/probe"
)

func TestRoundsAreLeanWhereThereAreMany(t *testing.T) {
	for name, test := range map[string]struct {
		targets int
		period  time.Duration
		crowded bool
	}{
		"none":                               {0, 15 * time.Second, false},
		"as many as can be tried completely": {350, 15 * time.Second, false},
		"one more":                           {351, 15 * time.Second, true},
		"as many as can be tried leanly":     {1050, 15 * time.Second, true},
		"more":                               {2100, 30 * time.Second, true},
		"very many":                          {21000, 300 * time.Second, true},
	} {
		prover := New(Config{Period: 15 * time.Second})
		prover.targets = test.targets
		if period, crowded := prover.period(), prover.crowded(); period != test.period || crowded != test.crowded {
			t.Errorf("%s: each is tried every %s, crowded %t; expected %s, %t", name, period, crowded, test.period, test.crowded)
		}
	}
}

// all are the expectations of a Gateway with CRLs and without an allow-list.
var all = []probe.Expectation{
	probe.ManagedAccepted, probe.AnonymousRefused, probe.UnknownAuthorityRefused, probe.RevokedRefused, probe.ExpiredRefused,
	probe.ServedLeafCurrent, probe.ServedChainTrusted,
}

// every makes an observation of some expectations, all of them met but one.
func every(expectations []probe.Expectation, not probe.Expectation, found probe.Finding) observation {
	seen := observation{}
	for _, e := range expectations {
		if seen[e] = metFinding; e == not {
			seen[e] = found
		}
	}
	return seen
}

func TestALeanRoundTriesOneStrangerByTurns(t *testing.T) {
	target := &target{since: start, known: map[probe.Expectation]known{}}
	if diff := cmp.Diff(all, target.round(all, true)); diff != "" {
		t.Errorf("the first round (-want +got):\n%s", diff)
	}
	target.absorb(every(all, "", metFinding), all, after(1), period)
	if diff := cmp.Diff(all, target.round(all, false)); diff != "" {
		t.Errorf("a round where there are few (-want +got):\n%s", diff)
	}
	tried := map[probe.Expectation]int{}
	for at := range 8 {
		round := target.round(all, true)
		if !slices.Contains(round, probe.ManagedAccepted) || !slices.Contains(round, probe.ServedLeafCurrent) || len(round) != 4 {
			t.Fatalf("a lean round tries %v", round)
		}
		for _, e := range round {
			tried[e]++
		}
		if target.absorb(every(round, "", metFinding), all, after(float64(2+at)), period) || len(target.known) != len(all) {
			t.Fatalf("a lean round changed what is known: %v", target.known)
		}
	}
	for _, e := range all {
		if want := 8 / 4; e.Negative() && tried[e] != want {
			t.Errorf("%s was tried %d times in 8 rounds, expected %d", e, tried[e], want)
		}
	}
}

func TestWhatIsNotAsItWasHasEverythingTried(t *testing.T) {
	refused := probe.Finding{Verdict: probe.Failed, Reason: probe.CertificateRefused}
	for name, disturb := range map[string]func(*target){
		"a friend was refused": func(t *target) {
			t.absorb(every(t.round(all, true), probe.ManagedAccepted, refused), all, after(2), period)
		},
		"another leaf was served": func(t *target) {
			t.absorb(every(t.round(all, true), probe.ServedLeafCurrent, refused), all, after(2), period)
		},
		"something new is expected": func(t *target) { delete(t.known, probe.RevokedRefused) },
		"something was written":     func(t *target) { t.steady = false },
	} {
		target := &target{since: start, known: map[probe.Expectation]known{}}
		target.absorb(every(all, "", metFinding), all, after(1), period)
		disturb(target)
		if diff := cmp.Diff(all, target.round(all, true)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// However many targets there are, in no second are more handshakes made than there may be but for
// chance, and each is tried in every period.
func TestHandshakesAreBounded(t *testing.T) {
	const targets = 3000
	prover := New(Config{Period: 15 * time.Second})
	prover.targets, prover.seed = targets, maphash.MakeSeed()
	every, now := prover.every(), start
	seconds := map[int64]int{}
	for n := range targets {
		target := &target{since: start.Add(-time.Hour), known: map[probe.Expectation]known{}}
		target.spot.place = place{replica: "i/gw", host: string(rune(n)), port: rand.Uint32()} //nolint:gosec // any
		target.absorb(observation{}, nil, now, period)
		target.early = 0
		for at := now; at.Before(now.Add(3 * every)); {
			target.silent = 0
			target.schedule(at, 15*time.Second, every, prover.seed)
			if wait := target.next.Sub(at); wait <= 0 || wait > every {
				t.Fatalf("waits %s", wait)
			}
			at = target.next
			seconds[int64(at.Sub(now)/time.Second)] += leanRound
		}
	}
	for second, handshakes := range seconds {
		if handshakes > handshakesPerSecond*3/2 {
			t.Errorf("in second %d %d handshakes are made, expected about %d", second, handshakes, handshakesPerSecond)
		}
	}
}
