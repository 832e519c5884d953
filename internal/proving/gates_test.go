package proving

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"sallyport.dev/sallyport/internal/probe"
)

// What the agent itself does without a certificate is told apart: a gateway that is mutual soon, or no more, lets it in.
func TestWhatPassesAGate(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	p := New(Config{Period: time.Second, TrustDomain: trustDomain, Clock: clock})
	at := place{replica: "istio-system/a", port: 8443, host: "a.example.com"}
	p.begin(at, false)(probe.Accepted)
	p.begin(at, false)(probe.Refused)
	p.begin(at, true)(probe.Accepted)
	p.begin(at, true)(probe.Refused)
	p.begin(at, false)
	p.begin(at, true)
	want := Passed{Completed: 2, Anonymous: 1, Underway: 2, AnonymousUnderway: 1}
	if diff := cmp.Diff(want, p.Passed("istio-system/a", 8443)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := p.Passed("istio-system/a", 8444); got != (Passed{}) {
		t.Errorf("at another port: %+v", got)
	}
}

// Pods and ports come and go for as long as the agent runs.
func TestGatesThatNothingPassesAreForgotten(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	p := New(Config{Period: time.Second, TrustDomain: trustDomain, Clock: clock})
	kept := place{replica: "istio-system/kept", port: 8443}
	for n := range 100_000 {
		p.begin(place{replica: fmt.Sprintf("istio-system/%d", n), port: 8443}, false)(probe.Accepted)
		p.begin(kept, false)(probe.Accepted)
		clock.Step(10 * time.Second)
	}
	if got := len(p.gates); got > 4*fewGates {
		t.Errorf("%d gates are remembered", got)
	}
	if got := p.Passed(kept.replica, kept.port).Completed; got != 100_000 {
		t.Errorf("%d handshakes passed the gate that is in use", got)
	}
}
