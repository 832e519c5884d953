package cluster

import (
	"bytes"
	"context"
	"time"
)

// UnexpiredOf is how many certificates of a caller the record of an authority has that have not ended, revoked or not.
func (c *Cluster) UnexpiredOf(ctx context.Context, record AuthorityRecord, caller string, now time.Time) (int, error) {
	shards, err := c.shardsOf(ctx, record)
	if err != nil {
		return 0, err
	}
	count, name := 0, []byte(caller)
	for _, secret := range shards {
		if secret == nil || !bytes.Contains(secret.Data[serialsKey], name) { // most callers are in few shards, and a shard is dear to read
			continue
		}
		shard, err := c.parseShard(secret, record)
		if err != nil {
			return 0, err
		}
		for _, issued := range shard.Of(caller) {
			if issued.NotAfter.After(now) {
				count++
			}
		}
	}
	return count, nil
}
