package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/testenv"
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

// toldOfCertificate is what a caller is told of a certificate.
func toldOfCertificate(issued rotate.IssuedSerial) ToldCertificate {
	return ToldCertificate{Serial: issued.Serial.String(), NotAfter: issued.NotAfter}
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
	if n, err := f.RevokeCaller(t.Context(), r, "ns/billing", toldOfCertificate(issuedTo(t, "", 2)), revocation, start); n != 2 || err != nil {
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
	if n, err := f.RevokeCaller(t.Context(), r, "ns/billing", toldOfCertificate(issuedTo(t, "", 2)), rotate.Revocation{At: start.Add(time.Minute), Reason: 5}, start.Add(time.Minute)); n != 0 || err != nil {
		t.Errorf("%d were revoked again, error %v", n, err)
	}
	check(f.Cluster)
	if revoked, err := f.Issued(t.Context(), other); len(revoked.Revoked) != 0 || err != nil {
		t.Errorf("%d of another authority are revoked, error %v", len(revoked.Revoked), err)
	}
	if n, err := f.RevokeCaller(t.Context(), record("ledger-none"), "ns/billing", ToldCertificate{}, revocation, start); n != 0 || err != nil {
		t.Errorf("an authority that issued nothing: %d, error %v", n, err)
	}
	foreign := record("ledger-revoked")
	foreign.Owner.Name = "another"
	if _, err := f.RevokeCaller(t.Context(), foreign, "ns/billing", ToldCertificate{}, revocation, start); !errors.Is(err, ErrLedgerForeign) {
		t.Errorf("the record of another authority: %v", err)
	}
}

// What is told of a certificate is no way to have somebody else's revoked, and keeps no other revocation up.
func TestTheCertificateOfAnotherCallerIsNotRevoked(t *testing.T) {
	f := newFixture(t)
	r := record("ledger-others")
	r.told.Generations = []rotate.ToldGeneration{{ID: "g1", KeyID: "0a", State: rotate.Active}}
	if err := f.RecordSerial(t.Context(), r, issuedTo(t, "ns/bank", 1), start); err != nil {
		t.Fatal(err)
	}
	lost := toldOfCertificate(issuedTo(t, "", 2))
	lost.AuthorityKeyID = "0a"
	claimed := toldOfCertificate(issuedTo(t, "", 1))
	claimed.AuthorityKeyID = "0a"
	callers := []*revocation{{caller: "ns/mallory", newest: claimed}, {caller: "ns/lost", newest: lost}}
	for _, caller := range callers {
		caller.Revocation = rotate.Revocation{At: start}
	}
	if err := f.revoke(t.Context(), r, callers, start); err != nil {
		t.Fatal(err)
	}
	if callers[0].revoked != 0 || callers[0].err == nil || callers[1].revoked != 1 || callers[1].err != nil {
		t.Errorf("of mallory %d, error %v; of the other %d, error %v", callers[0].revoked, callers[0].err, callers[1].revoked, callers[1].err)
	}
	if issued, err := f.Issued(t.Context(), r); err != nil || len(issued.Revoked) != 1 || issued.Revoked[0].Caller != "ns/lost" {
		t.Errorf("revoked are %+v, error %v", issued.Revoked, err)
	}
}

// stuck is a client whose cache shows a Secret as it was, for as long as it holds it.
type stuck struct {
	client.Client
	shown *corev1.Secret
}

func (s *stuck) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if into, is := o.(*corev1.Secret); is && s.shown != nil && key == client.ObjectKeyFromObject(s.shown) {
		s.shown.DeepCopyInto(into)
		return nil
	}
	return s.Client.Get(ctx, key, o, opts...)
}

func (s *stuck) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	err := s.Client.List(ctx, list, opts...)
	if secrets, is := list.(*corev1.SecretList); is && s.shown != nil {
		for i := range secrets.Items {
			if secrets.Items[i].Name == s.shown.Name {
				s.shown.DeepCopyInto(&secrets.Items[i])
			}
		}
	}
	return err
}

