package gateway

import (
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/condition"
)

const (
	// repairInterval is the least time between two repairs of one Gateway that somebody keeps writing back: he is not outwritten, he
	// is told of. Each repair is pushed to every replica.
	repairInterval = time.Minute
	// quiet is for how long a Gateway has to be left alone until nobody is told any more.
	quiet = 2 * repairInterval
)

// repairs remember which Gateways were repaired lately. They are memory, not state: an agent that begins repairs once more than it
// would have. The zero value is ready to use, and safe for concurrent use.
type repairs struct {
	mu   sync.Mutex
	last map[types.NamespacedName]*repaired
}

// repaired is a Gateway that was repaired.
type repaired struct {
	// at is when it was repaired last, held when it was last left as it is.
	at, held time.Time
	// version is the one that was repaired.
	version string
	// again is whether it was written back since it was repaired first: whoever opts in is not at war.
	again bool
}

// current is what is remembered of a Gateway; nil if it was left alone for long.
func (r *repairs) current(key types.NamespacedName, now time.Time) *repaired {
	known := r.last[key]
	if known != nil && !now.Before(known.at.Add(quiet)) && !now.Before(known.held.Add(quiet)) {
		delete(r.last, key)
		return nil
	}
	return known
}

// may reports whether a Gateway may be repaired now. If not, it notes that it is left as it is.
func (r *repairs) may(key types.NamespacedName, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.current(key, now)
	if known == nil || !known.again || !now.Before(known.at.Add(repairInterval)) {
		return true
	}
	known.held = now
	return false
}

// behind reports whether the cache shows a Gateway still in the version in which it was repaired.
func (r *repairs) behind(gateway *unstructured.Unstructured) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.last[client.ObjectKeyFromObject(gateway)]
	return known != nil && known.version == gateway.GetResourceVersion()
}

// note notes that a Gateway was repaired, in a version.
func (r *repairs) note(key types.NamespacedName, version string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		r.last = map[types.NamespacedName]*repaired{}
	}
	if known := r.current(key, now); known != nil {
		known.at, known.version, known.again = now, version, true
		return
	}
	r.last[key] = &repaired{at: now, version: version}
}

// contest tells that somebody keeps writing a Gateway back, and when to look again; false if nobody does.
func (r *repairs) contest(key types.NamespacedName, now time.Time) (told metav1.Condition, next time.Time, fought bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.current(key, now)
	if known == nil || known.held.IsZero() || !now.Before(known.held.Add(quiet)) {
		return metav1.Condition{}, time.Time{}, false
	}
	next = known.held.Add(quiet)
	if due := known.at.Add(repairInterval); due.After(now) {
		next = due
	}
	return condition.True(v1alpha1.ConditionConflictingWriter, v1alpha1.ReasonForeignChange,
		"somebody keeps writing this Gateway back to what does not ask for client certificates as annotated: it is put right once a minute at most; stop that writer (the field managers of the Gateway name it)"), next, true
}

// forget drops what is remembered of a Gateway that is no more, or asks no more.
func (r *repairs) forget(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.last, key)
}
