package proving

import (
	"slices"
	"time"

	"sallyport.dev/sallyport/internal/probe"
)

// The handshakes of a round over one target: the managed certificate and up to five strangers, or
// one of them.
const (
	completeRound = 6
	leanRound     = 2
)

// period is how often each target is tried, as many as there are: not more often than lean rounds
// can be made of all of them.
func (p *Prover) period() time.Duration {
	return max(p.config.Period, time.Duration(p.targets)*leanRound*time.Second/handshakesPerSecond)
}

// crowded reports whether there are more targets than can be tried completely in each period.
func (p *Prover) crowded() bool {
	return time.Duration(p.targets)*completeRound*time.Second > p.config.Period*handshakesPerSecond
}

// every is the time between two rounds over a target. Where there are few, what happens is found out
// within a period; where there are many, that is promised of what is heard of, which is tried at once.
func (p *Prover) every() time.Duration {
	if p.crowded() {
		return p.period()
	}
	return spacing(p.config.Period)
}

// round is what is tried in the next round: everything, or of a target that is steady among many
// what the managed certificate shows, and one of the strangers by turns. Whatever changes where
// it can be heard of, and whatever is not as it was, has everything tried at once; an edge that was
// opened where nobody hears of it is found out within as many rounds as there are strangers.
func (t *target) round(expected []probe.Expectation, crowded bool) []probe.Expectation {
	if !crowded || !t.steady || !t.knowsAll(expected) {
		return expected
	}
	var strangers []probe.Expectation
	lean := slices.DeleteFunc(slices.Clone(expected), func(e probe.Expectation) bool {
		if e.Negative() {
			strangers = append(strangers, e)
		}
		return e.Negative()
	})
	if len(strangers) == 0 {
		return lean
	}
	t.turn++
	// First: where nobody is let in, it is the stranger who sees what is served.
	return append([]probe.Expectation{strangers[t.turn%len(strangers)]}, lean...)
}

// knowsAll reports whether something is known of every expectation.
func (t *target) knowsAll(expected []probe.Expectation) bool {
	return !slices.ContainsFunc(expected, func(e probe.Expectation) bool {
		_, known := t.known[e]
		return !known
	})
}
