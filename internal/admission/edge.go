package admission

import (
	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/pkg/mutate"
)

// indexedEdge answers a decision's questions about the cluster from the index of
// ingresses. It never waits and calls nobody.
type indexedEdge struct {
	index *ingress.Index
}

// NewEdge is the Edge over an index.
func NewEdge(index *ingress.Index) mutate.Edge { return indexedEdge{index} }

// Gateway implements Edge.
func (e indexedEdge) Gateway(namespace, name string) (map[string]any, bool) {
	return e.index.Gateway(types.NamespacedName{Namespace: namespace, Name: name})
}

// Conflicts implements Edge.
func (e indexedEdge) Conflicts(gateway map[string]any) []mutate.Conflict {
	found := e.index.Conflicts(ingress.GatewayFrom(gateway))
	if len(found) == 0 {
		return nil
	}
	conflicts := make([]mutate.Conflict, len(found))
	for i, c := range found {
		conflicts[i] = mutate.Conflict{
			Host: c.Host, Port: c.Port, Ingress: c.Ingress,
			Namespace: c.Other.Namespace, Name: c.Other.Name, OtherIsOlder: c.OtherIsOlder,
		}
	}
	return conflicts
}
