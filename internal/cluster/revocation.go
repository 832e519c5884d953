package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/rotate"
)

// CallerID is under whom a certificate is recorded: a namespace that is deleted and made
// again is another one.
func CallerID(namespace types.UID, name string) string { return string(namespace) + "/" + name }

// RevokeCaller writes down that every certificate of a caller that has not ended is
// revoked, and returns how many were not before. It survives whatever becomes of the
// caller's own object. Newest is the serial number of the last one that he was told to have, in
// hexadecimal: a cache that does not show it is behind, and the API server is asked. Those that come
// while one is written go into the next writes together.
func (c *Cluster) RevokeCaller(ctx context.Context, record AuthorityRecord, caller, newest string, r rotate.Revocation, now time.Time) (int, error) {
	return c.enqueue(ctx, record, queuedSerial{revoking: &revocation{caller: caller, newest: newest, Revocation: r}}, now)
}

// revocation is one caller who is to be revoked.
type revocation struct {
	rotate.Revocation
	caller, newest string
	// revoked is how many certificates were.
	revoked int
}

// revoke writes each shard once for all callers.
func (c *Cluster) revoke(ctx context.Context, record AuthorityRecord, callers []*revocation, now time.Time) error {
	shown, err := c.shows(ctx, record, callers)
	if err != nil {
		return err
	}
	read := c.shard
	if !shown {
		read = c.LiveSecret
	}
	for n := range maxShards {
		key := shardKey(c.namespace, record, n)
		secret, err := read(ctx, key)
		if err != nil {
			return err
		}
		if secret == nil {
			return nil // shards have no gaps: they are filled one after the other
		}
		shard, err := c.parseShard(secret, record)
		if err != nil {
			return err
		}
		counts, revoked := make([]int, len(callers)), 0
		for i, caller := range callers {
			shard, counts[i] = shard.Revoke(caller.caller, caller.Revocation, now)
			revoked += counts[i]
		}
		if revoked == 0 {
			continue
		}
		written, err := c.writeShard(ctx, key, record, shard, secret)
		c.serials.remember(key, written, now)
		if err != nil {
			return err
		}
		for i := range callers {
			callers[i].revoked += counts[i]
		}
	}
	return nil
}

// shows reports whether the cache shows the newest certificate of each caller. All that was recorded before is shown too then; of
// what was just written here, that is not known.
func (c *Cluster) shows(ctx context.Context, record AuthorityRecord, callers []*revocation) (bool, error) {
	shards, err := c.cachedShards(ctx, record)
	if err != nil {
		return false, err
	}
	missing := map[string]string{}
	for _, r := range callers {
		missing[r.caller] = r.newest
	}
	for i := range shards {
		shard, err := c.parseShard(&shards[i], record)
		if err != nil {
			return false, err
		}
		for _, issued := range shard.Issued() {
			if newest, is := missing[issued.Caller]; is && issued.Serial.String() == newest {
				delete(missing, issued.Caller)
			}
		}
	}
	return len(missing) == 0, nil
}

// cachedShards are the shards of an authority's record as the cache shows them. They must not be changed.
func (c *Cluster) cachedShards(ctx context.Context, record AuthorityRecord) ([]corev1.Secret, error) {
	var list corev1.SecretList
	if err := c.client.List(ctx, &list, inNamespace(c.namespace), ownedBy(record.Owner), client.MatchingLabels{intent.KeyLedger: ledgerSerials}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing the serials of %s: %w", record.Owner, err)
	}
	return list.Items, nil
}

// Issued sums up what an authority issued to callers. It comes from the cache, and from what was
// written here where that is newer.
func (c *Cluster) Issued(ctx context.Context, record AuthorityRecord) (IssuedToCallers, error) {
	shards, err := c.shardsOf(ctx, record)
	if err != nil {
		return IssuedToCallers{}, err
	}
	issued := IssuedToCallers{End: map[string]time.Time{}}
	for _, secret := range shards {
		of, err := c.issuedIn(secret, record)
		if err != nil {
			return IssuedToCallers{}, err
		}
		issued.Revoked = append(issued.Revoked, of.Revoked...)
		for generation, end := range of.End {
			if end.After(issued.End[generation]) {
				issued.End[generation] = end
			}
		}
	}
	return issued, nil
}

