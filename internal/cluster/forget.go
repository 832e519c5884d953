package cluster

import (
	"maps"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Forget drops what is remembered of an authority that is gone: its keys, above all. Whoever makes it again has it read again.
func (c *Cluster) Forget(authority types.NamespacedName) {
	c.trusted.Delete(authority)
	known, ok := c.records.LoadAndDelete(authority)
	if !ok {
		return
	}
	ledger, _ := known.(string)
	c.ledgers.Delete(ledger)
	c.shards.Range(func(name, _ any) bool {
		if shard, is := name.(string); is && strings.HasPrefix(shard, ledger+"-serials-") {
			c.shards.Delete(shard)
		}
		return true
	})
	c.serials.forget(ledger)
}

// named notes under which name the record of an authority is kept, so that it is found when the authority and its namespace are gone.
func named(records *sync.Map, authority types.NamespacedName, ledger string) {
	if known, ok := records.Load(authority); !ok || known != ledger {
		records.Store(authority, ledger)
	}
}

// forget drops which shard of a ledger has room, and how many there are. What was written a moment ago is forgotten by itself, when the cache shows it.
func (q *serialQueues) forget(ledger string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.room, ledger)
	maps.DeleteFunc(q.shards, func(id recordID, _ int) bool { return id.name == ledger })
}
