// Package budget spreads over time what does not have to be done at once: certificates that replace
// good ones are issued at a rate that the API server and istiod bear, whatever comes due together.
//
// It refuses to hold up what cannot wait: what is missing, what has ended, what is not trusted any more.
package budget

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"sallyport.dev/sallyport/pkg/rotate"
)

// Budget is how many certificates may be issued that could wait. The nil Budget holds up none. It is
// safe for concurrent use.
type Budget struct {
	limiter *rate.Limiter

	mu sync.Mutex
	// turns are when it is whose turn, by what is issued for; swept is when those were looked through last that were never taken.
	turns map[string]time.Time
	swept time.Time
}

// New is so many in a minute, of which a sixth may come at once; 0 is no limit.
func New(perMinute int) *Budget {
	if perMinute <= 0 {
		return nil
	}
	return &Budget{limiter: rate.NewLimiter(rate.Limit(float64(perMinute)/60), max(perMinute/6, 1)), turns: map[string]time.Time{}}
}

// Hold says until when a plan to issue is to be put off; false if it is not. Each object has one turn, which it keeps however
// often it is looked at: if all were told when the next one is free, they would all come then, and all but one for nothing.
func (b *Budget) Hold(object string, plan rotate.LeafPlan, now time.Time) (time.Time, bool) {
	if b == nil || !plan.Issue || !now.Before(plan.PutOff) {
		return time.Time{}, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweep(now)
	turn, has := b.turns[object]
	if !has {
		reserved := b.limiter.ReserveN(now, 1)
		if turn = now.Add(reserved.DelayFrom(now)); plan.PutOff.Before(turn) {
			reserved.CancelAt(now) // it does not wait for its turn
			return plan.PutOff, true
		}
	}
	if !now.Before(turn) {
		delete(b.turns, object)
		return time.Time{}, false
	}
	b.turns[object] = turn
	if plan.PutOff.Before(turn) {
		return plan.PutOff, true
	}
	return turn, true
}

// keptFor is how long a turn is kept for who does not come, because he is gone or needs nothing any more.
const keptFor = 10 * time.Minute

// sweep forgets turns that nobody took.
func (b *Budget) sweep(now time.Time) {
	if now.Sub(b.swept).Abs() < keptFor {
		return
	}
	b.swept = now
	for object, turn := range b.turns {
		if now.Sub(turn) > keptFor {
			delete(b.turns, object)
		}
	}
}
