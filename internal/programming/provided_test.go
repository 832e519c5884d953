package programming

import (
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/pkg/pki"
)

func providedPair(t *testing.T, lifetime time.Duration, now time.Time, hosts ...string) pki.Pair {
	t.Helper()
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	root, err := pki.NewRoot(pki.RootRequest{CommonName: "somebody else's", Key: key, Lifetime: 10000 * time.Hour}, now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := root.IssueServer(pki.ServerRequest{Hosts: hosts, Key: key, Lifetime: lifetime}, now)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func TestProvidedMaterial(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	good := providedPair(t, 90*24*time.Hour, now, "a.example.com", "*.b.example.com")
	at := func(stored ...cluster.StoredEdge) facts {
		f := facts{provided: true, hosts: []string{"a.example.com", "x.b.example.com"}}
		for _, s := range stored {
			f.edges = append(f.edges, edge{stored: s, secrets: cluster.EdgeSecrets{Server: types.NamespacedName{Namespace: "istio-system", Name: "shop-tls"}}})
		}
		return f
	}
	for name, test := range map[string]struct {
		facts   facts
		now     time.Time
		trouble string
	}{
		"it is good":                   {at(cluster.StoredEdge{Pair: good}), now, ""},
		"it is the same everywhere":    {at(cluster.StoredEdge{Pair: good}, cluster.StoredEdge{Pair: good}), now, ""},
		"there is none":                {at(cluster.StoredEdge{}), now, "Secret istio-system/shop-tls with the provided server certificate does not exist"},
		"it cannot be read":            {at(cluster.StoredEdge{Unreadable: errors.New("no key")}), now, "cannot be used: no key"},
		"it has ended":                 {at(cluster.StoredEdge{Pair: good}), now.Add(91 * 24 * time.Hour), "ended at 2026-11-30T12:00:00Z: its owner has to replace it"},
		"it has not begun":             {at(cluster.StoredEdge{Pair: good}), now.Add(-time.Hour), "is not valid before"},
		"it is for other hosts":        {at(cluster.StoredEdge{Pair: providedPair(t, time.Hour, now, "a.example.com")}), now, "is not for host x.b.example.com"},
		"it is another somewhere else": {at(cluster.StoredEdge{Pair: good}, cluster.StoredEdge{Pair: providedPair(t, time.Hour, now, "a.example.com")}), now, "is another than in the other ingress namespaces"},
	} {
		m := test.facts.providedMaterial(test.now)
		if (test.trouble == "") != (m.trouble == "") || !strings.Contains(m.trouble, test.trouble) {
			t.Errorf("%s: found %q, expected %q", name, m.trouble, test.trouble)
		}
		if m.issued != "" || !m.next.After(test.now) {
			t.Errorf("%s: issued for %q, next look %s", name, m.issued, m.next)
		}
	}
	if got, want := expectedBy(good.Leaf()), good.Leaf().NotAfter().Add(-(90*24*time.Hour+10*time.Minute)/10); got != want {
		t.Errorf("its owner is expected by %s, expected %s", got, want)
	}
}
