package cluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

func authoritySettings() rotate.AuthoritySettings {
	return rotate.AuthoritySettings{
		Name: "shop/default", RootLifetime: 87600 * time.Hour, RootAlgorithm: pki.ECDSAP256,
		Revocation: true, CRLValidity: 720 * time.Hour, CRLRefresh: 120 * time.Hour, ProbeIdentity: "spiffe://example.com/sallyport/probe",
	}
}

// ledgerOf is the ledger of a new authority.
func ledgerOf(t *testing.T) rotate.Ledger {
	t.Helper()
	s := authoritySettings()
	ledger, err := rotate.MaterializeAuthority(rotate.Ledger{}, rotate.PlanAuthority(rotate.Ledger{}, s, rotate.Evidence{}, start), s, start)
	if err != nil {
		t.Fatal(err)
	}
	return ledger
}

func record(name string) AuthorityRecord {
	return AuthorityRecord{Name: name, Owner: intent.Owner{Kind: "CertificateAuthority", Namespace: "shop", Name: "default", UID: "0a1b"}}
}

func (f fixture) writeLedger(t *testing.T, r AuthorityRecord) StoredLedger {
	t.Helper()
	written, err := f.WriteLedger(t.Context(), r, StoredLedger{}, ledgerOf(t))
	if err != nil {
		t.Fatal(err)
	}
	return written
}

