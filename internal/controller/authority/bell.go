package authority

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

// Bell has an authority looked at because one of its certificates was revoked. What was
// revoked is in its record: a ring that is lost with the agent is made good by the first
// look of the next one.
type Bell struct{ rung chan event.GenericEvent }

// NewBell returns a Bell.
func NewBell() *Bell { return &Bell{rung: make(chan event.GenericEvent)} }

// Rung is where it is heard.
func (b *Bell) Rung() <-chan event.GenericEvent { return b.rung }

// Ring waits until it is heard, or the context ends.
func (b *Bell) Ring(ctx context.Context, authority types.NamespacedName) {
	object := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: authority.Namespace, Name: authority.Name}}
	select {
	case b.rung <- event.GenericEvent{Object: object}:
	case <-ctx.Done():
	}
}
