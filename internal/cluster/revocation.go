package cluster

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/rotate"
)

// RevokeCaller writes down that every certificate of a caller that has not ended is
// revoked, and returns how many were not before. It survives whatever becomes of the
// caller's own object.
func (c *Cluster) RevokeCaller(ctx context.Context, record AuthorityRecord, caller string, r rotate.Revocation, now time.Time) (int, error) {
	revoked := 0
	for n := range maxShards {
		key := shardKey(c.namespace, record, n)
		secret, err := c.shard(ctx, key)
		if err != nil {
			return revoked, err
		}
		if secret == nil {
			return revoked, nil // shards have no gaps: they are filled one after the other
		}
		shard, err := c.parseShard(secret, record)
		if err != nil {
			return revoked, err
		}
		after, count := shard.Revoke(caller, r, now)
		if count == 0 {
			continue
		}
		written, err := c.writeShard(ctx, key, record, after, secret)
		c.serials.remember(key, written, now)
		if err != nil {
			return revoked, err
		}
		revoked += count
	}
	return revoked, nil
}

// Revoked are the records of an authority's revoked certificates. They come from the cache,
// and from what was written here where that is newer.
func (c *Cluster) Revoked(ctx context.Context, record AuthorityRecord) ([]rotate.IssuedSerial, error) {
	var list corev1.SecretList
	if err := c.client.List(ctx, &list, inNamespace(c.namespace), ownedBy(record.Owner), client.MatchingLabels{intent.KeyLedger: ledgerSerials}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing the serials of %s: %w", record.Owner, err)
	}
	shards := map[types.NamespacedName]*corev1.Secret{}
	for i := range list.Items {
		shards[client.ObjectKeyFromObject(&list.Items[i])] = &list.Items[i]
	}
	for key, written := range c.serials.writtenOf(record.Name) {
		if cached := shards[key]; cached == nil || newer(written, cached) {
			shards[key] = written
		}
	}
	var revoked []rotate.IssuedSerial
	for _, secret := range shards {
		of, err := c.revokedIn(secret, record)
		if err != nil {
			return nil, err
		}
		revoked = append(revoked, of...)
	}
	return revoked, nil
}

// decodedShard is what a shard of one version says of revoked certificates.
type decodedShard struct {
	uid     types.UID
	version string
	revoked []rotate.IssuedSerial
}

// revokedIn reads a shard once for each version of it.
func (c *Cluster) revokedIn(secret *corev1.Secret, record AuthorityRecord) ([]rotate.IssuedSerial, error) {
	if last, ok := c.shards.Load(secret.Name); ok {
		if known, is := last.(decodedShard); is && known.uid == secret.UID && known.version == secret.ResourceVersion {
			return known.revoked, nil
		}
	}
	shard, err := c.parseShard(secret, record)
	if err != nil {
		return nil, err
	}
	revoked := shard.Revoked()
	c.shards.Store(secret.Name, decodedShard{uid: secret.UID, version: secret.ResourceVersion, revoked: revoked})
	return revoked, nil
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
