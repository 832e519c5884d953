package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// CallerID is under whom a certificate is recorded: a namespace that is deleted and made
// again is another one.
func CallerID(namespace types.UID, name string) string { return string(namespace) + "/" + name }

// ToldCertificate is what a caller was told last of a certificate of his; zero for one who was told of none.
type ToldCertificate struct {
	// Serial number, in hexadecimal.
	Serial string
	// NotAfter is its end.
	NotAfter time.Time
	// AuthorityKeyID is the subject key identifier of the generation that signed it.
	AuthorityKeyID string
}

// RevokeCaller writes down that every certificate of a caller that has not ended is
// revoked, and returns how many were not before. It survives whatever becomes of the
// caller's own object. Newest is the last one that he was told to have: a cache that does not show it is
// behind, and the API server is asked; if it is in no shard, because one was lost or restored, it is written down
// as revoked by what was told of it. Those that come while one is written go into the next writes together.
func (c *Cluster) RevokeCaller(ctx context.Context, record AuthorityRecord, caller string, newest ToldCertificate, r rotate.Revocation, now time.Time) (int, error) {
	return c.enqueue(ctx, record, queuedSerial{revoking: &revocation{caller: caller, newest: newest, Revocation: r}}, now)
}

// revocation is one caller who is to be revoked.
type revocation struct {
	rotate.Revocation
	caller string
	newest ToldCertificate
	// found is whose the newest is by the record; empty if it is in no shard.
	found string
	// revoked is how many certificates were.
	revoked int
	// err is why those of this caller are not; the others are all the same.
	err error
}

// look notes whose the newest certificate is by a shard.
func (r *revocation) look(shard rotate.Serials) {
	for _, issued := range shard.Issued() {
		if issued.Serial.String() == r.newest.Serial {
			r.found = issued.Caller
		}
	}
}

// revoke writes each shard once for all callers. One that cannot be read keeps no other from being written: what
// is in it is revoked when it can be, so that the error stays until then.
func (c *Cluster) revoke(ctx context.Context, record AuthorityRecord, callers []*revocation, now time.Time) error {
	shown, err := c.shows(ctx, record, callers)
	if err != nil {
		return err
	}
	read := c.shard
	if !shown {
		read = c.LiveSecret
	}
	count, err := c.countShards(ctx, record)
	if err != nil {
		return err
	}
	var left error
	for n := range maxShards {
		key := shardKey(c.namespace, record, n)
		secret, err := read(ctx, key)
		if err != nil {
			return err
		}
		if secret == nil && n < count {
			continue // it was lost; what comes after it was not
		}
		if secret == nil {
			break
		}
		err = c.revokeIn(ctx, key, record, secret, callers, now)
		if Unreadable(err) {
			left = cmp.Or(left, err)
			continue
		}
		if err != nil {
			return err
		}
	}
	if err := c.revokeUnrecorded(ctx, record, callers, now); err != nil {
		return err
	}
	return left
}

// revokeIn writes one shard.
func (c *Cluster) revokeIn(ctx context.Context, key types.NamespacedName, record AuthorityRecord, secret *corev1.Secret, callers []*revocation, now time.Time) error {
	shard, err := c.parseShard(secret, record)
	if err != nil {
		return err
	}
	counts, revoked := make([]int, len(callers)), 0
	for i, caller := range callers {
		caller.look(shard)
		shard, counts[i] = shard.Revoke(caller.caller, caller.Revocation, now)
		revoked += counts[i]
	}
	if revoked == 0 {
		return nil
	}
	written, err := c.writeShard(ctx, key, record, shard, secret)
	c.serials.remember(key, written, now)
	if err != nil {
		return err
	}
	for i := range callers {
		callers[i].revoked += counts[i]
	}
	return nil
}

// revokeUnrecorded writes down the newest certificates that are in no shard.
func (c *Cluster) revokeUnrecorded(ctx context.Context, record AuthorityRecord, callers []*revocation, now time.Time) error {
	var lost []*revocation
	var issued []rotate.IssuedSerial
	for _, r := range callers {
		if r.found != "" && r.found != r.caller {
			r.err = fmt.Errorf("revoking the certificates of %s: its newest, %s, is recorded as that of %s", r.caller, r.newest.Serial, r.found)
			continue
		}
		generation := record.generation(r.newest.AuthorityKeyID)
		if r.found != "" || r.newest.Serial == "" || r.newest.NotAfter.Add(pki.MaxBackdate).Before(now) || generation == "" {
			continue // it is revoked, or nobody accepts it any more
		}
		serial, err := pki.ParseSerial(r.newest.Serial)
		if err != nil {
			r.err = fmt.Errorf("revoking the certificates of %s: its newest: %w", r.caller, err)
			continue
		}
		lost = append(lost, r)
		issued = append(issued, rotate.IssuedSerial{Serial: serial, NotAfter: r.newest.NotAfter, Generation: generation, Caller: r.caller,
			Revoked: rotate.Revocation{At: r.At.Truncate(time.Second), Reason: r.Reason}})
	}
	if len(issued) == 0 {
		return nil
	}
	if err := c.recordSerials(ctx, record, issued, Unreadable, now); err != nil {
		return err
	}
	for _, r := range lost {
		r.revoked++
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
		missing[r.caller] = r.newest.Serial
	}
	for i := range shards {
		shard, err := c.parseShard(&shards[i], record)
		if Unreadable(err) {
			continue
		}
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

// Issued sums up what an authority issued to callers. It comes from the cache, and from what was
// written here where that is newer.
func (c *Cluster) Issued(ctx context.Context, record AuthorityRecord) (IssuedToCallers, error) {
	shards, err := c.shardsOf(ctx, record)
	if err != nil {
		return IssuedToCallers{}, err
	}
	issued := IssuedToCallers{Shards: len(shards), End: map[string]time.Time{}}
	var lost []int
	for n, secret := range shards {
		if secret == nil {
			lost = append(lost, n)
			continue
		}
		of, err := c.issuedIn(secret, record)
		if Unreadable(err) {
			issued.Incomplete = append(issued.Incomplete, err)
			continue
		}
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
	return issued, c.miss(ctx, record, lost, &issued)
}

// IssuedToCallers is what the record of an authority says in sum.
type IssuedToCallers struct {
	// Revoked are the records of what is revoked.
	Revoked []rotate.IssuedSerial
	// End is when the last certificate ends that is not revoked, by the id of the generation
	// that signed it.
	End map[string]time.Time
	// Shards is in how many parts the record is, also those that are not in the sum.
	Shards int
	// Incomplete is what of the record is not in the sum, and why.
	Incomplete []error
	// AcceptLoss is the value of AcceptState with which a person takes the parts that are gone as lost; empty if none is gone.
	AcceptLoss string
	// Taken is the one with which he did; empty if he did not.
	Taken string
}

// CallersOf are the callers with certificates of one of the generations that have not ended and
// were not revoked, by what of the record can be read.
func (c *Cluster) CallersOf(ctx context.Context, record AuthorityRecord, now time.Time, generations ...string) (map[string]bool, error) {
	shards, err := c.shardsOf(ctx, record)
	if err != nil {
		return nil, err
	}
	callers := map[string]bool{}
	for _, secret := range shards {
		if secret == nil {
			continue
		}
		shard, err := c.parseShard(secret, record)
		if Unreadable(err) {
			continue
		}
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
