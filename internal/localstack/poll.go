package localstack

import (
	"context"
	"fmt"
	"time"

	"k8s.io/utils/clock"
)

// pollInterval is short because a stack is to be up in seconds, and asking a loopback
// port costs nothing.
const pollInterval = 50 * time.Millisecond

// until asks again until the answer is nil, a process it depends on ends, or time is
// up; the error says what was waited for, the last answer, and how the log ends.
func until(ctx context.Context, c clock.WithTicker, limit time.Duration, what string, p *Process, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := c.NewTicker(pollInterval)
	defer ticker.Stop()
	var ended <-chan struct{} // nil never ends
	if p != nil {
		ended = p.Done()
	}
	for {
		last := ready(ctx)
		if last == nil {
			return nil
		}
		select {
		case <-ticker.C():
		case <-ended:
			return fmt.Errorf("waiting for %s: %w", what, p.Err())
		case <-ctx.Done():
			return waited(what, limit, p, last)
		}
	}
}

func waited(what string, limit time.Duration, p *Process, last error) error {
	err := fmt.Errorf("waiting for %s, at most %s: %w", what, limit, last)
	if p != nil {
		err = fmt.Errorf("%w\nlast lines of %s:\n%s", err, p.Log(), tail(p.Log(), tailLines))
	}
	return err
}
