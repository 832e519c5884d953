package cluster

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/rotate"
)

// serialsKey is the key of a shard's data.
const serialsKey = "serials"

// maxShards bounds the record of one authority's serials: 16,000 shards of 32 KiB
// hold six million certificates.
const maxShards = 16_000

// RecordSerial writes down a certificate that is about to be handed to a caller, in
// the first shard of the authority that has room. Those that come while one is being
// written go into the next write together: what an authority issues at once costs few
// writes, however many callers there are.
func (c *Cluster) RecordSerial(ctx context.Context, record AuthorityRecord, issued rotate.IssuedSerial, now time.Time) error {
	_, err := c.enqueue(ctx, record, queuedSerial{issued: issued}, now)
	return err
}

// enqueue has something written into the record of an authority, by whoever writes it already, and returns how many
// certificates it revoked.
func (c *Cluster) enqueue(ctx context.Context, record AuthorityRecord, what queuedSerial, now time.Time) (int, error) {
	done := make(chan recorded, 1)
	what.done, what.record = done, func(batch []queuedSerial) { c.recordBatch(ctx, record, batch, now) }
	if c.serials.join(record.Name, what) {
		go func() {
			for batch := c.serials.next(record.Name); len(batch) > 0; batch = c.serials.next(record.Name) {
				// Whoever came last has the most time left: one who writes for all who come after him has none in the end.
				batch[len(batch)-1].record(batch)
			}
		}()
	}
	select {
	case r := <-done:
		return r.revoked, r.err
	case <-ctx.Done():
		return 0, fmt.Errorf("recording a serial of %s: %w", record.Owner, context.Cause(ctx))
	}
}

// recordBatch writes what waits: each shard once for all that is issued, and once for all that is revoked.
func (c *Cluster) recordBatch(ctx context.Context, record AuthorityRecord, batch []queuedSerial, now time.Time) {
	var issued []rotate.IssuedSerial
	var revoking []*revocation
	for _, queued := range batch {
		if queued.revoking != nil {
			revoking = append(revoking, queued.revoking)
		} else {
			issued = append(issued, queued.issued)
		}
	}
	var errIssuing, errRevoking error
	if len(issued) > 0 {
		errIssuing = c.recordSerials(ctx, record, issued, never, now)
	}
	if len(revoking) > 0 {
		errRevoking = c.revoke(ctx, record, revoking, now)
	}
	for _, queued := range batch {
		if queued.revoking != nil {
			queued.done <- recorded{revoked: queued.revoking.revoked, err: cmp.Or(errRevoking, queued.revoking.err)}
		} else {
			queued.done <- recorded{err: errIssuing}
		}
	}
}

// never passes over no error.
func never(error) bool { return false }

// recordSerials adds records to the first shard that has room. Passes is which errors of reading a shard are passed over.
func (c *Cluster) recordSerials(ctx context.Context, record AuthorityRecord, issued []rotate.IssuedSerial, passes func(error) bool, now time.Time) error {
	count, err := c.countShards(ctx, record)
	if err != nil {
		return err
	}
	for n := c.serials.from(record.Name, now); n < maxShards; n++ {
		key := shardKey(c.namespace, record, n)
		secret, err := c.shard(ctx, key)
		if err != nil {
			return err
		}
		if secret == nil && n < count {
			continue // it was lost: another one in its place would hide that
		}
		var shard rotate.Serials
		if secret != nil && !updatable(secret, corev1.SecretTypeOpaque) {
			continue // it is as good as full
		}
		if secret != nil {
			shard, err = c.parseShard(secret, record)
			if passes(err) {
				continue
			}
			if err != nil {
				return err
			}
		}
		shard, fits := shard.Add(now, issued...)
		if !fits {
			continue
		}
		written, err := c.writeShard(ctx, key, record, shard, secret)
		c.serials.remember(key, written, now) // nothing after a failure: then the stored one decides
		c.serials.added(record.Name, n, now)
		if err == nil {
			c.serials.count(record, n+1)
		}
		return err
	}
	return fmt.Errorf("recording serial of %s: all %d shards are full; shorten the lifetime of client certificates", record.Owner, maxShards)
}

// shard is the stored shard; nil if there is none. It is the one written last, as
// long as the cache has not caught up.
func (c *Cluster) shard(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error) {
	cached, err := c.Secret(ctx, key)
	if err != nil {
		return nil, err
	}
	written := c.serials.written(key)
	if cached == nil {
		if written != nil {
			return written, nil
		}
		return c.LiveSecret(ctx, key) // as with the ledger
	}
	if written == nil {
		return cached, nil
	}
	if newer(written, cached) {
		return written, nil
	}
	return cached, nil
}

