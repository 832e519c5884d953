package admission

import (
	"context"
	"sync"
)

// Namespaces answers what a Namespace asks of the objects written in it.
type Namespaces interface {
	// DefaultMode is the raw value of the Namespace's default-mode label, "" if it
	// has none. known is false for a Namespace that is not in the index, even after
	// waiting for it as long as the context and the implementation allow.
	DefaultMode(ctx context.Context, namespace string) (mode string, known bool)
}

// maxWaiting bounds how many reviews wait for a Namespace at a time: whoever can
// reach the port may ask about Namespaces that do not exist, and must not fill all
// slots with that.
const maxWaiting = 8

// NamespaceIndex keeps the default modes of all Namespaces. It is safe for
// concurrent use.
//
// A Namespace and the first Gateway in it are often applied together, and the API
// server may send the Gateway's review before our watch has heard of the Namespace.
// Taken as "no label", that would leave the Gateway unmutated, so such a review
// waits a moment.
type NamespaceIndex struct {
	waiting chan struct{}

	mu    sync.RWMutex
	modes map[string]string
	// changed is closed, and replaced, whenever a Namespace is added.
	changed chan struct{}
}

// NewNamespaceIndex returns an index that knows no Namespace.
func NewNamespaceIndex() *NamespaceIndex {
	return &NamespaceIndex{
		waiting: make(chan struct{}, maxWaiting),
		modes:   map[string]string{},
		changed: make(chan struct{}),
	}
}

// Set stores a Namespace's default mode; "" for a Namespace without the label.
func (x *NamespaceIndex) Set(namespace, mode string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	_, known := x.modes[namespace]
	x.modes[namespace] = mode
	if !known {
		close(x.changed)
		x.changed = make(chan struct{})
	}
}

// Delete forgets a Namespace.
func (x *NamespaceIndex) Delete(namespace string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.modes, namespace)
}

// DefaultMode implements Namespaces. It waits for an unknown Namespace until the
// context ends, unless too many others wait already.
func (x *NamespaceIndex) DefaultMode(ctx context.Context, namespace string) (mode string, known bool) {
	mode, known, _ = x.lookup(namespace)
	if known {
		return mode, true
	}
	select {
	case x.waiting <- struct{}{}:
		defer func() { <-x.waiting }()
	default:
		return "", false
	}
	for {
		mode, known, changed := x.lookup(namespace)
		if known {
			return mode, true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", false
		}
	}
}

func (x *NamespaceIndex) lookup(namespace string) (mode string, known bool, changed <-chan struct{}) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	mode, known = x.modes[namespace]
	return mode, known, x.changed
}
