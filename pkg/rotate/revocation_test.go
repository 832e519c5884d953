package rotate

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/pkg/pki"
)

func TestRevokingACallerRevokesEveryCertificateOfHis(t *testing.T) {
	caller := func(name string, n int, end time.Duration) IssuedSerial {
		record := issued(t, n, start.Add(end))
		record.Caller = name
		return record
	}
	shard := Serials{issued: []IssuedSerial{
		caller("5f0c/billing", 1, -pki.MaxBackdate-time.Second), // ended, also for a gateway whose clock is behind
		caller("5f0c/billing", 2, time.Hour),
		caller("5f0c/billing", 3, 2*time.Hour), // the newest
		caller("5f0c/billing-2", 4, time.Hour),
		caller("aaaa/billing", 5, time.Hour), // of another namespace
	}}
	first := Revocation{At: start, Reason: 1}
	after, n := shard.Revoke("5f0c/billing", first, start)
	if n != 2 {
		t.Errorf("%d were revoked, expected 2", n)
	}
	var got []string
	for _, r := range after.Revoked() {
		got = append(got, r.Serial.String())
		if r.Revoked != first {
			t.Errorf("%s was revoked %+v", r.Serial, r.Revoked)
		}
	}
	if diff := cmp.Diff([]string{serial(t, 2).String(), serial(t, 3).String()}, got); diff != "" {
		t.Errorf("revoked (-want +got):\n%s", diff)
	}
	if len(shard.Revoked()) != 0 {
		t.Error("the shard it was made from has changed")
	}
	again, n := after.Revoke("5f0c/billing", Revocation{At: start.Add(time.Hour), Reason: 5}, start)
	if n != 0 || again.Revoked()[0].Revoked != first {
		t.Errorf("%d were revoked again, the first %+v", n, again.Revoked()[0].Revoked)
	}
	read, err := ParseSerials(after.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(after.Issued(), read.Issued(), sameRecord); diff != "" {
		t.Errorf("written and read back (-written +read):\n%s", diff)
	}
	for late, want := range map[time.Duration]int{90 * time.Minute: 2, revokedKept + 90*time.Minute: 1, revokedKept + 3*time.Hour: 0} {
		if left := after.Unexpired(start.Add(late)); len(left.Revoked()) != want {
			t.Errorf("%d are left after %s, expected %d", len(left.Revoked()), late, want)
		}
	}
}

func TestARevocationThatCannotBeRead(t *testing.T) {
	const good = "7f000000000000000000000000000001 1767225600 g1 5f0c/billing"
	for line, want := range map[string]bool{
		good + "\n":                true,
		good + " 1767225600 1\n":   true,
		good + " 1767225600\n":     false,
		good + " 1767225600 11\n":  false,
		good + " 1767225600 -1\n":  false,
		good + " soon 1\n":         false,
		good + " 1767225600 1 2\n": false,
		good + "  1\n":             false,
	} {
		if _, err := ParseSerials([]byte(line)); (err == nil) != want {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// The CRL of a generation over its life: what it lists, when it is due, and when an entry leaves.
func TestACRLListsWhatIsRevoked(t *testing.T) {
	s := settings()
	ledger := established(t, s)
	g, _ := ledger.Active()
	record := func(n int, end time.Duration, generation string) IssuedSerial {
		r := issued(t, n, start.Add(end))
		r.Generation, r.Revoked = generation, Revocation{At: start.Add(time.Minute), Reason: 1}
		return r
	}
	at := func(now time.Time, revocations Revocations) (Ledger, []Step) {
		t.Helper()
		s := s
		s.Revocations = revocations
		plan := PlanAuthority(ledger, s, Evidence{}, now)
		after, err := MaterializeAuthority(ledger, plan, s, now)
		if err != nil {
			t.Fatal(err)
		}
		return after, plan.Steps
	}
	lists := func(l Ledger, n int) bool {
		g, _ := l.Active()
		return g.CRL.Lists(serial(t, n))
	}
	now := start.Add(time.Minute)
	both := Revocations{Recorded: []IssuedSerial{record(1, time.Hour, "g1"), record(2, time.Hour, "g9")}, Further: []pki.Serial{serial(t, 3)}}

	after, steps := at(now, both)
	if diff := cmp.Diff([]Step{{SignCRL, "g1", ReasonRevocation}}, steps); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if !lists(after, 1) || lists(after, 2) || !lists(after, 3) {
		t.Errorf("listed are 1 %t, 2 (of another generation) %t, 3 %t", lists(after, 1), lists(after, 2), lists(after, 3))
	}
	ledger = after
	first := map[pki.Serial]pki.Revoked{}
	g, _ = ledger.Active()
	for _, entry := range g.CRL.Revoked() {
		first[entry.Serial] = entry
	}
	if e := first[serial(t, 1)]; e.Reason != 1 || e.At.After(now) {
		t.Errorf("the entry is %+v", e)
	}
	if _, steps := at(now.Add(time.Second), both); len(steps) != 0 {
		t.Errorf("signed again: %v", steps)
	}
	if _, steps := at(now.Add(time.Second), Revocations{}); len(steps) != 0 {
		t.Errorf("a revocation that is forgotten is taken back: %v", steps)
	}

	// The next regular one: what was forgotten stays, with its date and reason.
	ledger, steps = at(now.Add(s.CRLRefresh), Revocations{})
	if len(steps) != 1 || steps[0].Reason != ReasonDue || !lists(ledger, 1) || !lists(ledger, 3) {
		t.Errorf("%v; listed are 1 %t, 3 %t", steps, lists(ledger, 1), lists(ledger, 3))
	}
	g, _ = ledger.Active()
	for _, entry := range g.CRL.Revoked() {
		if diff := cmp.Diff(first[entry.Serial], entry, sameRecord); diff != "" {
			t.Errorf("an entry changed (-before +after):\n%s", diff)
		}
	}
	// Its certificate has ended long ago, and the CRL of now was made after that: it leaves.
	ledger, _ = at(now.Add(2*s.CRLRefresh), Revocations{Recorded: both.Recorded})
	if lists(ledger, 1) {
		t.Error("it never leaves")
	}
	if !lists(ledger, 3) || !g.CRL.Lists(g.Probe.Leaf().Serial()) {
		t.Error("what has not ended has left")
	}
}

// More revocations than a Secret holds: what is listed goes on being listed and fresh.
func TestRevocationsThatDoNotFit(t *testing.T) {
	s := settings()
	ledger := established(t, s)
	s.Revocations.Further = []pki.Serial{serial(t, 1)}
	ledger, err := MaterializeAuthority(ledger, PlanAuthority(ledger, s, Evidence{}, start), s, start)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 16_000 {
		record := issued(t, n+2, start.Add(time.Hour))
		record.Revoked = Revocation{At: start, Reason: 1}
		s.Revocations.Recorded = append(s.Revocations.Recorded, record)
	}
	now := start.Add(s.CRLRefresh)
	if _, err := MaterializeAuthority(ledger, PlanAuthority(ledger, s, Evidence{}, start), s, start); !errors.Is(err, ErrCRLsTooLarge) {
		t.Fatalf("error %v", err)
	}
	s.Revocations = s.Revocations.Listed(ledger)
	if n := len(s.Revocations.Recorded) + len(s.Revocations.Further); n != 1 {
		t.Errorf("%d are left of those that are listed", n)
	}
	plan := PlanAuthority(ledger, s, Evidence{}, now)
	after, err := MaterializeAuthority(ledger, plan, s, now)
	if err != nil || len(plan.Steps) != 1 || plan.Steps[0].Reason != ReasonDue {
		t.Fatalf("%v (error %v)", plan, err)
	}
	g, _ := after.Active()
	if !g.CRL.Lists(serial(t, 1)) || !g.CRL.NextUpdate().Equal(now.Add(s.CRLValidity)) {
		t.Errorf("the CRL lists %d and ends at %s", g.CRL.Entries(), g.CRL.NextUpdate())
	}
	if _, err := after.Bundle(true, now); err != nil {
		t.Error(err)
	}
}