// writeShard returns the shard as it is stored after the write, nil with an error.
func (c *Cluster) writeShard(ctx context.Context, key types.NamespacedName, record AuthorityRecord, shard rotate.Serials, stored *corev1.Secret) (*corev1.Secret, error) {
	wanted := WantedSecret{
		Key:    key,
		Type:   corev1.SecretTypeOpaque,
		Owner:  record.Owner,
		Labels: map[string]string{intent.KeyLedger: ledgerSerials},
		Data:   map[string][]byte{serialsKey: shard.Encode()}, OnlyCopy: true,
	}
	if stored == nil {
		object := wanted.object()
		if err := c.client.Create(ctx, object, client.FieldOwner(FieldOwner)); err != nil {
			return nil, fmt.Errorf("creating Secret %s: %w", key, err)
		}
		return object, nil
	}
	outcome, written, err := c.WriteSecret(ctx, wanted, stored)
	switch {
	case err != nil:
		return nil, err
	case outcome == Foreign:
		return nil, fmt.Errorf("writing Secret %s: %w", key, ErrLedgerForeign)
	}
	return written, nil
}

// queuedSerial waits to be written: what is issued, or whom to revoke.
type queuedSerial struct {
	issued   rotate.IssuedSerial
	revoking *revocation
	// record writes a batch in the time of whom this is for.
	record func(batch []queuedSerial)
	done   chan<- recorded
}

// recorded is what came of it.
type recorded struct {
	revoked int
	err     error
}

// serialQueues hold, for each authority, what waits for the write that is under way.
type serialQueues struct {
	mu     sync.Mutex
	queued map[string][]queuedSerial // with an entry as long as somebody writes
	last   map[types.NamespacedName]writtenShard
	room   map[string]shardWithRoom
	shards map[recordID]int // how many there are, by the highest number that was seen
}

// recordID is the record of one authority: another one of the same name begins anew.
type recordID struct{ name, owner string }

func (r AuthorityRecord) id() recordID { return recordID{r.Name, r.Owner.UID} }

// counted is how many shards a record has; false if nobody counted yet.
func (q *serialQueues) counted(record AuthorityRecord) (int, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, is := q.shards[record.id()]
	return n, is
}

// count notes how many shards a record has. It never falls.
func (q *serialQueues) count(record AuthorityRecord, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.shards == nil {
		q.shards = map[recordID]int{}
	}
	q.shards[record.id()] = max(q.shards[record.id()], n)
}

// recount has the shards of a record counted anew.
func (q *serialQueues) recount(record AuthorityRecord) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.shards, record.id())
}

// shardWithRoom is the shard of a ledger that was added to last.
type shardWithRoom struct {
	n  int
	at time.Time
}

// roomEvery is how often the shards before are asked again whether they have room: what is in them ends.
const roomEvery = time.Minute

// from is the first shard of a ledger that may have room.
func (q *serialQueues) from(ledger string, now time.Time) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if known := q.room[ledger]; now.Sub(known.at).Abs() < roomEvery {
		return known.n
	}
	return 0
}

// added notes which shard of a ledger had room. When all were asked is not changed by what follows.
func (q *serialQueues) added(ledger string, n int, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.room == nil {
		q.room = map[string]shardWithRoom{}
	}
	known := q.room[ledger]
	if now.Sub(known.at).Abs() >= roomEvery {
		known.at = now
	}
	known.n = n
	q.room[ledger] = known
}

type writtenShard struct {
	secret *corev1.Secret
	at     time.Time
}

// cacheLag is how far behind the cache is thought to be at most.
const cacheLag = 10 * time.Second

// join adds a serial. It returns true to whoever has to write, for himself and for
// all who come after.
func (q *serialQueues) join(ledger string, serial queuedSerial) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.queued == nil {
		q.queued = map[string][]queuedSerial{}
	}
	_, busy := q.queued[ledger]
	q.queued[ledger] = append(q.queued[ledger], serial)
	return !busy
}

// next takes all that wait. None is the end of the writer's turn.
func (q *serialQueues) next(ledger string) []queuedSerial {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch := q.queued[ledger]
	if len(batch) == 0 {
		delete(q.queued, ledger)
		return nil
	}
	q.queued[ledger] = nil
	return batch
}

// remember keeps what was written until the cache shows it, and no longer: it forgets
// what it was told long ago.
func (q *serialQueues) remember(key types.NamespacedName, secret *corev1.Secret, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.last == nil {
		q.last = map[types.NamespacedName]writtenShard{}
	}
	for other, written := range q.last {
		if now.Sub(written.at) > cacheLag {
			delete(q.last, other)
		}
	}
	if secret == nil {
		delete(q.last, key)
		return
	}
	q.last[key] = writtenShard{secret: secret, at: now}
}

// writtenOf are the shards of a ledger that were written a moment ago.
func (q *serialQueues) writtenOf(ledger string) map[types.NamespacedName]*corev1.Secret {
	q.mu.Lock()
	defer q.mu.Unlock()
	written := map[types.NamespacedName]*corev1.Secret{}
	for key, shard := range q.last {
		if strings.HasPrefix(key.Name, ledger+"-serials-") {
			written[key] = shard.secret
		}
	}
	return written
}

func (q *serialQueues) written(key types.NamespacedName) *corev1.Secret {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.last[key].secret
}
