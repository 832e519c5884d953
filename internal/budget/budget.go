// Package budget spreads over time what does not have to be done at once: certificates that replace
// good ones are issued at a rate that the API server and istiod bear, whatever comes due together.
//
// It refuses to hold up what cannot wait: what is missing, what has ended, what is not trusted any more.
package budget

import (
	"time"

	"golang.org/x/time/rate"

	"sallyport.dev/sallyport/pkg/rotate"
)

// Budget is how many certificates may be issued that could wait. The nil Budget holds up none. It is
// safe for concurrent use.
type Budget struct{ limiter *rate.Limiter }

// New is so many in a minute, of which a sixth may come at once; 0 is no limit.
func New(perMinute int) *Budget {
	if perMinute <= 0 {
		return nil
	}
	return &Budget{limiter: rate.NewLimiter(rate.Limit(float64(perMinute)/60), max(perMinute/6, 1))}
}

// Hold says until when a plan to issue is to be put off; false if it is not.
func (b *Budget) Hold(plan rotate.LeafPlan, now time.Time) (time.Time, bool) {
	if b == nil || !plan.Issue || !now.Before(plan.PutOff) {
		return time.Time{}, false
	}
	reserved := b.limiter.ReserveN(now, 1)
	wait := reserved.DelayFrom(now)
	if wait == 0 {
		return time.Time{}, false
	}
	reserved.CancelAt(now)
	again := now.Add(wait)
	if plan.PutOff.Before(again) {
		again = plan.PutOff
	}
	return again, true
}
