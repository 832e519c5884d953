package rotate

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/pkg/pki"
)

// short settings: a generation lives for 120 days, certificates for 20 at most.
func short() AuthoritySettings {
	s := settings()
	s.RootLifetime, s.LongestLeaf, s.CRLValidity, s.CRLRefresh = 120*day, 20*day, 120*day, 60*day
	return s
}

// after takes the steps of a plan at an instant.
func after(t testing.TB, l Ledger, s AuthoritySettings, now time.Time, steps ...Step) Ledger {
	t.Helper()
	l, err := MaterializeAuthority(l, Plan{Steps: steps}, s, now)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// at are the moments of the tests below, in days.
func at(days float64) time.Time { return start.Add(time.Duration(days * float64(day))) }

// prepared, trusting, activated, replaced and withdrawn are ledgers in each phase of a first rotation.
func prepared(t testing.TB, s AuthoritySettings) Ledger {
	t.Helper()
	return after(t, established(t, s), s, at(66), Step{CreateGeneration, "g2", ReasonDue}, Step{SignCRL, "g2", ReasonMissing})
}

func trusting(t testing.TB, s AuthoritySettings) Ledger {
	t.Helper()
	return after(t, prepared(t, s), s, at(66), Step{Trust, "g2", ReasonStored})
}

func activated(t testing.TB, s AuthoritySettings) Ledger {
	t.Helper()
	return after(t, trusting(t, s), s, at(100), Step{Activate, "g2", ReasonDue})
}

func replaced(t testing.TB, s AuthoritySettings) Ledger {
	t.Helper()
	return after(t, activated(t, s), s, at(101), Step{NoteReplaced, "g1", ReasonProven})
}

func withdrawn(t testing.TB, s AuthoritySettings) Ledger {
	t.Helper()
	return after(t, replaced(t, s), s, at(110), Step{Withdraw, "g1", ReasonDue})
}

func finding(counted bool, a Answer) Finding {
	return Finding{Gateway: "shop/edge", Replica: "istio-system/gw-0", Counted: counted, Answer: a, Message: "it said so"}
}

// daily is a window of two hours that opens each day at a time of day.
func daily(at time.Duration) Window {
	return Window{Duration: 2 * time.Hour, Opens: func(after time.Time) time.Time {
		opens := after.Truncate(day).Add(at)
		if !opens.After(after) {
			opens = opens.Add(day)
		}
		return opens
	}}
}

func TestPhases(t *testing.T) {
	s := short()
	asked := func(days float64) func(*AuthoritySettings) {
		return func(s *AuthoritySettings) { s.Rotation.RotateAfter = at(days) }
	}
	keyOf := func(l Ledger, i int) string { return l.generations[i].keyID() }
	first, learning, active, rep, left := established(t, s), trusting(t, s), activated(t, s), replaced(t, s), withdrawn(t, s)
	yes, no, unknown, pending := finding(true, Yes), finding(true, No), finding(true, Unknown), finding(true, Pending)
	stranger := finding(false, Unknown)
	due := start.Add(100*day - jitter(s.Name, s.RootLifetime)) // when the next issues by itself
	tests := map[string]struct {
		ledger   Ledger
		now      float64
		settings func(*AuthoritySettings)
		evidence Evidence
		steps    []Step
		wait     Wait
	}{
		"nothing happens in the first half of a life": {ledger: first, now: 59},
		"the next is made after half of it":           {ledger: first, now: 66, steps: []Step{{CreateGeneration, "g2", ReasonDue}, {SignCRL, "g2", ReasonMissing}, {SignCRL, "g1", ReasonDue}}},
		"asked for, it is made earlier":               {ledger: first, now: 12, settings: asked(11), steps: []Step{{CreateGeneration, "g2", ReasonRequested}, {SignCRL, "g2", ReasonMissing}}},
		"asked for in the future, it waits":           {ledger: first, now: 12, settings: asked(13)},
		"asked for before it was made, it is no wish": {ledger: first, now: 12, settings: asked(-1)},
		"one that is too young waits":                 {ledger: first, now: 2, settings: asked(1), wait: Wait{Queued: at(10)}},
		"a young one does not wait where callers know it": {ledger: first, now: 2, settings: func(s *AuthoritySettings) {
			asked(1)(s)
			s.Rotation.CallersUpdated = keyOf(first, 0)
		}, steps: []Step{{CreateGeneration, "g2", ReasonRequested}, {SignCRL, "g2", ReasonMissing}}},
		"told to stay, it is not made": {ledger: first, now: 66, settings: func(s *AuthoritySettings) { s.Rotation.Paused = true },
			steps: []Step{{SignCRL, "g1", ReasonDue}}, wait: Wait{Held: true}},
		"outside of its windows, it is not made": {ledger: first, now: 66, settings: func(s *AuthoritySettings) { s.Rotation.Windows = []Window{daily(18 * time.Hour)} },
			wait: Wait{Held: true, Opens: at(66.25)}},
		"within a window, it is made": {ledger: first, now: 66, settings: func(s *AuthoritySettings) {
			s.Rotation.Windows = []Window{daily(18 * time.Hour), daily(11 * time.Hour)}
		},
			steps: []Step{{CreateGeneration, "g2", ReasonDue}, {SignCRL, "g2", ReasonMissing}}},
		"outside of its windows, the next issues beyond the last moment": {ledger: learning, now: 110, settings: func(s *AuthoritySettings) { s.Rotation.Windows = []Window{daily(18 * time.Hour)} },
			steps: []Step{{Activate, "g2", ReasonDue}}},
		"no window ever opens": {ledger: first, now: 66, settings: func(s *AuthoritySettings) {
			s.Rotation.Windows = []Window{{Opens: func(time.Time) time.Time { return time.Time{} }, Duration: time.Hour}}
		}, wait: Wait{Held: true}},
		"what was prepared is trusted":              {ledger: prepared(t, s), now: 66, steps: []Step{{Trust, "g2", ReasonStored}, {SignCRL, "g1", ReasonDue}}},
		"trusted everywhere, it waits for its time": {ledger: learning, now: 80, evidence: Evidence{Accepts: []Finding{yes}}, steps: []Step{{SignCRL, "g1", ReasonDue}}},
		"its time has come":                         {ledger: learning, now: 100, evidence: Evidence{Accepts: []Finding{yes}}, steps: []Step{{Activate, "g2", ReasonDue}, {SignCRL, "g1", ReasonDue}}},
		"asked for, it waits for the overlap alone": {ledger: learning, now: 67.5, settings: asked(11), evidence: Evidence{Accepts: []Finding{yes}},
			steps: []Step{{Activate, "g2", ReasonRequested}, {SignCRL, "g1", ReasonDue}}},
		"asked for, but within the overlap":        {ledger: learning, now: 66.9, settings: asked(11), evidence: Evidence{Accepts: []Finding{yes}}, steps: []Step{{SignCRL, "g1", ReasonDue}}},
		"a replica refuses it":                     {ledger: learning, now: 109, evidence: Evidence{Accepts: []Finding{yes, no}}, steps: []Step{{SignCRL, "g1", ReasonDue}}, wait: Wait{Blocked: []Finding{no}}},
		"a replica refuses it, and little is left": {ledger: learning, now: 119, evidence: Evidence{Accepts: []Finding{yes, no}}, steps: []Step{{SignCRL, "g1", ReasonDue}}, wait: Wait{Blocked: []Finding{no}}},
		"nothing is known of a replica":            {ledger: learning, now: 100, evidence: Evidence{Accepts: []Finding{unknown}}, wait: Wait{Blocked: []Finding{unknown}, Until: due.Add(s.Rotation.ProofTimeout)}},
		"nothing is known of a replica for too long": {ledger: learning, now: 106, evidence: Evidence{Accepts: []Finding{unknown}},
			steps: []Step{{Activate, "g2", ReasonTime}}, wait: Wait{Unproven: []Finding{unknown}}},
		"nothing is known of a replica, and a twelfth of the life is left": {ledger: learning, now: 110, settings: func(s *AuthoritySettings) { s.Rotation.ProofTimeout = 90 * day }, evidence: Evidence{Accepts: []Finding{unknown}},
			steps: []Step{{Activate, "g2", ReasonTime}}, wait: Wait{Unproven: []Finding{unknown}}},
		"a replica was not tried yet":                {ledger: learning, now: 100, evidence: Evidence{Accepts: []Finding{yes, pending}}},
		"a Gateway that never worked does not block": {ledger: learning, now: 100, evidence: Evidence{Accepts: []Finding{yes, stranger}}, steps: []Step{{Activate, "g2", ReasonDue}, {SignCRL, "g1", ReasonDue}}, wait: Wait{Unproven: []Finding{stranger}}},
		"where time alone decides nobody is asked": {ledger: learning, now: 100, settings: func(s *AuthoritySettings) { s.Rotation.Proof = false }, evidence: Evidence{Accepts: []Finding{no}},
			steps: []Step{{Activate, "g2", ReasonTime}, {SignCRL, "g1", ReasonDue}}},
		"told to stay, the next does not issue":                   {ledger: learning, now: 105, settings: func(s *AuthoritySettings) { s.Rotation.Paused = true }, steps: []Step{{SignCRL, "g1", ReasonDue}}, wait: Wait{Held: true}},
		"told to stay, the next issues beyond the last moment":    {ledger: learning, now: 110, settings: func(s *AuthoritySettings) { s.Rotation.Paused = true }, steps: []Step{{Activate, "g2", ReasonDue}, {SignCRL, "g1", ReasonDue}}},
		"the active one has ended":                                {ledger: learning, now: 121, evidence: Evidence{Accepts: []Finding{no}}, steps: []Step{{Activate, "g2", ReasonEnded}}},
		"the active one has ended, and the next is only prepared": {ledger: prepared(t, s), now: 121, steps: []Step{{Activate, "g2", ReasonEnded}}},
		"the only one has ended, and somebody asks": {ledger: first, now: 121, settings: asked(121),
			steps: []Step{{CreateGeneration, "g2", ReasonRequested}, {SignCRL, "g2", ReasonMissing}, {Activate, "g2", ReasonRequested}}},
		"a server certificate of the one before is in use":  {ledger: active, now: 101, evidence: Evidence{Serves: []Finding{yes}, InUse: map[string]bool{"g1": true}}, steps: []Step{{SignCRL, "g1", ReasonDue}}},
		"a replica serves the one before":                   {ledger: active, now: 101, evidence: Evidence{Serves: []Finding{no}}, steps: []Step{{SignCRL, "g1", ReasonDue}}, wait: Wait{Blocked: []Finding{no}}},
		"every replica serves the new one":                  {ledger: active, now: 101, evidence: Evidence{Serves: []Finding{yes}}, steps: []Step{{NoteReplaced, "g1", ReasonProven}, {SignCRL, "g1", ReasonDue}}},
		"a caller may hold a certificate of the one before": {ledger: rep, now: 105, evidence: Evidence{ClientsEnd: map[string]time.Time{"g1": at(106)}}, steps: []Step{{SignCRL, "g1", ReasonDue}}},
		"a gateway's clock is behind, so that it still may": {ledger: rep, now: 106, evidence: Evidence{ClientsEnd: map[string]time.Time{"g1": at(106).Add(-9 * time.Minute)}}, steps: []Step{{SignCRL, "g1", ReasonDue}}},
		"no caller holds one of the one before":             {ledger: rep, now: 107, evidence: Evidence{ClientsEnd: map[string]time.Time{"g1": at(106), "g2": at(119)}}, steps: []Step{{Withdraw, "g1", ReasonDue}, {SignCRL, "g1", ReasonDue}}},
		"a replica accepts the one that was withdrawn":      {ledger: left, now: 119, evidence: Evidence{Refuses: []Finding{no}}, steps: []Step{{SignCRL, "g1", ReasonDue}}, wait: Wait{Blocked: []Finding{no}}},
		"every replica refuses the one that was withdrawn":  {ledger: left, now: 111, evidence: Evidence{Refuses: []Finding{yes}}, steps: []Step{{Remove, "g1", ReasonProven}}},
		"the one that was withdrawn has ended":              {ledger: left, now: 121, evidence: Evidence{Refuses: []Finding{no}}, steps: []Step{{Remove, "g1", ReasonEnded}}},
		"the next is compromised": {ledger: learning, now: 70, settings: func(s *AuthoritySettings) { s.Rotation.Compromised = []string{keyOf(learning, 1)} },
			steps: []Step{{ThrowOut, "g2", ReasonCompromised}, {SignCRL, "g1", ReasonRevocation}}},
		"the active one is compromised, and there is a next": {ledger: learning, now: 70, settings: func(s *AuthoritySettings) { s.Rotation.Compromised = []string{keyOf(learning, 0)} },
			steps: []Step{{ThrowOut, "g1", ReasonCompromised}, {Activate, "g2", ReasonCompromised}}},
		"the only one is compromised": {ledger: first, now: 1, settings: func(s *AuthoritySettings) { s.Rotation.Compromised = []string{keyOf(first, 0)} },
			steps: []Step{{ThrowOut, "g1", ReasonCompromised}, {CreateGeneration, "g2", ReasonCompromised}, {SignCRL, "g2", ReasonMissing}, {Activate, "g2", ReasonCompromised}}},
		"the one before is compromised": {ledger: rep, now: 102, settings: func(s *AuthoritySettings) { s.Rotation.Compromised = []string{keyOf(rep, 0)} },
			steps: []Step{{ThrowOut, "g1", ReasonCompromised}}},
		"told to stay, a compromised one goes all the same": {ledger: first, now: 1, settings: func(s *AuthoritySettings) {
			s.Rotation.Paused, s.Rotation.Compromised = true, []string{keyOf(first, 0)}
		}, steps: []Step{{ThrowOut, "g1", ReasonCompromised}, {CreateGeneration, "g2", ReasonCompromised}, {SignCRL, "g2", ReasonMissing}, {Activate, "g2", ReasonCompromised}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := short()
			if test.settings != nil {
				test.settings(&s)
			}
			plan := PlanAuthority(test.ledger, s, test.evidence, at(test.now))
			// CRLs are due by a clock of their own.
			steps := slices.DeleteFunc(slices.Clone(plan.Steps), func(s Step) bool { return s.Action == SignCRL && s.Reason == ReasonDue })
			want := slices.DeleteFunc(slices.Clone(test.steps), func(s Step) bool { return s.Action == SignCRL && s.Reason == ReasonDue })
			if diff := cmp.Diff(append([]Step{}, want...), append([]Step{}, steps...)); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.wait, plan.Wait, cmp.Transformer("empty", func(f []Finding) []Finding { return append([]Finding{}, f...) })); diff != "" {
				t.Errorf("wait (-want +got):\n%s", diff)
			}
			if len(plan.Steps) == 0 && !plan.Next.After(at(test.now)) {
				t.Errorf("nothing is done, and the next look is at %s", plan.Next)
			}
			if _, err := MaterializeAuthority(test.ledger, plan, s, at(test.now)); err != nil {
				t.Errorf("the steps cannot be taken: %v", err)
			}
		})
	}
}

