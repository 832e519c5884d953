package cluster

import (
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

// Of an authority that is gone nothing is remembered, and of the others everything.
func TestAnAuthorityThatIsGoneIsForgotten(t *testing.T) {
	c := New(nil, nil, "sallyport-system")
	gone, other := types.NamespacedName{Namespace: "shop", Name: "gone"}, types.NamespacedName{Namespace: "shop", Name: "other"}
	for authority, ledger := range map[types.NamespacedName]string{gone: "ledger-a", other: "ledger-aa"} {
		named(&c.records, authority, ledger)
		c.trusted.Store(authority, readTrusted{})
		c.ledgers.Store(ledger, decodedLedger{})
		for _, shard := range []string{"-serials-000", "-serials-001"} {
			c.shards.Store(ledger+shard, decodedShard{})
		}
		c.serials.added(ledger, 1, start)
	}
	c.Forget(gone)
	c.Forget(types.NamespacedName{Namespace: "shop", Name: "never-there"})
	count := func(m *sync.Map) (n int) {
		m.Range(func(any, any) bool { n++; return true })
		return n
	}
	got := map[string]int{"records": count(&c.records), "trusted": count(&c.trusted), "ledgers": count(&c.ledgers), "shards": count(&c.shards), "room": len(c.serials.room)}
	if diff := cmp.Diff(map[string]int{"records": 1, "trusted": 1, "ledgers": 1, "shards": 2, "room": 1}, got); diff != "" {
		t.Errorf("remembered (-want +got):\n%s", diff)
	}
	if _, ok := c.ledgers.Load("ledger-aa"); !ok {
		t.Error("the other one is forgotten")
	}
}