// shardsOf are the shards of an authority's record, the newest version of each that is known.
func (c *Cluster) shardsOf(ctx context.Context, record AuthorityRecord) (map[types.NamespacedName]*corev1.Secret, error) {
	cached, err := c.cachedShards(ctx, record)
	if err != nil {
		return nil, err
	}
	shards := map[types.NamespacedName]*corev1.Secret{}
	for i := range cached {
		shards[client.ObjectKeyFromObject(&cached[i])] = &cached[i]
	}
	for key, written := range c.serials.writtenOf(record.Name) {
		if cached := shards[key]; cached == nil || newer(written, cached) {
			shards[key] = written
		}
	}
	return shards, nil
}

// IssuedToCallers is what the record of an authority says in sum.
type IssuedToCallers struct {
	// Revoked are the records of what is revoked.
	Revoked []rotate.IssuedSerial
	// End is when the last certificate ends that is not revoked, by the id of the generation
	// that signed it.
	End map[string]time.Time
}

// CallersOf are the callers with certificates of one of the generations that have not ended and
// were not revoked.
func (c *Cluster) CallersOf(ctx context.Context, record AuthorityRecord, now time.Time, generations ...string) (map[string]bool, error) {
	shards, err := c.shardsOf(ctx, record)
	if err != nil {
		return nil, err
	}
	callers := map[string]bool{}
	for _, secret := range shards {
		shard, err := c.parseShard(secret, record)
		if err != nil {
			return nil, err
		}
		for _, issued := range shard.Issued() {
			if issued.Revoked.IsZero() && issued.NotAfter.After(now) && slices.Contains(generations, issued.Generation) {
				callers[issued.Caller] = true
			}
		}
	}
	return callers, nil
}

// decodedShard is what a shard of one version says in sum.
type decodedShard struct {
	uid     types.UID
	version string
	issued  IssuedToCallers
}

// issuedIn reads a shard once for each version of it.
func (c *Cluster) issuedIn(secret *corev1.Secret, record AuthorityRecord) (IssuedToCallers, error) {
	if last, ok := c.shards.Load(secret.Name); ok {
		if known, is := last.(decodedShard); is && known.uid == secret.UID && known.version == secret.ResourceVersion {
			return known.issued, nil
		}
	}
	shard, err := c.parseShard(secret, record)
	if err != nil {
		return IssuedToCallers{}, err
	}
	issued := IssuedToCallers{Revoked: shard.Revoked(), End: shard.Ends()}
	c.shards.Store(secret.Name, decodedShard{uid: secret.UID, version: secret.ResourceVersion, issued: issued})
	return issued, nil
}

// parseShard reads a shard that has to be the authority's.
func (c *Cluster) parseShard(secret *corev1.Secret, record AuthorityRecord) (rotate.Serials, error) {
	key := client.ObjectKeyFromObject(secret)
	if owner, ours := OwnerOf(secret); !ours || !owner.Same(record.Owner) {
		return rotate.Serials{}, fmt.Errorf("reading Secret %s: %w", key, ErrLedgerForeign)
	}
	shard, err := rotate.ParseSerials(secret.Data[serialsKey])
	if err != nil {
		return rotate.Serials{}, fmt.Errorf("reading Secret %s: %w", key, err)
	}
	return shard, nil
}

// shardKey is the n-th shard of an authority.
func shardKey(namespace string, record AuthorityRecord, n int) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: fmt.Sprintf("%s-serials-%03d", record.Name, n)}
}

// newer reports whether a Secret is of a later version than another.
func newer(a, b *corev1.Secret) bool {
	order, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	return err == nil && order > 0
}