func TestCompromisedGenerationIsRefusedThoughAnotherVouchedForIt(t *testing.T) {
	s := short()
	before := trusting(t, s)
	bad, now := before.generations[1], at(70)
	crossed, err := bad.Authority.Through(bad.Cross)
	if err != nil {
		t.Fatal(err)
	}
	stolen, err := MaterializeClient(SignerOf(crossed), bundleOf(t, before, true, now), ClientNames{CommonName: "thief", Identity: "spiffe://example.com/thief"}, leaves(), now)
	if err != nil {
		t.Fatal(err)
	}
	s.Rotation.Compromised = []string{bad.keyID()}
	thrown, err := MaterializeAuthority(before, PlanAuthority(before, s, Evidence{}, now), s, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := stolen.Chain().VerifyClient(bundleOf(t, thrown, true, now), now); err == nil {
		t.Error("a certificate of the compromised generation is accepted through the one that vouched for it")
	}
	if listed := thrown.generations[0].CRL.Revoked(); !slices.ContainsFunc(listed, func(r pki.Revoked) bool { return r.Serial == bad.Cross.Serial() && r.Reason == 2 }) {
		t.Errorf("the CRL of g1 lists %v, expected the cross-signed certificate %s", listed, bad.Cross.Serial())
	}
	data, err := thrown.Encode()
	if err != nil {
		t.Fatal(err)
	}
	read, err := DecodeLedger(data)
	if err != nil {
		t.Fatal(err)
	}
	next := PlanAuthority(read, short(), Evidence{}, at(71))
	if !slices.Contains(next.Steps, Step{CreateGeneration, "g3", ReasonDue}) {
		t.Errorf("after g2 was thrown out the next plan is %v, expected a g3", next.Steps)
	}
	t.Run("without CRLs the one that vouched for it goes too", func(t *testing.T) {
		s := s
		s.Revocation = false
		plan := PlanAuthority(before, s, Evidence{}, now)
		after, err := MaterializeAuthority(before, plan, s, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := stolen.Chain().VerifyClient(bundleOf(t, after, false, now), now); err == nil || len(after.generations) != 1 || after.generations[0].ID != "g3" {
			t.Errorf("it is accepted (%v), or other generations are left than g3: %v", err, plan.Steps)
		}
	})
}

func bundleOf(t testing.TB, l Ledger, revocation bool, now time.Time) pki.Bundle {
	t.Helper()
	bundle, err := l.Bundle(revocation, now)
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

func TestCallersThatKnowOneGenerationAloneVerifyTheServer(t *testing.T) {
	s := short()
	ledger, now, hosts := activated(t, s), at(100), []string{"shop.example.com"}
	signer, ok, err := ledger.Signer(now)
	if err != nil || !ok {
		t.Fatalf("no signer: %v", err)
	}
	pair, err := MaterializeServer(signer, bundleOf(t, ledger, true, now), hosts, leaves(), now)
	if err != nil {
		t.Fatal(err)
	}
	for i, g := range ledger.generations {
		alone, err := pki.NewBundle([]pki.BundleEntry{{CA: g.Authority.Certificate()}}, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := pair.Chain().VerifyServer(alone, hosts, now); err != nil {
			t.Errorf("a caller that knows generation %d alone refuses the server: %v", i+1, err)
		}
	}
	signer.Authority = signer.Generation.Authority // which does not hand out what vouches for it
	if _, err := MaterializeServer(signer, bundleOf(t, ledger, true, now), hosts, leaves(), now); err == nil {
		t.Error("a certificate was issued that a caller who knows only the generation before refuses")
	}
}

func TestLedgerInEachPhaseIsReadBackAsItWasWritten(t *testing.T) {
	s := short()
	for want, ledger := range map[Phase]Ledger{
		PhaseStable: established(t, s), PhasePrepare: prepared(t, s), PhaseTrust: trusting(t, s), PhaseActivate: activated(t, s), PhaseRetire: withdrawn(t, s),
	} {
		data, err := ledger.Encode()
		if err != nil {
			t.Fatal(err)
		}
		read, err := DecodeLedger(data)
		if err != nil {
			t.Fatal(err)
		}
		again, err := read.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(data, again); diff != "" || read.Phase() != want || read.Newest() != ledger.Newest() {
			t.Errorf("%s: phase %s, newest %s (-first +second):\n%s", want, read.Phase(), read.Newest(), diff)
		}
	}
}

func TestDecodeLedgerRefusesAForeignVoucher(t *testing.T) {
	s := short()
	whole, err := trusting(t, s).Encode()
	if err != nil {
		t.Fatal(err)
	}
	other, err := trusting(t, s).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"g2.cross.crt":  "is not of CA",
		"g2.before.crt": "is not signed by the generation before",
	} {
		good := bytes.Clone(whole[file])
		whole[file] = other[file]
		if _, err := DecodeLedger(whole); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s of another authority: found error %v, expected %q", file, err, want)
		}
		whole[file] = good
	}
}

func TestReissueAfterActivationIsSpread(t *testing.T) {
	s := short()
	before, ledger, hosts := trusting(t, s), activated(t, s), []string{"shop.example.com"}
	l := leaves()
	l.Lifetime = 20 * day
	old, _, err := before.Signer(at(99))
	if err != nil {
		t.Fatal(err)
	}
	// The same generations in both: what the one signed the other knows.
	ledger.generations[0].Authority = before.generations[0].Authority
	signer, _, err := ledger.Signer(at(100))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[time.Time]bool{}
	for _, name := range []string{"a", "b", "c", "d"} {
		l.Object = "Gateway/shop/" + name
		pair, err := MaterializeServer(old, bundleOf(t, before, true, at(99)), hosts, l, at(99))
		if err != nil {
			t.Fatal(err)
		}
		plan := PlanServer(pair, hosts, l, signer, at(100))
		if plan.Issue || plan.Next.Before(at(100)) || plan.Next.After(at(102)) {
			t.Errorf("%s is issued again at %s (%v), expected within a tenth of its life", name, plan.Next, plan.Issue)
		}
		seen[plan.Next] = true
		if again := PlanServer(pair, hosts, l, signer, plan.Next); !again.Issue || again.Reason != ReasonIssuer {
			t.Errorf("%s: at its moment %+v", name, again)
		}
	}
	if len(seen) != 4 {
		t.Errorf("four are issued again at %d moments", len(seen))
	}
}

// Two generations are withdrawn at the same time: g1, which gave way, and g3, which was taken back. Handshakes are made with a
// certificate of one of them (Ledger.Withdrawn), and show nothing of the other.
func TestWhatIsKnownOfOneWithdrawnGenerationRemovesNoOther(t *testing.T) {
	s := short()
	l := withdrawn(t, s) // g1
	l = after(t, l, s, at(115), Step{CreateGeneration, "g3", ReasonRequested}, Step{SignCRL, "g3", ReasonMissing}, Step{Trust, "g3", ReasonStored}, Step{Withdraw, "g3", ReasonTakenBack})
	asked, _ := l.Withdrawn()
	plan := PlanAuthority(l, s, Evidence{Refuses: []Finding{finding(true, Yes)}, InUse: map[string]bool{}}, at(116))
	for _, step := range plan.Steps {
		if step.Action == Remove && step.Generation != asked.ID {
			t.Errorf("every replica refuses %s, and %s is removed (%s)", asked.ID, step.Generation, step.Reason)
		}
	}
}
