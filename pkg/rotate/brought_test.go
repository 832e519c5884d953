package rotate

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/internal/testpki"
	"sallyport.dev/sallyport/pkg/pki"
)

// bring is a CA of somebody else, valid for 120 days from a day on.
func bring(t testing.TB, name string, from float64, options ...testpki.Option) pki.Authority {
	t.Helper()
	ca := testpki.Root(t, name, testpki.Span{From: at(from), To: at(from + 120)}, options...)
	return read(t, ca)
}

func read(t testing.TB, ca testpki.Issued) pki.Authority {
	t.Helper()
	a, err := pki.ParseAuthority(ca.PEM(), ca.KeyPEM(t))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func bringing(a pki.Authority) AuthoritySettings {
	s := short()
	s.Brings, s.Brought = true, Brought{CA: a}
	return s
}

// noFurther lets a CA have none below itself.
func noFurther(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true }

func TestABroughtCA(t *testing.T) {
	first, second, third := bring(t, "first", 0), bring(t, "second", 30), bring(t, "third", 40)
	none := bringing(pki.Authority{})
	stable := established(t, bringing(first))
	prepared := after(t, stable, bringing(second), at(30), Step{CreateGeneration, "g2", ReasonBrought}, Step{SignCRL, "g2", ReasonMissing})
	trusts := after(t, stable, bringing(second), at(30), Step{CreateGeneration, "g2", ReasonBrought}, Step{SignCRL, "g2", ReasonMissing}, Step{Trust, "g2", ReasonStored})
	both := after(t, trusts, bringing(second), at(32), Step{Activate, "g2", ReasonBrought})
	left := after(t, both, bringing(second), at(35), Step{NoteReplaced, "g1", ReasonProven}, Step{SignCRL, "g1", ReasonDue}, Step{SignCRL, "g2", ReasonDue})
	settled := after(t, both, bringing(second), at(35), Step{NoteReplaced, "g1", ReasonProven}, Step{Withdraw, "g1", ReasonDue}, Step{Remove, "g1", ReasonProven})
	key := testpki.P256(t)
	old := read(t, testpki.RootWith(t, key, "kept", testpki.Span{From: at(0), To: at(120)}))
	renewed := read(t, testpki.RootWith(t, key, "kept", testpki.Span{From: at(60), To: at(200)}))
	yes := Evidence{Accepts: []Finding{finding(true, Yes)}}
	bad := func(s AuthoritySettings, of pki.Authority) AuthoritySettings {
		s.Rotation.Compromised = []string{of.Certificate().SubjectKeyID()}
		return s
	}

	for sentence, row := range map[string]struct {
		ledger   Ledger
		settings AuthoritySettings
		evidence Evidence
		at       float64
		steps    []Step
		wait     Wait
	}{
		"nothing is made before anything is brought": {settings: none},
		"what is brought first issues":               {settings: bringing(first), steps: []Step{{CreateGeneration, "g1", ReasonMissing}, {SignCRL, "g1", ReasonMissing}}},
		"half of its life asks for nothing":          {ledger: stable, settings: bringing(first), at: 59.9},
		"what is gone is gone on with":               {ledger: stable, settings: none, at: 59.9},
		"another key is the next generation":         {ledger: stable, settings: bringing(second), at: 30, steps: []Step{{CreateGeneration, "g2", ReasonBrought}, {SignCRL, "g2", ReasonMissing}}},
		"and at once":                                {ledger: stable, settings: bringing(bring(t, "soon", 0)), at: 0.1, steps: []Step{{CreateGeneration, "g2", ReasonBrought}, {SignCRL, "g2", ReasonMissing}}},
		"it issues once gateways trust it":           {ledger: trusts, settings: bringing(second), evidence: yes, at: 31.1, steps: []Step{{Activate, "g2", ReasonBrought}}},
		"it issues though it is taken away again":    {ledger: trusts, settings: none, evidence: yes, at: 31.1, steps: []Step{{Activate, "g2", ReasonBrought}}},
		"a third waits for callers of the first": {ledger: settled, settings: bringing(third), at: 41,
			wait: Wait{Queued: at(120).Add(time.Second)}},
		"unless they all know the second": {ledger: settled, at: 41,
			settings: func() AuthoritySettings {
				s := bringing(third)
				s.Rotation.CallersUpdated = second.Certificate().SubjectKeyID()
				return s
			}(), steps: []Step{{CreateGeneration, "g3", ReasonBrought}, {SignCRL, "g3", ReasonMissing}}},
		"the one before is trusted to its end, whatever else it signed": {ledger: left, settings: bringing(second), at: 94},
		"and gone then": {ledger: left, settings: bringing(second), at: 120.1,
			steps: []Step{{Remove, "g1", ReasonEnded}, {SignCRL, "g2", ReasonDue}}},
		"the one before is no new one":                          {ledger: both, settings: bringing(first), at: 33, steps: []Step{{NoteReplaced, "g1", ReasonProven}}},
		"a renewed certificate of the same key takes its place": {ledger: established(t, bringing(old)), settings: bringing(renewed), at: 59, steps: nil},
		"the active one put back is the end of one that nobody sees": {ledger: prepared, settings: bringing(first), at: 30.1,
			steps: []Step{{Remove, "g2", ReasonTakenBack}}},
		"and of one that is trusted": {ledger: trusts, settings: bringing(first), evidence: yes, at: 32, steps: []Step{{Withdraw, "g2", ReasonTakenBack}}},
		"which is gone once every replica refuses it": {ledger: after(t, trusts, bringing(first), at(32), Step{Withdraw, "g2", ReasonTakenBack}), settings: bringing(first),
			evidence: Evidence{Refuses: []Finding{finding(true, Yes)}}, at: 32.1, steps: []Step{{Remove, "g2", ReasonProven}}},
		"and not before": {ledger: after(t, trusts, bringing(first), at(32), Step{Withdraw, "g2", ReasonTakenBack}), settings: bringing(first),
			evidence: Evidence{Refuses: []Finding{finding(true, No)}}, at: 32.1, wait: Wait{Blocked: []Finding{finding(true, No)}}},
		"in one step": {ledger: established(t, bringing(old)), settings: bringing(renewed), at: 60, steps: []Step{{Renew, "g1", ReasonRenewed}, {SignCRL, "g1", ReasonDue}}},
		"one that is compromised stays as long as there is no other": {ledger: stable, settings: bad(bringing(first), first), at: 20, wait: Wait{Irreplaceable: "g1"}},
		"and leaves with the next": {ledger: stable, settings: bad(bringing(second), first), at: 30,
			steps: []Step{{ThrowOut, "g1", ReasonCompromised}, {CreateGeneration, "g2", ReasonCompromised}, {SignCRL, "g2", ReasonMissing}, {Activate, "g2", ReasonCompromised}}},
		"what is compromised is not taken": {ledger: stable, settings: bad(bringing(second), second), at: 30},
		"one that has ended gives way at once": {ledger: stable, settings: bringing(second), at: 121,
			steps: []Step{{CreateGeneration, "g2", ReasonBrought}, {SignCRL, "g2", ReasonMissing}, {Activate, "g2", ReasonBrought}}},
	} {
		t.Run(sentence, func(t *testing.T) {
			now := at(row.at)
			if brought := row.settings.Brought; !brought.IsZero() && now.Before(brought.CA.Certificate().NotBefore()) {
				row.settings.Brought = Brought{} // as whoever reads it finds
			}
			plan := PlanAuthority(row.ledger, row.settings, row.evidence, now)
			if diff := cmp.Diff(row.steps, plan.Steps); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(row.wait, plan.Wait); diff != "" {
				t.Errorf("wait (-want +got):\n%s", diff)
			}
			made, err := MaterializeAuthority(row.ledger, plan, row.settings, now)
			if err != nil {
				t.Fatal(err)
			}
			data, err := made.Encode()
			if len(made.Generations()) == 0 {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := DecodeLedger(data); err != nil {
				t.Errorf("what is stored cannot be read: %v", err)
			}
		})
	}
}

// A CA that allows no other below itself vouches for none. Then servers keep what they have.
func TestABroughtCAThatNobodyVouchesFor(t *testing.T) {
	first, second := bring(t, "first", 0, noFurther), bring(t, "second", 30)
	ledger := established(t, bringing(first))
	signer, _, err := ledger.Signer(at(10))
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := ledger.Bundle(true, at(10))
	if err != nil {
		t.Fatal(err)
	}
	settings := LeafSettings{Lifetime: 18 * day, RenewBefore: 33, Algorithm: pki.ECDSAP256, Object: "Gateway/shop/edge"}
	hosts := []string{"shop.example"}
	leaf, err := MaterializeServer(signer, bundle, hosts, settings, at(29))
	if err != nil {
		t.Fatal(err)
	}
	ledger = after(t, ledger, bringing(second), at(30), Step{CreateGeneration, "g2", ReasonBrought}, Step{SignCRL, "g2", ReasonMissing},
		Step{Trust, "g2", ReasonStored}, Step{Activate, "g2", ReasonBrought})
	if g := ledger.Generations()[1]; !g.Cross.IsZero() {
		t.Fatal("the first vouches for the second, and its path length is 0")
	}
	for sentence, row := range map[string]struct {
		updated string
		at      float64
		issue   bool
	}{
		"it stays when others would be replaced": {at: 42},
		"it stays until a sixth of it is left":   {at: 43.9},
		"it goes then":                           {at: 44.1, issue: true},
		"it goes once all callers know the next": {updated: second.Certificate().SubjectKeyID(), at: 42, issue: true},
	} {
		t.Run(sentence, func(t *testing.T) {
			signer, _, err := ledger.Signer(at(row.at))
			if err != nil {
				t.Fatal(err)
			}
			signer.Unvouched = ledger.Unvouched(row.updated)
			if got := PlanServer(leaf, hosts, settings, signer, at(row.at)); got.Issue != row.issue {
				t.Errorf("plan %+v, expected to issue: %t", got, row.issue)
			}
			if late := signer.RenewalTime(leaf.Leaf(), settings).After(RenewalTime(leaf.Leaf(), settings)); late != (row.updated == "") {
				t.Errorf("it is told to be renewed later than others: %t", late)
			}
		})
	}
}

// What a server loses meanwhile, and what gets another host, is of the CA that its callers know.
func TestACAThatNobodyVouchesForTakesNoServerOver(t *testing.T) {
	first, second := bring(t, "first", 0, noFurther), bring(t, "second", 30)
	ledger := after(t, established(t, bringing(first)), bringing(second), at(30), Step{CreateGeneration, "g2", ReasonBrought}, Step{SignCRL, "g2", ReasonMissing},
		Step{Trust, "g2", ReasonStored}, Step{Activate, "g2", ReasonBrought})
	settings := LeafSettings{Lifetime: 18 * day, RenewBefore: 33, Algorithm: pki.ECDSAP256, Object: "Gateway/shop/edge"}
	now, hosts := at(31), []string{"shop.example"}
	published, err := ledger.Published(true, now)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(t *testing.T, stored pki.Pair, updated string, want Reason) pki.Pair {
		t.Helper()
		signer, _, err := ledger.Signer(now)
		if err != nil {
			t.Fatal(err)
		}
		signer.Unvouched = ledger.Unvouched(updated)
		plan := PlanServer(stored, hosts, settings, signer, now)
		if !plan.Issue || plan.Reason != want {
			t.Fatalf("plan %+v, expected to issue: %s", plan, want)
		}
		pair, err := MaterializeServer(signer.For(plan), published, hosts, settings, now)
		if err != nil {
			t.Fatal(err)
		}
		if again := PlanServer(pair, hosts, settings, signer, now); again.Issue {
			t.Fatalf("what was just issued is issued again: %+v", again)
		}
		return pair
	}
	known := second.Certificate().SubjectKeyID()
	other, err := MaterializeServer(SignerOf(first), published, []string{"other.example"}, settings, now)
	if err != nil {
		t.Fatal(err)
	}
	moved, err := MaterializeServer(SignerOf(second), published, []string{"other.example"}, settings, now)
	if err != nil {
		t.Fatal(err)
	}
	for sentence, row := range map[string]struct {
		stored  pki.Pair
		updated string
		reason  Reason
		want    pki.Authority
	}{
		"a lost one is of the CA that callers know":                       {reason: ReasonMissing, want: first},
		"a lost one is of the next CA once callers know it":               {reason: ReasonMissing, updated: known, want: second},
		"one with another host stays with the CA that callers know":       {stored: other, reason: ReasonNames, want: first},
		"one with another host goes to the next CA once callers know it":  {stored: other, reason: ReasonNames, updated: known, want: second},
		"one that went over to the next CA with its time does not return": {stored: moved, reason: ReasonNames, want: second},
	} {
		t.Run(sentence, func(t *testing.T) {
			if pair := issue(t, row.stored, row.updated, row.reason); !signedBy(pair.Leaf(), row.want.Certificate()) {
				t.Errorf("it is signed by %s", pair.Leaf().AuthorityKeyID())
			}
		})
	}
}

// What a renewed CA vouched for before it was renewed is revoked by it all the same.
func TestARenewedCARevokesWhatItVouchedFor(t *testing.T) {
	key := testpki.P256(t)
	old := read(t, testpki.RootWith(t, key, "kept", testpki.Span{From: at(0), To: at(120)}))
	renewed := read(t, testpki.RootWith(t, key, "kept", testpki.Span{From: at(20), To: at(200)}))
	second, third := bring(t, "second", 0), bring(t, "third", 30)
	ledger := after(t, established(t, bringing(old)), bringing(second), at(10), Step{CreateGeneration, "g2", ReasonBrought}, Step{SignCRL, "g2", ReasonMissing}, Step{Trust, "g2", ReasonStored})
	ledger = after(t, ledger, bringing(renewed), at(21), Step{Renew, "g1", ReasonRenewed})
	ledger = after(t, ledger, bringing(second), at(22), Step{Activate, "g2", ReasonBrought})
	cross := ledger.Generations()[1].Cross.Serial()
	s := bringing(third)
	s.Rotation.Compromised = []string{second.Certificate().SubjectKeyID()}
	ledger = after(t, ledger, s, at(31), PlanAuthority(ledger, s, Evidence{}, at(31)).Steps...)
	if first := ledger.Generations()[0]; first.ID != "g1" || !first.CRL.Lists(cross) {
		t.Errorf("generation %s does not list the cross-signed certificate of the one that is compromised", first.ID)
	}
}

// A compromised CA that cannot be replaced yet takes nobody with it who vouched for it.
func TestACompromisedCAThatStaysTakesNobodyWithIt(t *testing.T) {
	first, second := bring(t, "first", 0), bring(t, "second", 0)
	s := bringing(second)
	s.Revocation = false
	one := s
	one.Brought = Brought{CA: first}
	ledger := after(t, established(t, one), s, at(10), Step{CreateGeneration, "g2", ReasonBrought}, Step{Trust, "g2", ReasonStored}, Step{Activate, "g2", ReasonBrought})
	s.Rotation.Compromised = []string{second.Certificate().SubjectKeyID()}
	plan := PlanAuthority(ledger, s, Evidence{}, at(11))
	if plan.Wait.Irreplaceable != "g2" || slices.ContainsFunc(plan.Steps, func(s Step) bool { return s.Action == ThrowOut }) {
		t.Errorf("steps %v, wait %+v", plan.Steps, plan.Wait)
	}
}

// What cannot be a generation is said, and nothing is made of it.
func TestWhatIsBroughtAndNotTaken(t *testing.T) {
	key := testpki.P256(t)
	first := read(t, testpki.RootWith(t, key, "first", testpki.Span{From: at(0), To: at(120)}))
	renamed := read(t, testpki.RootWith(t, key, "other", testpki.Span{From: at(0), To: at(200)}))
	second := bring(t, "second", 0)
	stable := established(t, bringing(first))
	both := after(t, stable, bringing(second), at(1), Step{CreateGeneration, "g2", ReasonBrought}, Step{SignCRL, "g2", ReasonMissing},
		Step{Trust, "g2", ReasonStored}, Step{Activate, "g2", ReasonBrought})
	for sentence, row := range map[string]struct {
		ledger      Ledger
		brought     pki.Authority
		compromised []string
		want        string
	}{
		"a new key is":                           {ledger: stable, brought: second},
		"the key that issues is":                 {ledger: stable, brought: first},
		"the same key under another name is not": {ledger: stable, brought: renamed, want: `was brought as "CN=first" with key id`},
		"a key that gave way is not":             {ledger: both, brought: first, want: "generation g1, which has given way to another"},
		"a compromised key is not":               {ledger: stable, brought: second, compromised: []string{second.Certificate().SubjectKeyID()}, want: "is compromised"},
	} {
		t.Run(sentence+" taken", func(t *testing.T) {
			s := bringing(row.brought)
			s.Rotation.Compromised = row.compromised
			err := row.ledger.Takes(s, Use{}, at(2))
			if row.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Fatalf("error %v, expected %q", err, row.want)
			}
			if plan := PlanAuthority(row.ledger, s, Evidence{}, at(2)); slices.ContainsFunc(plan.Steps, func(s Step) bool { return s.Action != NoteReplaced }) {
				t.Errorf("steps %v", plan.Steps)
			}
		})
	}
}

// What is brought is tried before it is taken: what it could not do, gateways and callers would find out.
func TestABroughtCAIsTried(t *testing.T) {
	first := bring(t, "first", 0)
	stable := established(t, bringing(first))
	only := func(domains ...string) testpki.Option {
		return func(c *x509.Certificate) { c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = domains, true }
	}
	forServers := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
	elsewhere := func(c *x509.Certificate) {
		c.PermittedURIDomains, c.PermittedDNSDomainsCritical = []string{"elsewhere.example"}, true
	}
	otherKeyID := func(c *x509.Certificate) { c.AuthorityKeyId = []byte{1, 2, 3} }
	many := make([]string, 300)
	for i := range many {
		many[i] = fmt.Sprintf("h%03d.shop.example", i)
	}
	shops := Use{Hosts: many, Lifetime: 18 * day}
	for sentence, row := range map[string]struct {
		options []testpki.Option
		use     Use
		ledger  Ledger
		none    bool // revocation None
		want    string
	}{
		"a good one is":    {use: shops, ledger: stable},
		"as the first too": {use: Use{Lifetime: 20 * day}},
		"one whose certificates live too short is not":       {use: Use{Lifetime: 20*day + 1}, ledger: stable, want: "bring one that is valid for longer"},
		"the first neither":                                  {use: Use{Lifetime: 21 * day}, want: "one that it signs lives for 480h0m0s at most"},
		"one that allows the hosts is":                       {options: []testpki.Option{only("shop.example")}, use: shops, ledger: stable},
		"one that does not is not":                           {options: []testpki.Option{only("other.example")}, use: shops, ledger: stable, want: "is not permitted by any constraint"},
		"one that does not allow the last of them is not":    {options: []testpki.Option{only("shop.example")}, use: Use{Hosts: append(slices.Clone(many), "z.other.example")}, ledger: stable, want: `"z.other.example" is not permitted`},
		"hosts that nobody serves do not count, so that one": {options: []testpki.Option{only("other.example")}, ledger: stable},
		"one for servers only is not":                        {options: []testpki.Option{forServers}, ledger: stable, want: "for a caller that it signs is of no use"},
		"one for other identities is not":                    {options: []testpki.Option{elsewhere}, ledger: stable, want: "for a caller that it signs is of no use"},
		"one that names another issuer key is not":           {options: []testpki.Option{otherKeyID}, ledger: stable, want: "CRL"},
	} {
		t.Run(sentence+" taken", func(t *testing.T) {
			s := bringing(bring(t, "second", 0, row.options...))
			s.Revocation = !row.none
			err := row.ledger.Takes(s, row.use, at(1))
			if (row.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, expected %q", err, row.want)
			}
		})
	}
	t.Run("a renewed one is tried as well", func(t *testing.T) {
		key := testpki.P256(t)
		old := read(t, testpki.RootWith(t, key, "kept", testpki.Span{From: at(0), To: at(120)}))
		ledger := established(t, bringing(old))
		renewed := bringing(read(t, testpki.RootWith(t, key, "kept", testpki.Span{From: at(0), To: at(200)}, only("other.example"))))
		if err := ledger.Takes(renewed, shops, at(1)); err == nil || !strings.Contains(err.Error(), "is not permitted") {
			t.Errorf("error %v", err)
		}
	})
}

// A root that may sign no CRLs goes on without, when they are asked for later, and says so.
func TestCRLsOfACAThatMaySignNone(t *testing.T) {
	none := func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }
	first, second := bring(t, "first", 0, none), bring(t, "second", 0)
	s := bringing(first)
	s.Revocation = false
	ledger := established(t, s)
	if ledger.Revokes(true) || ledger.Revokes(false) {
		t.Error("gateways get CRLs, and one of the CAs may sign none")
	}
	s.Brought = Brought{CA: second}
	s.Revocation = ledger.Revokes(true)
	ledger = after(t, ledger, s, at(1), Step{CreateGeneration, "g2", ReasonBrought}, Step{Trust, "g2", ReasonStored}, Step{Activate, "g2", ReasonBrought})
	if _, err := ledger.Bundle(ledger.Revokes(true), at(2)); err != nil {
		t.Error(err)
	}
	s.Revocation = ledger.Revokes(true)
	ledger = after(t, ledger, s, at(121), Step{Remove, "g1", ReasonEnded})
	if !ledger.Revokes(true) {
		t.Error("gateways get no CRLs, and all CAs may sign them")
	}
}