func TestLedgerIsReadBack(t *testing.T) {
	f := newFixture(t)
	r := record("ledger-a")
	if absent, err := f.Ledger(t.Context(), r); err != nil || absent.Exists() {
		t.Fatalf("an absent ledger exists: %t, error %v", absent.Exists(), err)
	}
	written := f.writeLedger(t, r)
	read, err := f.Ledger(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	one, _ := written.Ledger.Encode()
	two, _ := read.Ledger.Encode()
	if diff := cmp.Diff(one, two); diff != "" {
		t.Errorf("written and read back (-written +read):\n%s", diff)
	}
	if stored := f.read(t, "ledger-a"); !IsLedger(stored) || stored.Labels[intent.KeyManaged] != "true" {
		t.Errorf("labels of the ledger are %v", stored.Labels)
	}
}

// TestALedgerIsNeverReplaced: what callers trust cannot be made again.
func TestALedgerIsNeverReplaced(t *testing.T) {
	f := newFixture(t)
	tests := map[string]struct {
		change func(*corev1.Secret)
		want   error
	}{
		"the key is gone":                  {func(s *corev1.Secret) { delete(s.Data, "g1.key") }, rotate.ErrKeyMissing},
		"the index is gone":                {func(s *corev1.Secret) { delete(s.Data, "generations.json") }, ErrLedgerUnreadable},
		"the index lists nothing":          {func(s *corev1.Secret) { s.Data["generations.json"] = []byte(`{"version":1,"generations":[]}`) }, ErrLedgerUnreadable},
		"everything is gone":               {func(s *corev1.Secret) { s.Data = nil }, ErrLedgerUnreadable},
		"written by a newer agent":         {func(s *corev1.Secret) { s.Data["generations.json"] = []byte(`{"version":9}`) }, ErrLedgerUnreadable},
		"the owner was stripped":           {func(s *corev1.Secret) { delete(s.Annotations, intent.KeyOwner) }, ErrLedgerForeign},
		"of another authority":             {func(s *corev1.Secret) { s.Annotations[intent.KeyOwner] = "CertificateAuthority/shop/other/0a1b" }, ErrLedgerForeign},
		"the label was stripped: all well": {func(s *corev1.Secret) { s.Labels = nil }, nil},
	}
	n := 0
	for name, test := range tests {
		n++
		r := record(fmt.Sprintf("ledger-never-%d", n))
		t.Run(name, func(t *testing.T) {
			f.writeLedger(t, r)
			f.change(t, f.read(t, r.Name), test.change)
			before := f.read(t, r.Name)
			read, err := f.Ledger(t.Context(), r)
			if !errors.Is(err, test.want) || read.Exists() != (test.want == nil) {
				t.Errorf("read as existing: %t, error %v, expected %v", read.Exists(), err, test.want)
			}
			if _, err := f.WriteLedger(t.Context(), r, StoredLedger{}, ledgerOf(t)); !apierrors.IsAlreadyExists(err) {
				t.Errorf("a new ledger in its place: error %v, expected that it exists already", err)
			}
			if diff := cmp.Diff(before, f.read(t, r.Name)); diff != "" {
				t.Errorf("it was written (-before +after):\n%s", diff)
			}
		})
	}
}

func TestWriteLedgerLosesARace(t *testing.T) {
	f := newFixture(t)
	r := record("ledger-race")
	before := f.writeLedger(t, r)
	s := authoritySettings()
	later := start.Add(700 * time.Hour)
	after, err := rotate.MaterializeAuthority(before.Ledger, rotate.PlanAuthority(before.Ledger, s, rotate.Evidence{}, later), s, later)
	if err != nil {
		t.Fatal(err)
	}
	f.change(t, f.read(t, r.Name), func(s *corev1.Secret) { s.Labels["touched"] = "true" })
	if _, err := f.WriteLedger(t.Context(), r, before, after); !apierrors.IsConflict(err) {
		t.Errorf("error %v, expected a conflict", err)
	}
	current, err := f.Ledger(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteLedger(t.Context(), r, current, after); err != nil {
		t.Errorf("decided on what is stored: %v", err)
	}
}

func issuedSerial(t *testing.T, n int, end time.Time) rotate.IssuedSerial {
	t.Helper()
	serial, err := pki.ParseSerial(fmt.Sprintf("7f%030x", n))
	if err != nil {
		t.Fatal(err)
	}
	return rotate.IssuedSerial{Serial: serial, NotAfter: end, Generation: "g1", Caller: "5f0c/billing"}
}

func (f fixture) serials(t *testing.T, name string) []rotate.IssuedSerial {
	t.Helper()
	shard, err := rotate.ParseSerials(f.read(t, name).Data[serialsKey])
	if err != nil {
		t.Fatal(err)
	}
	return shard.Issued()
}

func (f fixture) recordSerial(t *testing.T, r AuthorityRecord, issued rotate.IssuedSerial, now time.Time) {
	t.Helper()
	err := f.RecordSerial(t.Context(), r, issued, now)
	if apierrors.IsConflict(err) { // the next pass sees what there is
		err = f.RecordSerial(t.Context(), r, issued, now)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestRecordSerial(t *testing.T) {
	f := newFixture(t)
	r := record("ledger-serials")
	end := start.Add(time.Hour)
	const first, second = "ledger-serials-serials-000", "ledger-serials-serials-001"
	f.recordSerial(t, r, issuedSerial(t, 1, end), start)
	f.recordSerial(t, r, issuedSerial(t, 2, end.Add(time.Hour)), start)
	if found := len(f.serials(t, first)); found != 2 {
		t.Fatalf("%d records, expected 2", found)
	}
	if IsLedger(f.read(t, first)) {
		t.Errorf("a shard counts as a ledger: every caller would be looked at with each certificate")
	}

	f.change(t, f.read(t, first), func(s *corev1.Secret) { delete(s.Labels, intent.KeyManaged) })
	f.recordSerial(t, r, issuedSerial(t, 3, end.Add(time.Hour)), start)
	if found := len(f.serials(t, first)); found != 3 {
		t.Errorf("%d records after the label was stripped, expected 3", found)
	}

	line := string(f.read(t, first).Data[serialsKey])[:strings.Index(string(f.read(t, first).Data[serialsKey]), "\n")+1]
	f.change(t, f.read(t, first), func(s *corev1.Secret) {
		s.Data[serialsKey] = []byte(strings.Repeat(line, rotate.MaxShard/len(line)))
	})
	f.recordSerial(t, r, issuedSerial(t, 4, end.Add(time.Hour)), start)
	if found := len(f.serials(t, second)); found != 1 {
		t.Errorf("%d records in the second shard when the first is full, expected 1", found)
	}
	immutable := true
	f.change(t, f.read(t, second), func(s *corev1.Secret) { s.Immutable = &immutable })
	f.recordSerial(t, r, issuedSerial(t, 6, end.Add(time.Hour)), start)
	if found := len(f.serials(t, "ledger-serials-serials-002")); found != 1 {
		t.Errorf("%d records in the third shard when the second is immutable, expected 1", found)
	}
	f.recordSerial(t, r, issuedSerial(t, 5, end.Add(2*time.Hour)), end.Add(pki.MaxBackdate+time.Second))
	if found := len(f.serials(t, first)); found != 1 {
		t.Errorf("%d records in the first shard once what was in it has ended, expected the new one alone", found)
	}
}

// TestSerialsOfManyCallersAtOnceShareTheirWrites: none is lost, although the cache
// shows none of the writes in between.
func TestSerialsOfManyCallersAtOnceShareTheirWrites(t *testing.T) {
	f := newFixture(t)
	r := record("ledger-many")
	const callers = 64
	f.recordSerial(t, r, issuedSerial(t, 1, start.Add(time.Hour)), start)
	var group errgroup.Group
	for n := range callers {
		group.Go(func() error {
			return f.RecordSerial(t.Context(), r, issuedSerial(t, n+2, start.Add(time.Hour)), start)
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	serials := map[pki.Serial]bool{}
	for _, s := range f.serials(t, "ledger-many-serials-000") {
		serials[s.Serial] = true
	}
	if len(serials) != callers+1 {
		t.Errorf("%d serials are recorded, expected %d", len(serials), callers+1)
	}
}

func TestRecordSerialRefusesWhatItCannotAddTo(t *testing.T) {
	f := newFixture(t)
	r := record("ledger-bad")
	const shard = "ledger-bad-serials-000"
	f.recordSerial(t, r, issuedSerial(t, 1, start.Add(time.Hour)), start)
	f.change(t, f.read(t, shard), func(s *corev1.Secret) { s.Data[serialsKey] = []byte("nonsense\n") })
	before := f.read(t, shard)
	if err := f.RecordSerial(t.Context(), r, issuedSerial(t, 2, start.Add(time.Hour)), start); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("error %v, expected one that names the line", err)
	}
	if diff := cmp.Diff(before, f.read(t, shard)); diff != "" {
		t.Errorf("it was written (-before +after):\n%s", diff)
	}

	foreign := record("ledger-foreign")
	f.put(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "ledger-foreign-serials-000"}})
	if err := f.RecordSerial(t.Context(), foreign, issuedSerial(t, 1, start.Add(time.Hour)), start); !errors.Is(err, ErrLedgerForeign) {
		t.Errorf("somebody else's Secret in its place: error %v, expected %v", err, ErrLedgerForeign)
	}
}

func TestLedgerName(t *testing.T) {
	one, two := LedgerName("uid-1", "default"), LedgerName("uid-2", "default")
	if one == two || one == LedgerName("uid-1", "other") || len(one) != len("ledger-")+20 {
		t.Errorf("names are %q and %q: a namespace made again must not get the CA of the one before", one, two)
	}
}

// A ledger from an old backup would sign again with a generation that was given up, and would not
// know those that callers trust. Nobody uses it until a person says so.
func TestALedgerThatWasRestoredIsNotTakenForTheNewest(t *testing.T) {
	f := newFixture(t)
	r := record("ledger-restored")
	own := f.writeLedger(t, r).Ledger.Generations()[0].Authority.Certificate().SubjectKeyID()
	is := func(id, keyID string, s rotate.State) rotate.ToldGeneration {
		return rotate.ToldGeneration{ID: id, KeyID: keyID, State: s}
	}
	for name, test := range map[string]struct {
		told  rotate.Told
		taken func(AuthorityRecord) string
		want  string
	}{
		"nothing was told of it":             {},
		"it is as it was told":               {told: rotate.Told{Newest: "g1", Generations: []rotate.ToldGeneration{is("g1", own, rotate.Active)}}},
		"it is further than what was told":   {told: rotate.Told{Newest: "g1", Generations: []rotate.ToldGeneration{is("g1", own, rotate.Trusted)}}},
		"there was a newer generation":       {told: rotate.Told{Newest: "g2"}, want: "its newest generation is g1, and there was a g2"},
		"its generation gave way to another": {told: rotate.Told{Newest: "g1", Generations: []rotate.ToldGeneration{is("g1", own, rotate.Withdrawn)}}, want: "generation g1 is Active in it, and it was Withdrawn"},
		"its generation was gone":            {told: rotate.Told{Newest: "g1"}, want: "generation g1 is Active in it, and it was gone"},
		"its generation had another key":     {told: rotate.Told{Newest: "g1", Generations: []rotate.ToldGeneration{is("g1", "0a", rotate.Active)}}, want: "generation g1 has key " + own + " in it, and it had 0a"},
		"a person takes it for what it is":   {told: rotate.Told{Newest: "g2"}, taken: AuthorityRecord.accepts},
		"a person took another one for what it was": {told: rotate.Told{Newest: "g3"}, want: "there was a g3", taken: func(r AuthorityRecord) string {
			r.told = rotate.Told{Newest: "g3", Generations: []rotate.ToldGeneration{is("g3", "0a", rotate.Active)}}
			return r.accepts()
		}},
		"a person took this one once": {told: rotate.Told{Newest: "g3"}, want: "there was a g3", taken: func(r AuthorityRecord) string {
			r.used = ""
			return r.accepts()
		}},
	} {
		r.told, r.taken, r.used = test.told, "", "g1-0a"
		if test.taken != nil {
			r.taken = test.taken(r)
		}
		stored, err := f.Ledger(t.Context(), r)
		if test.want != "" {
			if !errors.Is(err, ErrLedgerRegressed) || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), r.accepts()) {
				t.Errorf("%s: found %v, expected %q", name, err, test.want)
			}
			continue
		}
		if err != nil || !stored.Exists() || stored.Taken != r.taken {
			t.Errorf("%s: found %v, taken %q", name, err, stored.Taken)
		}
		if r.taken != "" && stored.Ledger.Newest() != test.told.Newest {
			t.Errorf("%s: the next generation comes after %s, and there was a %s", name, stored.Ledger.Newest(), test.told.Newest)
		}
	}
}
