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
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := c.NewTicker(pollInterval)
	defer ticker.Stop()
	var ended <-chan struct{} // nil never ends
	if p != nil {
		ended = p.Done()
	}
	for {
		last := ready(limited)
		if last == nil {
			return nil
		}
		select {
		case <-ticker.C():
		case <-ended:
			return interrupted(ctx, what, p.Err())
		case <-limited.Done():
			return interrupted(ctx, what, overdue(limit, p, last))
		}
	}
}

// interrupted blames the end of the caller's context where there is one: a stack that
// is told to stop ends its processes, and no log explains that.
func interrupted(ctx context.Context, what string, cause error) error {
	if ctx.Err() != nil {
		cause = context.Cause(ctx)
	}
	return fmt.Errorf("waiting for %s: %w", what, cause)
}

func overdue(limit time.Duration, p *Process, last error) error {
	err := fmt.Errorf("not within %s: %w", limit, last)
	if p != nil {
		err = fmt.Errorf("%w\nlast lines of %s:\n%s", err, p.Log(), tail(p.Log(), tailLines))
	}
	return err
}