// below is a CA below a root, which signs a CRL for a span of days.
type below struct {
	root, ca testpki.Issued
}

func (b below) brought(t testing.TB, from, to float64, further ...below) Brought {
	t.Helper()
	crls := b.root.CRL(t, int64(from*100)+1, testpki.Span{From: at(from), To: at(to)})
	for _, f := range further {
		crls = append(crls, f.root.CRL(t, int64(from*100)+1, testpki.Span{From: at(from), To: at(to)})...)
	}
	found, err := ParseBrought(b.ca.PEM(), b.ca.KeyPEM(t), b.root.PEM(), crls)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// decade is the validity of a corporate root.
func decade() testpki.Span { return testpki.Span{From: at(-10), To: at(3650)} }

// A CA below a root is trusted with its root and both CRLs, or alone where no CRL is checked.
func TestACABelowARoot(t *testing.T) {
	root, other := testpki.Root(t, "root", decade()), testpki.Root(t, "other", decade())
	span := testpki.Span{From: at(0), To: at(120)}
	first, second, apart := below{root, root.CA(t, "first", span, noFurther)}, below{root, root.CA(t, "second", span)}, below{other, other.CA(t, "apart", span)}
	s := short()
	s.Brings, s.Brought = true, first.brought(t, 0, 40)
	ledger := established(t, s)
	ledger = stored(t, ledger)
	cas := func(bundle pki.Bundle, err error) (names []string) {
		t.Helper()
		if err != nil {
			return []string{err.Error()}
		}
		for _, e := range bundle.Entries() {
			names = append(names, e.CA.X509().Subject.CommonName)
		}
		return names
	}
	hold := func(what string, found []string, want ...string) {
		t.Helper()
		if !slices.Equal(found, want) {
			t.Errorf("%s: %q, expected %q", what, found, want)
		}
	}
	hold("with CRLs gateways trust", cas(ledger.Bundle(true, at(1))), "first", "root")
	hold("without, they trust", cas(ledger.Bundle(false, at(1))), "first")
	hold("callers are told to trust", cas(ledger.Published(false, at(1))), "first", "root")

	// The root's CRL is renewed by its owner.
	later := s
	later.Brought = first.brought(t, 20, 60)
	ledger = stored(t, after(t, ledger, later, at(21), Step{Renew, "g1", ReasonRenewed}))
	hold("with the next CRL of the root they trust", cas(ledger.Bundle(true, at(50))), "first", "root")
	if found := cas(ledger.Bundle(true, at(61))); len(found) != 1 || !strings.Contains(found[0], "a CA above it has no fresh CRL") {
		t.Errorf("once it has ended they trust %q", found)
	}
	if standing, is := ledger.StandingAbove(true, at(50)); !is || !standing.NotAfter.Equal(at(60)) || standing.LeftOut != nil {
		t.Errorf("it stands as %+v", standing)
	}

	// The next one is below the same root: everybody who knows the root knows it, though nothing vouches for it.
	swap := s
	swap.Brought = second.brought(t, 22, 100)
	plan := PlanAuthority(ledger, swap, Evidence{}, at(22))
	ledger = after(t, ledger, swap, at(22), plan.Steps...)
	ledger = stored(t, after(t, ledger, swap, at(23), Step{Trust, "g2", ReasonStored}, Step{Activate, "g2", ReasonBrought}))
	hold("while one gives way to the next they trust", cas(ledger.Bundle(true, at(70))), "second", "first", "root")
	if ledger.Unvouched("") {
		t.Error("callers who know the root are taken not to know the next CA")
	}
	signer, _, err := ledger.Signer(at(24))
	if err != nil {
		t.Fatal(err)
	}
	published, err := ledger.Published(true, at(24))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := MaterializeServer(signer, published, []string{"shop.example"}, LeafSettings{Lifetime: day, Algorithm: pki.ECDSAP256}, at(24))
	if err != nil {
		t.Fatal(err)
	}
	if sent := leaf.Chain().Above(); len(sent) != 1 || sent[0].X509().Subject.CommonName != "second" {
		t.Errorf("beside the leaf %d certificates are sent", len(sent))
	}

	// One below another root waits for callers of this one.
	elsewhere := s
	elsewhere.Brought = apart.brought(t, 25, 110, first)
	if plan := PlanAuthority(ledger, elsewhere, Evidence{}, at(25)); plan.Wait.Queued.IsZero() {
		t.Errorf("it does not wait: %+v", plan)
	}

	// The root is stolen: everything below it goes, where there is something else.
	elsewhere.Rotation.Compromised = []string{published.Entries()[2].CA.SubjectKeyID()}
	plan = PlanAuthority(ledger, elsewhere, Evidence{}, at(26))
	ledger = after(t, ledger, elsewhere, at(26), plan.Steps...)
	hold("when their root is stolen they trust", cas(ledger.Bundle(true, at(27))), "apart", "other")
	swap.Rotation.Compromised = elsewhere.Rotation.Compromised
	if err := ledger.Takes(swap, Use{}, at(27)); err == nil || !strings.Contains(err.Error(), `CA "root" above it is compromised`) {
		t.Errorf("one below a stolen root is taken: %v", err)
	}
}

// The one before stands below a root whose CRL its owner lets end: it is left out, and nobody else.
func TestACABelowARootWhoseCRLEnds(t *testing.T) {
	root, other := testpki.Root(t, "root", decade()), testpki.Root(t, "other", decade())
	span := testpki.Span{From: at(0), To: at(120)}
	first, second := below{root, root.CA(t, "first", span)}, below{other, other.CA(t, "second", span)}
	s := short()
	s.Brings, s.Brought = true, first.brought(t, 0, 40)
	ledger := established(t, s)
	s.Brought = second.brought(t, 1, 100)
	ledger = after(t, ledger, s, at(1), PlanAuthority(ledger, s, Evidence{}, at(1)).Steps...)
	ledger = after(t, ledger, s, at(2), Step{Trust, "g2", ReasonStored}, Step{Activate, "g2", ReasonBrought})
	if !ledger.Unvouched("") {
		t.Error("callers who know one root are taken to know the other")
	}
	for when, want := range map[float64]int{39: 4, 41: 2} {
		bundle, err := ledger.Bundle(true, at(when))
		if err != nil || len(bundle.Entries()) != want {
			t.Errorf("on day %v gateways trust %d CAs (%v), expected %d", when, len(bundle.Entries()), err, want)
		}
	}
	s.Brought = second.brought(t, 42, 110, first)
	ledger = after(t, ledger, s, at(42), PlanAuthority(ledger, s, Evidence{}, at(42)).Steps...)
	if bundle, err := ledger.Bundle(true, at(43)); err != nil || len(bundle.Entries()) != 4 {
		t.Errorf("with a CRL of the old root beside that of the new one gateways trust %d CAs (%v)", len(bundle.Entries()), err)
	}
}

// stored is a ledger as it is read back.
func stored(t testing.TB, l Ledger) Ledger {
	t.Helper()
	data, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	read, err := DecodeLedger(data)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// A Secret full of CAs is refused before a signature is checked for each pair of them: whoever may offer one could hold up everybody.
func TestACrowdAboveABroughtCA(t *testing.T) {
	first := bring(t, "first", 0)
	_, err := ParseBrought(first.Certificate().PEM(), first.Key().PEM(), many(t, maxAbove+1), nil)
	if err == nil || !strings.Contains(err.Error(), "5 CAs are above it, at most 4 are taken") {
		t.Errorf("error %v", err)
	}
}

// The CA that somebody brought last has ended, and the one before, which lives for longer, is trusted still: its callers have good
// certificates. With a server certificate that is provided nothing else is wrong. What gateways trust has to be kept current for
// them: its CRL goes on being signed, and has to get there, with every revocation.
func TestTheEndOfTheActiveCAHoldsUpNoCRLOfTheOneBefore(t *testing.T) {
	long := read(t, testpki.Root(t, "long", testpki.Span{From: at(-1), To: at(3650)}))
	brief := read(t, testpki.Root(t, "brief", testpki.Span{From: at(29), To: at(150)}))
	s := bringing(long)
	l := after(t, Ledger{}, s, at(0), Step{CreateGeneration, "g1", ReasonMissing}, Step{SignCRL, "g1", ReasonMissing})
	s.Brought = Brought{CA: brief}
	l = after(t, l, s, at(30), Step{CreateGeneration, "g2", ReasonBrought}, Step{SignCRL, "g2", ReasonMissing}, Step{Trust, "g2", ReasonStored}, Step{Activate, "g2", ReasonBrought})
	now := at(151)
	s.Brought = Brought{} // its owner has not renewed it
	plan := PlanAuthority(l, s, Evidence{InUse: map[string]bool{}}, now)
	l, err := MaterializeAuthority(l, plan, s, now)
	if err != nil {
		t.Fatal(err)
	}
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	caller, err := long.IssueClient(pki.ClientRequest{CommonName: "partner", Identity: "spiffe://example.com/partner", Lifetime: 100 * day}, key, at(100))
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := l.Bundle(true, now)
	if err != nil {
		t.Fatalf("there is nothing to write for gateways, whose CRLs end one after the other (plan %v): %v", plan.Steps, err)
	}
	if end := l.CRLsEnd(now); !end.After(now) {
		t.Errorf("a CRL of what gateways trust ends at %s, expected after %s", end, now)
	}
	if err := caller.Chain().VerifyClient(bundle, now); err != nil {
		t.Error(err)
	}
}
