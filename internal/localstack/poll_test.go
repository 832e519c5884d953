package localstack

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/utils/clock"
)

var errNotYet = errors.New("not yet")

func never(context.Context) error { return errNotYet }

func TestUntilSaysWhatItWaitedFor(t *testing.T) {
	err := until(t.Context(), clock.RealClock{}, 10*time.Millisecond, "rain", nil, never)
	if !errors.Is(err, errNotYet) || err.Error() != "waiting for rain: not within 10ms: not yet" {
		t.Errorf("error %v", err)
	}
}

func TestUntilEndsWithItsProcess(t *testing.T) {
	process := start(t, Command{Name: "broken", Binary: "/bin/sh", Args: []string{"-c", "echo bad flag; exit 3"}})
	err := until(t.Context(), clock.RealClock{}, time.Minute, "rain", process, never)
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "bad flag") {
		t.Errorf("error %v, want how the process ended", err)
	}
}

func TestUntilBlamesTheCallerWhoGaveUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	process := start(t, Command{Name: "sleeper", Binary: "/bin/sleep", Args: []string{"60"}})
	err := until(ctx, clock.RealClock{}, time.Minute, "rain", process, never)
	if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "last lines") {
		t.Errorf("error %v, want the cancellation and no log", err)
	}
}

func TestUntilAsksAgain(t *testing.T) {
	asked := 0
	err := until(t.Context(), clock.RealClock{}, time.Minute, "rain", nil, func(context.Context) error {
		if asked++; asked < 3 {
			return errNotYet
		}
		return nil
	})
	if err != nil || asked != 3 {
		t.Errorf("asked %d times, error %v", asked, err)
	}
}
