package cluster

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// issuedTo is one certificate of a caller.
func issuedTo(t *testing.T, caller string, n int) rotate.IssuedSerial {
	t.Helper()
	serial, err := pki.ParseSerial(fmt.Sprintf("7e%030x", n))
	if err != nil {
		t.Fatal(err)
	}
	return rotate.IssuedSerial{Serial: serial, NotAfter: start.Add(time.Hour), Generation: "g1", Caller: caller}
}

func TestARevokedCallerIsWrittenDown(t *testing.T) {
	f := newFixture(t)
	r, other := record("ledger-revoked"), record("ledger-other")
	other.Owner.Name = "other"
	for n, caller := range []string{"ns/billing", "ns/orders", "ns/billing"} {
		if err := f.RecordSerial(t.Context(), r, issuedTo(t, caller, n), start); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.RecordSerial(t.Context(), other, issuedTo(t, "ns/billing", 9), start); err != nil {
		t.Fatal(err)
	}
	revocation := rotate.Revocation{At: start, Reason: 1}
	if n, err := f.RevokeCaller(t.Context(), r, "ns/billing", revocation, start); n != 2 || err != nil {
		t.Fatalf("%d were revoked, error %v", n, err)
	}
	check := func(of *Cluster) {
		t.Helper()
		revoked, err := of.Issued(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]rotate.Revocation{}
		for _, record := range revoked.Revoked {
			got[record.Serial.String()] = record.Revoked
		}
		want := map[string]rotate.Revocation{issuedTo(t, "", 0).Serial.String(): revocation, issuedTo(t, "", 2).Serial.String(): revocation}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); diff != "" {
			t.Errorf("revoked (-want +got):\n%s", diff)
		}
	}
	check(f.Cluster)
	check(New(f.client, f.live, f.namespace)) // an agent that begins
	if n, err := f.RevokeCaller(t.Context(), r, "ns/billing", rotate.Revocation{At: start.Add(time.Minute), Reason: 5}, start.Add(time.Minute)); n != 0 || err != nil {
		t.Errorf("%d were revoked again, error %v", n, err)
	}
	check(f.Cluster)
	if revoked, err := f.Issued(t.Context(), other); len(revoked.Revoked) != 0 || err != nil {
		t.Errorf("%d of another authority are revoked, error %v", len(revoked.Revoked), err)
	}
	if n, err := f.RevokeCaller(t.Context(), record("ledger-none"), "ns/billing", revocation, start); n != 0 || err != nil {
		t.Errorf("an authority that issued nothing: %d, error %v", n, err)
	}
	foreign := record("ledger-revoked")
	foreign.Owner.Name = "another"
	if _, err := f.RevokeCaller(t.Context(), foreign, "ns/billing", revocation, start); !errors.Is(err, ErrLedgerForeign) {
		t.Errorf("the record of another authority: %v", err)
	}
}
