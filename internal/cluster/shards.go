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

// shardsOf are the shards of an authority's record by their number, the newest version of each that is known; nil
// in the place of one that was lost. They are filled one after the other, and none is ever deleted: each below one that
// there was is there, or was lost. One that the cache does not show is asked for: its label may have been stripped.
func (c *Cluster) shardsOf(ctx context.Context, record AuthorityRecord) ([]*corev1.Secret, error) {
	cached, err := c.cachedShards(ctx, record)
	if err != nil {
		return nil, err
	}
	count, counted := c.serials.counted(record)
	shards := make([]*corev1.Secret, max(count, record.shards))
	for i := range cached {
		shards = withShard(shards, record, &cached[i])
	}
	for _, written := range c.serials.writtenOf(record.Name) {
		shards = withShard(shards, record, written)
	}
	for n := 0; n < len(shards) || !counted && n < maxShards; n++ {
		if n < len(shards) && shards[n] != nil {
			continue
		}
		found, err := c.unseenShard(ctx, shardKey(c.namespace, record, n), record)
		if err != nil {
			return nil, err
		}
		if found == nil && n >= len(shards) {
			break // all that are there were counted
		}
		if found != nil {
			shards = withShard(shards, record, found)
		}
	}
	c.serials.count(record, len(shards))
	return shards, nil
}

// withShard puts a Secret in its place, if it is a shard of the record and newer than what is there.
func withShard(shards []*corev1.Secret, record AuthorityRecord, secret *corev1.Secret) []*corev1.Secret {
	n, is := shardNumber(record, secret.Name)
	if !is {
		return shards
	}
	if more := n + 1 - len(shards); more > 0 {
		shards = append(shards, make([]*corev1.Secret, more)...)
	}
	if shards[n] == nil || newer(secret, shards[n]) {
		shards[n] = secret
	}
	return shards
}

// unseenShard is a shard that the cache does not show; nil if there is none. One that lost its label gets it back.
func (c *Cluster) unseenShard(ctx context.Context, key types.NamespacedName, record AuthorityRecord) (*corev1.Secret, error) {
	secret, err := c.LiveSecret(ctx, key)
	if err != nil || secret == nil {
		return nil, err
	}
	if secret.Labels[intent.KeyManaged] == "true" && secret.Labels[intent.KeyLedger] == ledgerSerials {
		return secret, nil // the cache is behind
	}
	shard, err := c.parseShard(secret, record)
	if Unreadable(err) || !updatable(secret, corev1.SecretTypeOpaque) {
		return secret, nil // whoever reads it tells
	}
	if err != nil {
		return nil, err
	}
	return c.writeShard(ctx, key, record, shard, secret)
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

// ErrShardLost says that a part of the record of what was issued is there no more.
var ErrShardLost = errors.New("it is gone, and with it a part of what was issued")

// lossTaken is how a value of AcceptState begins that is about shards.
const lossTaken = "lost-"

// acceptsLoss is the value of AcceptState with which a person takes shards as lost.
func (r AuthorityRecord) acceptsLoss(lost []int) string {
	return lossTaken + r.once("%v", lost)
}

// miss tells of the shards that are gone. If a person took them as lost, they begin anew and are empty: what stood in them that was
// not revoked can be revoked by its serial number alone.
func (c *Cluster) miss(ctx context.Context, record AuthorityRecord, lost []int, issued *IssuedToCallers) error {
	if len(lost) == 0 {
		// It may have been taken by an agent that died before it noted that: a value is good once.
		if strings.HasPrefix(record.taken, lossTaken) && record.taken != record.used {
			issued.Taken = record.taken
		}
		return nil
	}
	accepts := record.acceptsLoss(lost)
	if record.taken != accepts {
		issued.AcceptLoss = accepts
		for _, n := range lost {
			issued.Incomplete = append(issued.Incomplete, fmt.Errorf("reading Secret %s: %w", shardKey(c.namespace, record, n), ErrShardLost))
		}
		return nil
	}
	for _, n := range lost {
		if _, err := c.writeShard(ctx, shardKey(c.namespace, record, n), record, rotate.Serials{}, nil); err != nil {
			return err
		}
	}
	issued.Taken = accepts
	return nil
}

// Unreadable reports whether an error is of one shard alone: the others are good.
func Unreadable(err error) bool {
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

// countShards is how many shards an authority's record has or had, by the highest number that is known.
func (c *Cluster) countShards(ctx context.Context, record AuthorityRecord) (int, error) {
	if count, counted := c.serials.counted(record); counted {
		return max(count, record.shards), nil
	}
	shards, err := c.shardsOf(ctx, record)
	return len(shards), err
}

// TakeShards has those that are there count as all that there were: a person takes the record as it is.
func (c *Cluster) TakeShards(record AuthorityRecord) AuthorityRecord {
	c.serials.recount(record)
	record.shards = 0
	return record
}

// newer reports whether a Secret is of a later version than another.
func newer(a, b *corev1.Secret) bool {
	order, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	return err == nil && order > 0
}
