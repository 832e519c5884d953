package cluster

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/rotate"
)

// cachedShards are the shards of an authority's record as the cache shows them. They must not be changed.
func (c *Cluster) cachedShards(ctx context.Context, record AuthorityRecord) ([]corev1.Secret, error) {
	var list corev1.SecretList
	if err := c.client.List(ctx, &list, inNamespace(c.namespace), ownedBy(record.Owner), client.MatchingLabels{intent.KeyLedger: ledgerSerials}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing the serials of %s: %w", record.Owner, err)
	}
	return list.Items, nil
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

// parseShard reads a shard that has to be the authority's.
func (c *Cluster) parseShard(secret *corev1.Secret, record AuthorityRecord) (rotate.Serials, error) {
	key := client.ObjectKeyFromObject(secret)
	if owner, ours := OwnerOf(secret); !ours || !owner.Same(record.Owner) {
		return rotate.Serials{}, fmt.Errorf("reading Secret %s: %w", key, ErrLedgerForeign)
	}
	shard, err := rotate.ParseSerials(secret.Data[serialsKey])
	if err != nil {
		return rotate.Serials{}, fmt.Errorf("reading Secret %s: %w: %w", key, ErrShardUnreadable, err)
	}
	return shard, nil
}

// ErrShardUnreadable says that a part of the record of what was issued is there and cannot be read.
var ErrShardUnreadable = errors.New("what was issued cannot be read")

// unreadable reports whether an error is of one shard alone: the others are good.
func unreadable(err error) bool {
	return errors.Is(err, ErrShardUnreadable) || errors.Is(err, ErrLedgerForeign)
}

// shardKey is the n-th shard of an authority.
func shardKey(namespace string, record AuthorityRecord, n int) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: fmt.Sprintf("%s-serials-%03d", record.Name, n)}
}

// shardNumber is the number of a shard of an authority by its name; false for what is none.
func shardNumber(record AuthorityRecord, name string) (int, bool) {
	digits, is := strings.CutPrefix(name, record.Name+"-serials-")
	n, err := strconv.Atoi(digits)
	return n, is && err == nil && n >= 0 && n < maxShards
}

// countShards is how many shards an authority's record has, by the highest number that is known. They are filled one
// after the other, and none is ever deleted: one below that is not there was lost.
func (c *Cluster) countShards(ctx context.Context, record AuthorityRecord) (int, error) {
	shards, err := c.shardsOf(ctx, record)
	if err != nil {
		return 0, err
	}
	count := 0
	for key := range shards {
		if n, is := shardNumber(record, key.Name); is {
			count = max(count, n+1)
		}
	}
	return count, nil
}

// newer reports whether a Secret is of a later version than another.
func newer(a, b *corev1.Secret) bool {
	order, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	return err == nil && order > 0
}
