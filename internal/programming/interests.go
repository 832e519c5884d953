package programming

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"sallyport.dev/sallyport/pkg/intent"
)

// KindAuthority is the kind in the mark of a ledger.
const KindAuthority = "CertificateAuthority"

// WaitingDelay is when to look again at the latest after a pass that could not be
// made yet. The watch on what it waits for is faster.
const WaitingDelay = 200 * time.Millisecond

// Described is what of a stored object carries its wishes.
func Described(kind intent.Kind, object *unstructured.Unstructured) intent.Object {
	return intent.Object{
		Kind: kind, APIVersion: object.GetAPIVersion(), Namespace: object.GetNamespace(), Name: object.GetName(),
		Annotations: object.GetAnnotations(), Labels: object.GetLabels(),
	}
}

// Interests remember which objects have to be looked at again when an authority
// changes. They hold nothing that a restart loses: the first pass over each object
// adds it again. They are safe for concurrent use.
type Interests struct {
	mu          sync.Mutex
	byAuthority map[types.NamespacedName]map[reconcile.Request]struct{}
	byRequest   map[reconcile.Request][]types.NamespacedName
}

// NewInterests returns empty Interests.
func NewInterests() *Interests {
	return &Interests{byAuthority: map[types.NamespacedName]map[reconcile.Request]struct{}{}, byRequest: map[reconcile.Request][]types.NamespacedName{}}
}

// Set remembers that an object uses these authorities, and no other any more.
func (i *Interests) Set(authorities []types.NamespacedName, request reconcile.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if slices.Equal(i.byRequest[request], authorities) {
		return
	}
	i.forget(request)
	for _, authority := range authorities {
		if i.byAuthority[authority] == nil {
			i.byAuthority[authority] = map[reconcile.Request]struct{}{}
		}
		i.byAuthority[authority][request] = struct{}{}
	}
	i.byRequest[request] = slices.Clone(authorities)
}

// Forget drops an object.
func (i *Interests) Forget(request reconcile.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.forget(request)
}

func (i *Interests) forget(request reconcile.Request) {
	for _, authority := range i.byRequest[request] {
		delete(i.byAuthority[authority], request)
		if len(i.byAuthority[authority]) == 0 {
			delete(i.byAuthority, authority)
		}
	}
	delete(i.byRequest, request)
}

// Of are the objects that use an authority.
func (i *Interests) Of(authority types.NamespacedName) []reconcile.Request {
	i.mu.Lock()
	defer i.mu.Unlock()
	requests := make([]reconcile.Request, 0, len(i.byAuthority[authority]))
	for request := range i.byAuthority[authority] {
		requests = append(requests, request)
	}
	return requests
}
