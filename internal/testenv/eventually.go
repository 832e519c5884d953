package testenv

import (
	"context"
	"testing"
	"time"

	"k8s.io/utils/clock"
)

// Eventually asks again after a twentieth of the time that it has waited, within these bounds:
// loopback servers answer in a millisecond, and a question may cost them more than the answer is
// worth.
const (
	askSoonest = 10 * time.Millisecond
	askLatest  = 100 * time.Millisecond
)

// pause is how long nobody asks after the wait so far.
func pause(waited time.Duration) time.Duration {
	return min(max(waited/20, askSoonest), askLatest)
}

// Eventually asks until the answer is nil, and returns how long that took. If there is
// none within the limit it ends the test, and says what was waited for and the last
// answer. One that comes after the end is none: who asks for an error, such as a refusal,
// may have been answered with that end.
func Eventually(t testing.TB, limit time.Duration, what string, ask func(ctx context.Context) error) time.Duration {
	t.Helper()
	c := clock.RealClock{}
	begun := c.Now()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var last error
	for {
		err := ask(ctx)
		if err == nil && ctx.Err() == nil {
			return c.Since(begun)
		}
		if err != nil && (last == nil || ctx.Err() == nil) {
			last = err // what the end of the time itself causes tells nothing
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %v", what, limit, last)
		case <-c.After(pause(c.Since(begun))):
		}
	}
}
