package servingcertificate

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

var (
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	names = []string{"sallyport-webhook.sallyport-system.svc"}
)

func newCA(t testing.TB, name string, l Lifetimes, now time.Time) pki.Authority {
	t.Helper()
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := pki.NewRoot(pki.RootRequest{CommonName: name, Key: key, Lifetime: l.CA}, now)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func newLeaf(t testing.TB, ca pki.Authority, l Lifetimes, now time.Time) pki.Pair {
	t.Helper()
	s := LeafSettings(l)
	key, err := pki.GenerateKey(s.Algorithm)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.IssueServer(pki.ServerRequest{Hosts: names, Key: key, Lifetime: s.Lifetime}, now)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func TestDecide(t *testing.T) {
	l := DefaultLifetimes()
	oldCA, half := newCA(t, "old", l, start), start.Add(l.CA/2)
	oldLeaf := newLeaf(t, oldCA, l, half.Add(-24*time.Hour))
	newer := newCA(t, "new", l, half)
	newLeafOfNew := newLeaf(t, newer, l, half.Add(l.Overlap))
	renewal := func(leaf pki.Pair) time.Time { return rotate.RenewalTime(leaf.Leaf(), LeafSettings(l)) }
	firstLeaf := newLeaf(t, oldCA, l, start)
	overlapped := observed{current: newer, previous: oldCA.Certificate(), serving: oldLeaf, bundled: true, trustedSince: half}
	switched := observed{current: newer, previous: oldCA.Certificate(), serving: newLeafOfNew, bundled: true, trustedSince: half, replicas: 2, updated: 2}
	with := func(o observed, change func(*observed)) observed { change(&o); return o }
	tests := map[string]struct {
		found observed
		now   time.Time
		want  decision
	}{
		"nothing at all: the first CA": {
			observed{}, start, decision{Action: MakeCA, Reason: rotate.ReasonMissing},
		},
		"a CA, not yet in caBundle": {
			observed{current: oldCA}, start, decision{Action: WriteBundle, Reason: rotate.ReasonIssuer},
		},
		"in caBundle, nothing served: nobody is disturbed, so no overlap": {
			observed{current: oldCA, bundled: true, trustedSince: start}, start, decision{Action: IssueLeaf, Reason: rotate.ReasonMissing},
		},
		"all in place": {
			observed{current: oldCA, serving: firstLeaf, bundled: true}, start, decision{Next: renewal(firstLeaf)},
		},
		"the leaf is due": {
			observed{current: oldCA, serving: firstLeaf, bundled: true}, renewal(firstLeaf), decision{Action: IssueLeaf, Reason: rotate.ReasonDue},
		},
		"the next look is at half the CA's life if that is sooner": {
			observed{current: oldCA, serving: oldLeaf, bundled: true}, half.Add(-time.Hour), decision{Next: half},
		},
		"half the CA's life is over": {
			observed{current: oldCA, serving: oldLeaf, bundled: true}, half, decision{Action: MakeCA, Reason: rotate.ReasonDue},
		},
		"the new CA is not in caBundle": {
			with(overlapped, func(o *observed) { o.bundled = false }), half, decision{Action: WriteBundle, Reason: rotate.ReasonIssuer},
		},
		"the new CA has to be trusted for the overlap": {
			overlapped, half.Add(time.Second), decision{Next: half.Add(l.Overlap)},
		},
		"the overlap counts from caBundle, not from the making of the CA": {
			with(overlapped, func(o *observed) { o.trustedSince = half.Add(time.Hour) }), half.Add(time.Hour), decision{Next: half.Add(time.Hour + l.Overlap)},
		},
		"nobody wrote down since when it is trusted": {
			with(overlapped, func(o *observed) { o.trustedSince = time.Time{} }), half.Add(time.Hour), decision{Action: WriteBundle, Reason: rotate.ReasonIssuer},
		},
		"the overlap is over": {
			overlapped, half.Add(l.Overlap), decision{Action: IssueLeaf, Reason: rotate.ReasonIssuer},
		},
		"what is served has ended: there is nothing to protect": {
			overlapped, oldLeaf.Leaf().NotAfter().Add(time.Second), decision{Action: IssueLeaf, Reason: rotate.ReasonIssuer},
		},
		"no replica is ready: the CA before stays": {
			with(switched, func(o *observed) { o.replicas, o.updated = 0, 0 }), half.Add(time.Hour), decision{Next: half.Add(time.Hour + askAgain)},
		},
		"one of two replicas serves the new leaf: the CA before stays": {
			with(switched, func(o *observed) { o.updated = 1 }), half.Add(time.Hour), decision{Next: half.Add(time.Hour + askAgain)},
		},
		"every replica serves the new leaf": {
			switched, half.Add(time.Hour), decision{Action: DropPrevious, Reason: rotate.ReasonDue},
		},
		"the CA before has ended": {
			with(switched, func(o *observed) { o.updated = 0; o.serving = newLeaf(t, newer, l, start.Add(l.CA)) }), start.Add(l.CA + time.Second),
			decision{Action: DropPrevious, Reason: rotate.ReasonDue},
		},
		"the CA before is gone, caBundle still has it": {
			with(switched, func(o *observed) { o.previous = pki.Certificate{}; o.bundled = false }), half.Add(time.Hour),
			decision{Action: WriteBundle, Reason: rotate.ReasonIssuer},
		},
		"done": {
			with(switched, func(o *observed) { o.previous = pki.Certificate{} }), half.Add(time.Hour), decision{Next: renewal(newLeafOfNew)},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, decide(test.found, l, names, test.now)); diff != "" {
				t.Errorf("decision (-want +found):\n%s", diff)
			}
		})
	}
	renamed := decide(observed{current: oldCA, serving: firstLeaf, bundled: true}, l, []string{"sallyport-webhook.elsewhere.svc"}, start)
	if diff := cmp.Diff(decision{Action: IssueLeaf, Reason: rotate.ReasonNames}, renamed); diff != "" {
		t.Errorf("installed in another namespace (-want +found):\n%s", diff)
	}
}
