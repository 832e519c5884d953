package metrics

import (
	"context"
	"iter"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/intact"
	"sallyport.dev/sallyport/internal/proving"
	"sallyport.dev/sallyport/pkg/rotate"
)

// Store is what a cache holds of one kind (k8s.io/client-go/tools/cache). Nothing of it is
// changed or kept.
type Store interface {
	// List returns all objects, as pointers.
	List() []any
}

// Ledgers tells the generations of an authority.
type Ledgers interface {
	// CachedLedger is what is known of a ledger without asking anybody; the zero one
	// if nothing is. One that is there and cannot be read is an error.
	CachedLedger(ctx context.Context, authority *v1alpha1.CertificateAuthority) (rotate.Ledger, error)
}

// Sources are where a scrape reads.
type Sources struct {
	// Endpoints, Clients, Authorities and Policies are the caches of MutualTLSEndpoints,
	// ClientCertificates, CertificateAuthorities and MutualTLSPolicies.
	Endpoints, Clients, Authorities, Policies Store
	// Ledgers of the authorities.
	Ledgers Ledgers
	// Admission are the admission objects that are not as they were installed; nil if nobody says what was.
	Admission func() []intact.Problem
	// Proofs are what is known of all replicas; nil if nothing is tried.
	Proofs func() []proving.Result
}

// snapshot is all that one scrape tells of.
type snapshot struct {
	now                             time.Time
	endpoints, clients, authorities []any
	policies                        []any
	admission                       []intact.Problem
	ledgers                         []record
	proofs                          []proving.Result
	names                           map[types.NamespacedName]string
	present                         map[types.NamespacedName]struct{}
}

// record is an authority with its generations.
type record struct {
	authority *v1alpha1.CertificateAuthority
	ledger    rotate.Ledger
}

// take reads the sources once.
func (s Sources) take(ctx context.Context, now time.Time) *snapshot {
	taken := &snapshot{
		now: now, endpoints: s.Endpoints.List(), clients: s.Clients.List(), authorities: s.Authorities.List(), policies: s.Policies.List(),
		names: map[types.NamespacedName]string{}, present: map[types.NamespacedName]struct{}{},
	}
	for authority := range live[*v1alpha1.CertificateAuthority](taken.authorities) {
		// One that cannot be read is told of by the authority's own conditions.
		if ledger, err := s.Ledgers.CachedLedger(ctx, authority); err == nil {
			taken.ledgers = append(taken.ledgers, record{authority, ledger})
		}
	}
	for e := range live[*v1alpha1.MutualTLSEndpoint](taken.endpoints) {
		taken.present[types.NamespacedName{Namespace: e.Namespace, Name: e.Name}] = struct{}{}
	}
	if s.Admission != nil {
		taken.admission = s.Admission()
	}
	if s.Proofs != nil {
		taken.proofs = s.Proofs()
	}
	return taken
}

// name is <namespace>/<name>, made once in a scrape: thousands of callers have one
// authority.
func (s *snapshot) name(namespace, name string) string {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	joined, ok := s.names[key]
	if !ok {
		joined = key.String()
		s.names[key] = joined
	}
	return joined
}

// live are the objects that are not being deleted.
func live[T metav1.Object](objects []any) iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, object := range objects {
			if o, ok := object.(T); ok && o.GetDeletionTimestamp() == nil && !yield(o) {
				return
			}
		}
	}
}
