package rotate

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/pkg/pki"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func settings() AuthoritySettings {
	return AuthoritySettings{
		Name: "shop/default", RootLifetime: 87600 * time.Hour, RootAlgorithm: pki.ECDSAP256, LongestLeaf: 14600 * time.Hour,
		Revocation: true, CRLValidity: 720 * time.Hour, CRLRefresh: 120 * time.Hour,
		ProbeIdentity: "spiffe://example.com/sallyport/probe",
		Rotation:      RotationSettings{MinimumOverlap: 24 * time.Hour, Proof: true, ProofTimeout: 168 * time.Hour, LookEvery: 15 * time.Second},
	}
}

// established is a ledger as it is after the first pass over a new authority.
func established(t testing.TB, s AuthoritySettings) Ledger {
	t.Helper()
	ledger, err := MaterializeAuthority(Ledger{}, PlanAuthority(Ledger{}, s, Evidence{}, start), s, start)
	if err != nil {
		t.Fatal(err)
	}
	return ledger
}

func TestPlanAuthority(t *testing.T) {
	s := settings()
	ledger := established(t, s)
	signed := start.Add(s.CRLValidity)
	tests := map[string]struct {
		ledger   Ledger
		settings func(*AuthoritySettings)
		now      time.Time
		want     Plan
	}{
		"a new authority gets its first generation and its CRL": {
			ledger: Ledger{}, now: start,
			want: Plan{Phase: PhaseStable, Steps: []Step{{CreateGeneration, "g1", ReasonMissing}, {SignCRL, "g1", ReasonMissing}}, Next: start.Add(s.CRLRefresh)},
		},
		"a new authority without revocation gets no CRL": {
			ledger: Ledger{}, now: start, settings: func(s *AuthoritySettings) { s.Revocation = false },
			want: Plan{Phase: PhaseStable, Steps: []Step{{CreateGeneration, "g1", ReasonMissing}}},
		},
		"nothing is due before the refresh": {
			ledger: ledger, now: start.Add(s.CRLRefresh - time.Second), want: Plan{Phase: PhaseStable, Next: signed.Add(s.CRLRefresh - s.CRLValidity)},
		},
		"the CRL is signed again at the refresh": {
			ledger: ledger, now: start.Add(s.CRLRefresh),
			want: Plan{Phase: PhaseStable, Steps: []Step{{SignCRL, "g1", ReasonDue}}, Next: start.Add(2 * s.CRLRefresh)},
		},
		"a shorter validity signs the CRL again at once": {
			ledger: ledger, now: start.Add(time.Hour), settings: func(s *AuthoritySettings) { s.CRLValidity, s.CRLRefresh = 24*time.Hour, 4*time.Hour },
			want: Plan{Phase: PhaseStable, Steps: []Step{{SignCRL, "g1", ReasonLifetime}}, Next: start.Add(5 * time.Hour)},
		},
		"turning revocation on signs the missing CRL": {
			ledger: established(t, AuthoritySettings{Name: "a", RootLifetime: 87600 * time.Hour, RootAlgorithm: pki.ECDSAP256, ProbeIdentity: s.ProbeIdentity}),
			now:    start.Add(time.Minute),
			want:   Plan{Phase: PhaseStable, Steps: []Step{{SignCRL, "g1", ReasonMissing}}, Next: start.Add(time.Minute + s.CRLRefresh)},
		},
		"a generation that has ended gets no CRL and no successor": {
			ledger: ledger, now: start.Add(s.RootLifetime + time.Hour), want: Plan{Phase: PhaseStable},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := settings()
			if test.settings != nil {
				test.settings(&s)
			}
			if diff := cmp.Diff(test.want, PlanAuthority(test.ledger, s, Evidence{}, test.now)); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAuthorityIsTrustedWithAFreshCRLThatListsItsProbeCertificate(t *testing.T) {
	ledger := established(t, settings())
	bundle, err := ledger.Bundle(true, start)
	if err != nil {
		t.Fatal(err)
	}
	g, ok := ledger.Active()
	if !ok {
		t.Fatal("no generation is active")
	}
	if err := g.Probe.Chain().VerifyClient(bundle, start); err == nil {
		t.Error("the revoked probe certificate is accepted")
	}
	unchecked, err := ledger.Bundle(false, start)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Probe.Chain().VerifyClient(unchecked, start); err != nil {
		t.Errorf("without the CRL the probe certificate is refused, so it proves nothing: %v", err)
	}
}

func TestCRLNumberRisesThoughTheClockGoesBack(t *testing.T) {
	s := settings()
	ledger := established(t, s)
	before := ledger.generations[0].CRL.Number()
	again, err := MaterializeAuthority(ledger, Plan{Steps: []Step{{SignCRL, "g1", ReasonDue}}}, s, start.Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if after := again.generations[0].CRL.Number(); after.Cmp(before) <= 0 {
		t.Errorf("CRL number went from %v to %v", before, after)
	}
	if ledger.generations[0].CRL.Number() != before {
		t.Error("the ledger that was given changed")
	}
}

func TestDecodeLedgerRefusesWhatDoesNotFit(t *testing.T) {
	whole, err := established(t, settings()).Encode()
	if err != nil {
		t.Fatal(err)
	}
	other, err := established(t, settings()).Encode()
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		change func(map[string][]byte)
		want   string
	}{
		"no index":                     {func(d map[string][]byte) { delete(d, indexKey) }, `reading ledger: generations.json is missing`},
		"index cut off":                {func(d map[string][]byte) { d[indexKey] = d[indexKey][:20] }, `reading ledger: unexpected EOF`},
		"written by a newer agent":     {func(d map[string][]byte) { d[indexKey] = []byte(`{"version":3}`) }, `reading ledger: its format is version 3, expected 1 to 2; a newer agent wrote it`},
		"unknown field":                {func(d map[string][]byte) { d[indexKey] = []byte(`{"version":1,"x":1}`) }, `reading ledger: json: unknown field "x"`},
		"no key":                       {func(d map[string][]byte) { delete(d, "g1.key") }, `reading ledger: generation "g1": the private key is missing`},
		"key of another CA":            {func(d map[string][]byte) { d["g1.key"] = other["g1.key"] }, `does not belong to certificate`},
		"probe key of another":         {func(d map[string][]byte) { d["g1.probe.key"] = other["g1.probe.key"] }, `probe certificate: reading pair`},
		"two CRLs":                     {func(d map[string][]byte) { d["g1.crl"] = append(d["g1.crl"], other["g1.crl"]...) }, `found 2 CRLs, expected one`},
		"a generation of another name": {func(d map[string][]byte) { d[indexKey] = []byte(`{"version":1,"generations":[{"id":"../x"}]}`) }, `generation "../x": the private key is missing`},
		"index of more than it can be": {func(d map[string][]byte) { d[indexKey] = make([]byte, maxIndex+1) }, `16385 bytes, at most 16384 are read`},
		"the same generation twice": {func(d map[string][]byte) {
			d[indexKey] = []byte(`{"version":1,"generations":[{"id":"g1","state":"Active"},{"id":"g1","state":"Retiring"}]}`)
		}, `generation g1 comes after g1, expected rising numbers`},
		"a state nobody knows": {func(d map[string][]byte) {
			d[indexKey] = []byte(`{"version":1,"generations":[{"id":"g1","state":"Done"}]}`)
		}, `generation g1 is in state "Done"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			data := maps.Clone(whole)
			test.change(data)
			_, err := DecodeLedger(data)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("found error %v, expected one with %q", err, test.want)
			}
		})
	}
	data := maps.Clone(whole)
	delete(data, "g1.key")
	if _, err := DecodeLedger(data); !errors.Is(err, ErrKeyMissing) {
		t.Errorf("a lost key is reported as %v", err)
	}
}
