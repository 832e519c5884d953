package programming

import (
	"context"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"sallyport.dev/sallyport/internal/ingress"
)

// Changes tell reconcilers which Gateways to look at again because something else
// changed: another Gateway that shares a host, or the pods and Services of an
// ingress. Noting a change never waits for a reconciler.
type Changes struct {
	edge *ingress.Index

	mu          sync.Mutex
	pending     map[types.NamespacedName]struct{}
	wake        chan struct{}
	subscribers []chan event.GenericEvent
	moved       chan event.GenericEvent
}

// NewChanges returns Changes of what an index knows.
func NewChanges(edge *ingress.Index) *Changes {
	return &Changes{edge: edge, pending: map[types.NamespacedName]struct{}{}, wake: make(chan struct{}, 1), moved: make(chan event.GenericEvent, 1)}
}

// Note takes a change from the index.
func (c *Changes) Note(change ingress.Change) {
	touched := change.Sharing
	if change.Gateway.Name == "" {
		touched = c.edge.Gateways()
	}
	c.touch(touched...)
	select {
	case c.moved <- event.GenericEvent{Object: &metav1.PartialObjectMetadata{}}:
	default: // it is known already
	}
}

// Moved returns a channel on which it comes that Gateways may land elsewhere, or share other hosts; not what was found out of
// them. It need not be read.
func (c *Changes) Moved() <-chan event.GenericEvent { return c.moved }

// Touch has one Gateway looked at again.
func (c *Changes) Touch(gateway types.NamespacedName) { c.touch(gateway) }

func (c *Changes) touch(touched ...types.NamespacedName) {
	if len(touched) == 0 {
		return
	}
	c.mu.Lock()
	for _, gateway := range touched {
		c.pending[gateway] = struct{}{}
	}
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default: // it is awake already
	}
}

// Subscribe returns a channel on which every change comes as an object with the
// Gateway's name. It has to be read until the context of Start ends.
func (c *Changes) Subscribe() <-chan event.GenericEvent {
	c.mu.Lock()
	defer c.mu.Unlock()
	subscriber := make(chan event.GenericEvent)
	c.subscribers = append(c.subscribers, subscriber)
	return subscriber
}

// NeedLeaderElection says that the leader alone reconciles.
func (*Changes) NeedLeaderElection() bool { return true }

// Start hands changes on until the context ends.
func (c *Changes) Start(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		}
		c.mu.Lock()
		pending, subscribers := c.pending, c.subscribers
		c.pending = map[types.NamespacedName]struct{}{}
		c.mu.Unlock()
		for gateway := range pending {
			object := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: gateway.Namespace, Name: gateway.Name}}
			for _, subscriber := range subscribers {
				select {
				case <-ctx.Done():
					return nil
				case subscriber <- event.GenericEvent{Object: object}:
				}
			}
		}
	}
}
