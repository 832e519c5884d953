package cluster

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// repairInterval is the least time between two repairs of one Secret: whoever fights
// for it is not outwritten, he is told of.
const repairInterval = time.Minute

// quiet is for how long a Secret has to be left alone until nobody is told any more.
const quiet = 2 * repairInterval

// contests remember which version of each Secret is ours, and which Secrets somebody
// else keeps changing. It is memory, not state: an agent that begins repairs once more
// than it would have.
type contests struct {
	mu sync.Mutex
	// known is the newest version of each Secret that was written here or found as wanted.
	known map[types.NamespacedName]uint64
	// contested are the Secrets that were repaired.
	contested map[types.NamespacedName]*contest
}

// contest is one Secret that somebody else changed.
type contest struct {
	// repaired is when it was last put right, held when it last was left as it is.
	repaired, held time.Time
	// by names the other writer; empty if it cannot be told.
	by string
}

// revision of a Secret as a number that rises with every change; 0 for none. etcd's
// revisions are numbers (kubernetes.io, KEP-5504).
func revision(secret *corev1.Secret) uint64 {
	if secret == nil {
		return 0
	}
	number, err := strconv.ParseUint(secret.ResourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return number
}

// know takes a version of a Secret for ours.
func (c *contests) know(secret *corev1.Secret) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known, c.contested = map[types.NamespacedName]uint64{}, map[types.NamespacedName]*contest{}
	}
	key := client.ObjectKeyFromObject(secret)
	c.known[key] = max(c.known[key], revision(secret))
}

// forget drops what is known of a Secret that was deleted here.
func (c *contests) forget(key types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, key)
	delete(c.contested, key)
}

// changed reports whether somebody else changed or deleted a Secret since it was last
// known, by what the cache shows.
func (c *contests) changed(key types.NamespacedName, stored *corev1.Secret) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.known[key]
	return ok && (stored == nil || revision(stored) > known)
}

// repair notes that a Secret was put right.
func (c *contests) repair(key types.NamespacedName, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.contested[key] == nil {
		c.contested[key] = &contest{}
	}
	c.contested[key].repaired = now
}

// until is when a Secret may be repaired; not after now if at once.
func (c *contests) until(key types.NamespacedName, now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if contest := c.contested[key]; contest != nil {
		return contest.repaired.Add(repairInterval)
	}
	return now
}

// hold notes that a Secret was left as it is, and who changed it.
func (c *contests) hold(key types.NamespacedName, by string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	contest := c.contested[key]
	contest.held, contest.by = now, by
}

// Contest is a Secret of ours that somebody else keeps changing.
type Contest struct {
	// Secret is which.
	Secret types.NamespacedName
	// By is the field manager of the other writer; empty if it cannot be told.
	By string
	// Next is when to look again: the next repair is due, or all was quiet.
	Next time.Time
}

// Contest tells of the first of the Secrets that is fought for.
func (c *Cluster) Contest(s EdgeSecrets, now time.Time) (Contest, bool) {
	c.contests.mu.Lock()
	defer c.contests.mu.Unlock()
	for _, key := range []types.NamespacedName{s.CA, s.Server, s.Adopted} {
		contest := c.contests.contested[key]
		if contest == nil || contest.held.IsZero() || !now.Before(contest.held.Add(quiet)) {
			continue
		}
		next := contest.held.Add(quiet)
		if due := contest.repaired.Add(repairInterval); due.After(now) {
			next = due
		}
		return Contest{Secret: key, By: contest.by, Next: next}, true
	}
	return Contest{}, false
}

// HeldBack reports whether the server's Secret was changed by somebody else so soon
// after it was repaired that it stays as it is: to issue another certificate for it
// would be in vain. A cache that is behind is a conflict.
func (c *Cluster) HeldBack(ctx context.Context, s EdgeSecrets, stored StoredEdge, now time.Time) (bool, error) {
	return c.heldBack(ctx, s.Server, stored.server, now)
}

func (c *Cluster) heldBack(ctx context.Context, key types.NamespacedName, stored *corev1.Secret, now time.Time) (bool, error) {
	if !c.contests.changed(key, stored) || !c.contests.until(key, now).After(now) {
		return false, nil
	}
	live, err := c.LiveSecret(ctx, key)
	if err != nil {
		return false, err
	}
	if live != nil && !c.contests.changed(key, live) {
		return false, apierrors.NewConflict(corev1.Resource("secrets"), key.Name, errors.New("the cache has not seen its repair"))
	}
	c.contests.hold(key, otherManager(live), now)
	return true, nil
}

// otherManager is who last wrote a Secret beside us.
func otherManager(secret *corev1.Secret) string {
	if secret == nil {
		return ""
	}
	var name string
	var last time.Time
	for _, field := range secret.ManagedFields {
		if field.Manager != FieldOwner && field.Time != nil && !field.Time.Time.Before(last) {
			name, last = field.Manager, field.Time.Time
		}
	}
	return name
}

// writeContested writes a Secret that others may fight for: what they changed is put
// right once, and then once a minute at most.
func (c *Cluster) writeContested(ctx context.Context, wanted WantedSecret, stored *corev1.Secret, now time.Time) (Outcome, error) {
	changed := c.contests.changed(wanted.Key, stored)
	if stored == nil || !wanted.equals(stored) {
		if held, err := c.heldBack(ctx, wanted.Key, stored, now); err != nil || held {
			return Held, err
		}
	}
	outcome, object, err := c.WriteSecret(ctx, wanted, stored)
	if err != nil || outcome == Foreign {
		return outcome, err
	}
	c.contests.know(object)
	if changed && outcome != Unchanged {
		c.contests.repair(wanted.Key, now)
	}
	return outcome, nil
}
