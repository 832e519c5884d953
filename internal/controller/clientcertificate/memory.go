package clientcertificate

import (
	"hash/maphash"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// memory spares requests: it knows which Secrets cannot be there yet, and in which version
// the others were last read or written. It is no state. An agent that begins has none, and
// what it says is held to what is stored by the write itself: to create what is there, and
// to update what has changed, fails.
type memory struct {
	mu      sync.Mutex
	began   time.Time
	seed    maphash.Seed
	callers map[types.NamespacedName]remembered
	made    map[types.NamespacedName]made
}

// made is what was issued, and written down, and could not be handed out yet: a pair, or the chain for a request.
type made struct {
	uid   types.UID
	pair  pki.Pair
	chain pki.Chain
}

// remembered is what is known of one ClientCertificate. It is small, because there are
// many: the strings are those of the object in the cache.
type remembered struct {
	uid types.UID
	// secret is the name of the Secret, version its resource version, 0 if that is not
	// known, and serial a hash of the serial number of the certificate in it.
	secret          string
	version, serial uint64
}

// begin says from when on nobody else issued anything. Before, nothing is first.
func (m *memory) begin(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.began, m.seed, m.callers = now, maphash.MakeSeed(), map[types.NamespacedName]remembered{}
	m.made = nil
}

// first reports whether this is the first pass over a ClientCertificate that was made
// after this agent began: its Secret cannot be there yet. If it is all the same, creating
// it fails, and the next pass reads it.
func (m *memory) first(c *v1alpha1.ClientCertificate) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := client.ObjectKeyFromObject(c)
	if m.callers == nil || m.callers[key].uid == c.UID {
		return false
	}
	m.callers[key] = remembered{uid: c.UID}
	return c.Status.Serial == "" && c.CreationTimestamp.After(m.began)
}

// lookAt is when the Secret of a ClientCertificate that was issued before this agent began
// is looked at for the first time; zero if that was done. The looks are spread over
// healEvery: an agent that takes over does not ask for thousands of Secrets at once.
func (m *memory) lookAt(c *v1alpha1.ClientCertificate) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.callers == nil || m.callers[client.ObjectKeyFromObject(c)].uid == c.UID {
		return time.Time{}
	}
	return m.began.Add(time.Duration(maphash.String(m.seed, string(c.UID)) % uint64(healEvery)))
}

// missed reports whether what an authority's callers are to trust may have changed since this agent began, so that no look
// at a Secret can be put off. That a generation was thrown out leaves no trace in the ledger: as long as the spec tells of one, all looks
// are made at once, which costs one read of each Secret when an agent begins.
func (m *memory) missed(is issuer.Issuer) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	second := m.began.Truncate(time.Second) // as precise as a ledger is
	return len(is.Object.Spec.Rotation.Compromised) > 0 || slices.ContainsFunc(is.Ledger.Generations(), func(g rotate.Generation) bool {
		return !g.Since.Before(second) || !g.CreatedAt.Before(second)
	})
}

// note takes the Secret of a ClientCertificate as it was read or written; nil if that is
// not known. One that holds anything that a write has to keep is not known: it has to be
// read.
func (m *memory) note(c *v1alpha1.ClientCertificate, secret *corev1.Secret, held pki.Serial) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.callers == nil {
		return
	}
	now := remembered{uid: c.UID}
	if secret != nil && len(secret.Finalizers) == 0 && len(secret.OwnerReferences) == 0 && secret.Immutable == nil {
		if version, err := strconv.ParseUint(secret.ResourceVersion, 10, 64); err == nil {
			now.secret, now.version, now.serial = c.Spec.SecretName, version, maphash.String(m.seed, held.String())
		}
	}
	m.callers[client.ObjectKeyFromObject(c)] = now
}

// last is the Secret of a ClientCertificate as it was last seen, without its data; nil if
// that is not known, or if it held another certificate than the one that the status tells
// of.
func (m *memory) last(c *v1alpha1.ClientCertificate, owner intent.Owner) *corev1.Secret {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := m.callers[client.ObjectKeyFromObject(c)]
	if seen.version == 0 || seen.uid != c.UID || seen.secret != c.Spec.SecretName || seen.serial != maphash.String(m.seed, c.Status.Serial) {
		return nil
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: seen.secret, ResourceVersion: strconv.FormatUint(seen.version, 10)},
		Type:       corev1.SecretTypeTLS,
	}
	cluster.Mark(secret, owner)
	return secret
}

// keep takes what was issued until it is handed out, so that another pass does not issue again.
func (m *memory) keep(c *v1alpha1.ClientCertificate, what made) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.made == nil {
		m.made = map[types.NamespacedName]made{}
	}
	what.uid = c.UID
	m.made[client.ObjectKeyFromObject(c)] = what
}

// unwritten is what was issued to a ClientCertificate and not handed out; zero if there is none.
func (m *memory) unwritten(c *v1alpha1.ClientCertificate) made {
	m.mu.Lock()
	defer m.mu.Unlock()
	if what := m.made[client.ObjectKeyFromObject(c)]; what.uid == c.UID {
		return what
	}
	return made{}
}

// handedOut drops it.
func (m *memory) handedOut(c *v1alpha1.ClientCertificate) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.made, client.ObjectKeyFromObject(c))
}

func (m *memory) forget(key types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.callers, key)
	delete(m.made, key)
}
