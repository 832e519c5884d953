package apirule

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/install"
	"sallyport.dev/sallyport/internal/programming"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/mutate"
)

// Headers know behind which Gateways a workload is told who called. They are safe for
// concurrent use.
type Headers struct {
	client  client.Client
	install install.Settings
	// synced reports whether all APIRules are known; nil as long as nothing is known of them.
	synced atomic.Pointer[func() bool]

	mu   sync.Mutex
	told map[types.NamespacedName]bool
}

// NewHeaders returns Headers that know nothing yet.
func NewHeaders(c client.Client, s install.Settings) *Headers {
	return &Headers{client: c, install: s, told: map[types.NamespacedName]bool{}}
}

// None says that the cluster has no APIRules.
func (h *Headers) None() { h.knownFrom(nil) }

// knownFrom says where to find out whether all APIRules are known; nil if there are none.
func (h *Headers) knownFrom(synced func() bool) { h.synced.Store(&synced) }

// Tell implements programming.Headers.
func (h *Headers) Tell(ctx context.Context, gateway types.NamespacedName) (does, known bool, err error) {
	does, known, err = h.find(ctx, gateway)
	if err == nil && known {
		h.mu.Lock()
		h.told[gateway] = does
		h.mu.Unlock()
	}
	return does, known, err
}

// Forget implements programming.Headers.
func (h *Headers) Forget(gateway types.NamespacedName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.told, gateway)
}

func (h *Headers) find(ctx context.Context, gateway types.NamespacedName) (does, known bool, err error) {
	synced := h.synced.Load()
	switch {
	case synced == nil:
		return false, false, nil
	case *synced == nil:
		return false, true, nil
	case !(*synced)():
		return false, false, nil
	}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(GVK.GroupVersion().WithKind("APIRuleList"))
	if err := h.client.List(ctx, list, client.MatchingFields{byGateway: gateway.String()}); err != nil {
		return false, false, fmt.Errorf("listing the APIRules of Gateway %s: %w", gateway, err)
	}
	for i := range list.Items {
		in, asked := intent.Parse(programming.Described(intent.KindAPIRule, &list.Items[i]), h.install.Platform()).Intent()
		if asked && len(in.ClientHeaders()) > 0 || mutate.TellsCaller(list.Items[i].Object) {
			return true, true, nil
		}
	}
	return false, true, nil
}

// differ reports whether what was told of a Gateway is not so any more.
func (h *Headers) differ(ctx context.Context, gateway types.NamespacedName) (bool, error) {
	h.mu.Lock()
	told, asked := h.told[gateway]
	h.mu.Unlock()
	if !asked {
		return false, nil
	}
	does, known, err := h.find(ctx, gateway)
	return known && does != told, err
}