// A certificate that the cache does not show yet, and that nobody remembers to have written, is revoked all the same.
func TestWhatACacheDoesNotShowIsRevoked(t *testing.T) {
	f := newFixture(t)
	cache := &stuck{Client: f.view}
	agent := New(cache, f.view.Client, f.namespace)
	r, other := record("ledger-stuck"), record("ledger-stuck-other")
	other.Owner.Name = "other"
	issue := func(r AuthorityRecord, caller string, n int, at time.Time) {
		t.Helper()
		if err := agent.RecordSerial(t.Context(), r, issuedTo(t, caller, n), at); err != nil {
			t.Fatal(err)
		}
	}
	issue(r, "ns/first", 1, start.Add(-time.Hour))
	cache.shown = f.read(t, shardKey(f.namespace, r, 0).Name)
	issue(r, "ns/stolen", 2, start)
	later := start.Add(11 * time.Second) // what was written is remembered for a while
	issue(other, "ns/other", 3, later)
	n, err := agent.RevokeCaller(t.Context(), r, "ns/stolen", toldOfCertificate(issuedTo(t, "", 2)), rotate.Revocation{At: later}, later)
	if n != 1 || err != nil {
		t.Errorf("%d were revoked, error %v", n, err)
	}
}

// Who is revoked with many others at once costs no write of his own, and none of them fails.
func TestACrowdIsRevokedInFewWrites(t *testing.T) {
	f := newFixture(t)
	counted := &counting{Client: f.view}
	agent := New(counted, f.view.Client, f.namespace)
	r := record("ledger-crowd")
	var group errgroup.Group
	const crowd = 200
	each := func(do func(n int, caller string) error) {
		t.Helper()
		for n := range crowd {
			group.Go(func() error { return do(n, fmt.Sprintf("ns/%d", n)) })
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	each(func(n int, caller string) error {
		return agent.RecordSerial(t.Context(), r, issuedTo(t, caller, n), start)
	})
	issuing := counted.writes.Load()
	each(func(n int, caller string) error {
		count, err := agent.RevokeCaller(t.Context(), r, caller, toldOfCertificate(issuedTo(t, caller, n)), rotate.Revocation{At: start}, start)
		if err == nil && count != 1 {
			err = fmt.Errorf("%d of %s were revoked", count, caller)
		}
		return err
	})
	t.Logf("%d writes for %d that are issued, %d for as many that are revoked", issuing, crowd, counted.writes.Load()-issuing)
	if revoking := counted.writes.Load() - issuing; revoking > crowd/4 {
		t.Errorf("%d writes", revoking)
	}
	if revoked, err := f.Issued(t.Context(), r); len(revoked.Revoked) != crowd || err != nil {
		t.Errorf("%d are revoked, error %v", len(revoked.Revoked), err)
	}
}

// counting is a client that counts what it writes.
type counting struct {
	client.Client
	writes atomic.Int64
}

func (c *counting) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	c.writes.Add(1)
	return c.Client.Create(ctx, o, opts...)
}

func (c *counting) Update(ctx context.Context, o client.Object, opts ...client.UpdateOption) error {
	c.writes.Add(1)
	return c.Client.Update(ctx, o, opts...)
}

// Who writes for the others does so in their time: when his own is over they go on.
func TestWhoWritesForOthersDoesNotWearThemOut(t *testing.T) {
	f := newFixture(t)
	held := &holding{Client: f.view, entered: make(chan struct{}), leave: make(chan struct{})}
	agent := New(held, f.view.Client, f.namespace)
	r := record("ledger-worn")
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { first <- agent.RecordSerial(ctx, r, issuedTo(t, "ns/first", 1), start) }()
	<-held.entered
	var group errgroup.Group
	for n := range 20 {
		group.Go(func() error { return agent.RecordSerial(t.Context(), r, issuedTo(t, "ns/other", n+2), start) })
	}
	testenv.Eventually(t, 10*time.Second, "all wait", func(context.Context) error {
		agent.serials.mu.Lock()
		defer agent.serials.mu.Unlock()
		if n := len(agent.serials.queued[r.Name]); n != 20 {
			return fmt.Errorf("%d wait", n)
		}
		return nil
	})
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first got %v", err)
	}
	close(held.leave)
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

// holding is a client that does not let the first write go on before it is told to.
type holding struct {
	client.Client
	once           sync.Once
	entered, leave chan struct{}
}

func (h *holding) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	h.once.Do(func() {
		close(h.entered)
		<-h.leave
	})
	return h.Client.Create(ctx, o, opts...)
}
