package clientcertificate

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// firsts know the ClientCertificates whose Secret cannot be there yet, so that nobody
// needs to ask for it: those that were made after this agent began, at their first
// pass. If it is there all the same, creating it fails, and the next pass reads it.
type firsts struct {
	mu    sync.Mutex
	began time.Time
	taken map[types.NamespacedName]types.UID
}

// begin says from when on nobody else issued anything. Without it there are no firsts.
func (f *firsts) begin(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.began, f.taken = now, map[types.NamespacedName]types.UID{}
}

// take reports whether this is the first pass over a ClientCertificate.
func (f *firsts) take(c *v1alpha1.ClientCertificate) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := client.ObjectKeyFromObject(c)
	if f.taken == nil || f.taken[key] == c.UID {
		return false
	}
	f.taken[key] = c.UID
	return c.Status.Serial == "" && c.CreationTimestamp.After(f.began)
}

func (f *firsts) forget(key types.NamespacedName) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.taken, key)
}
