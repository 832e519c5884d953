package repairs

import (
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/condition"
)

const (
	// Interval is the least time between two repairs of one object that somebody keeps writing back: he is not outwritten, he
	// is told of. Each repair of a Gateway is pushed to every replica.
	Interval = time.Minute
	// quiet is for how long an object has to be left alone until nobody is told any more.
	quiet = 2 * Interval
)

// Repairs are those of objects of one kind. They are memory, not state: an agent that begins repairs once more than it
// would have. The zero value is ready to use, and safe for concurrent use.
type Repairs struct {
	mu   sync.Mutex
	last map[types.NamespacedName]*repaired
}

// repaired is an object that was repaired.
type repaired struct {
	// at is when it was repaired last, held when it was last left as it is.
	at, held time.Time
	// version is the one that was repaired.
	version string
	// wanted is what it was made.
	wanted string
	// again is whether it was written back since it was repaired first: whoever opts in is not at war.
	again bool
}

// current is what is remembered of an object; nil if it was left alone for long.
func (r *Repairs) current(key types.NamespacedName, now time.Time) *repaired {
	known := r.last[key]
	if known != nil && !now.Before(known.at.Add(quiet)) && !now.Before(known.held.Add(quiet)) {
		delete(r.last, key)
		return nil
	}
	return known
}

// May reports whether an object may be made as wanted now. If not, it notes that it is left as it is. Wanted stands for what it
// is to be: what was not written yet is a wish, not a repair, and waits for nothing.
func (r *Repairs) May(key types.NamespacedName, wanted string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.current(key, now)
	if known == nil || !known.again || known.wanted != wanted || !now.Before(known.at.Add(Interval)) {
		return true
	}
	known.held = now
	return false
}

// Lag is for how long a cache may show what was there before a write. What is still there after that was not changed by it: another
// webhook undid it before it was stored.
const Lag = 5 * time.Second

// Behind reports whether the cache may still show an object as it was before it was repaired.
func (r *Repairs) Behind(object client.Object, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.last[client.ObjectKeyFromObject(object)]
	return known != nil && known.version == object.GetResourceVersion() && now.Before(known.at.Add(Lag))
}

// Note notes that an object was made as wanted, and in which version it was found.
func (r *Repairs) Note(key types.NamespacedName, version, wanted string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		r.last = map[types.NamespacedName]*repaired{}
	}
	if known := r.current(key, now); known != nil && known.wanted == wanted {
		known.at, known.version, known.again = now, version, true
		return
	}
	r.last[key] = &repaired{at: now, version: version, wanted: wanted}
}

// Contest tells that somebody keeps writing an object back, and when to look again; false if nobody does. What names the object for
// people.
func (r *Repairs) Contest(key types.NamespacedName, what string, now time.Time) (told metav1.Condition, next time.Time, fought bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.current(key, now)
	if known == nil || known.held.IsZero() || !now.Before(known.held.Add(quiet)) {
		return metav1.Condition{}, time.Time{}, false
	}
	next = known.held.Add(quiet)
	if due := known.at.Add(Interval); due.After(now) {
		next = due
	}
	return condition.True(v1alpha1.ConditionConflictingWriter, v1alpha1.ReasonForeignChange, fmt.Sprintf(
		"somebody keeps writing %s back to other than what is asked for: it is put right once a minute at most; stop that writer (the field managers of the object name it)", what)), next, true
}

// Forget drops what is remembered of an object that is no more, or asks no more.
func (r *Repairs) Forget(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.last, key)
}
