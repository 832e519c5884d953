package rotate

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
)

// Where there is not room for all, a namespace with many that are revoked takes none of another's, whichever was first, and what is
// listed does not change from pass to pass.
func TestNamespacesShareTheRoomOfACRL(t *testing.T) {
	s := settings()
	ledger := established(t, s)
	n := 10
	revoked := func(caller string, end, at time.Duration) IssuedSerial {
		n++
		r := issued(t, n, start.Add(end))
		r.Caller, r.Revoked = caller, Revocation{At: start.Add(at), Reason: 1}
		return r
	}
	var crowd []IssuedSerial
	for i := range 12_000 { // two of each caller
		crowd = append(crowd, revoked(fmt.Sprintf("mallory/%05d", i/2), time.Hour+time.Duration(i%2)*time.Minute, 0))
	}
	sign := func(r Revocations, now time.Time) (int, []Step) {
		t.Helper()
		s := s
		fitting, leftOut := r.Fitting(ledger, now)
		s.Revocations = fitting
		plan := PlanAuthority(ledger, s, Evidence{}, now)
		after, err := MaterializeAuthority(ledger, plan, s, now)
		if err != nil {
			t.Fatal(err)
		}
		ledger = after
		return leftOut, plan.Steps
	}
	lists := func(records ...IssuedSerial) (count int) {
		g, _ := ledger.Active()
		for _, r := range records {
			if g.CRL.Lists(r.Serial) {
				count++
			}
		}
		return count
	}
	all := Revocations{Recorded: crowd, Further: []pki.Serial{serial(t, 1)}}
	leftOut, _ := sign(all, start)
	if listed := lists(crowd...); listed < 7000 || leftOut != len(crowd)-listed {
		t.Errorf("%d of the crowd are listed, %d said to be left out", listed, leftOut)
	}
	newest := slices.DeleteFunc(slices.Clone(crowd), func(r IssuedSerial) bool { return r.NotAfter.Equal(start.Add(time.Hour)) })
	if listed := lists(newest...); listed != len(newest) {
		t.Errorf("%d of the %d newest of each caller are listed", listed, len(newest))
	}

	others := []IssuedSerial{revoked("shop/a", time.Hour, time.Minute), revoked("shop/a", 2*time.Hour, time.Minute), revoked("bank/b", time.Hour, time.Minute)}
	all.Recorded = append(slices.Clone(crowd), others...)
	now := start.Add(time.Minute)
	if _, steps := sign(all, now); len(steps) != 1 || lists(others...) != len(others) {
		t.Errorf("%d of %d of other namespaces are listed (%v)", lists(others...), len(others), steps)
	}
	if g, _ := ledger.Active(); !g.CRL.Lists(serial(t, 1)) || !g.CRL.Lists(g.Probe.Leaf().Serial()) {
		t.Error("the probe, or what the spec asks for, is not listed")
	}
	slices.Reverse(all.Recorded)
	if _, steps := sign(all, now.Add(time.Second)); len(steps) != 0 {
		t.Errorf("in another order it is signed again: %v", steps)
	}

	// Some have ended, also for gateways whose clocks are behind, and their room goes to those that wait.
	now = start.Add(time.Hour + pki.MaxBackdate + 30*time.Second)
	if leftOut, steps := sign(all, now); len(steps) != 1 || leftOut != 0 || lists(newest...) != len(newest) || lists(others[0]) != 0 {
		t.Errorf("%d are left out (%v)", leftOut, steps)
	}
}
