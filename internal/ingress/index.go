package ingress

import (
	"reflect"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/pkg/intent"
)

// Change says what an Index learned.
type Change struct {
	// Gateway is the Gateway that was stored or deleted, with Sharing the others
	// that have a host of its old or new form. Zero when pods or Services changed:
	// then any Gateway may have moved.
	Gateway types.NamespacedName
	Sharing []types.NamespacedName
}

// Index keeps the facts about ingresses and Gateways current and answers from
// them. It is safe for concurrent use; an answer never waits for the API server.
type Index struct {
	ingresses []Ingress

	mu       sync.RWMutex
	claims   *Claims
	objects  map[types.NamespacedName]map[string]any
	services map[types.NamespacedName]Service
	pods     map[types.NamespacedName]Pod
	// topology is rebuilt by the first question after a change, so that a burst of
	// pod events costs one rebuild. topologyStale guards it.
	topology      Topology
	topologyStale bool

	changed []func(Change)
}

// NewIndex returns an index over these ingresses that knows no objects yet.
func NewIndex(ingresses []Ingress) *Index {
	return &Index{
		ingresses: ingresses,
		claims:    NewClaims(),
		objects:   map[types.NamespacedName]map[string]any{},
		services:  map[types.NamespacedName]Service{},
		pods:      map[types.NamespacedName]Pod{},
		topology:  NewTopology(ingresses, nil, nil),
	}
}

// OnChange registers a function that is called after each change, outside of any
// lock. Register before the index is fed.
func (x *Index) OnChange(f func(Change)) { x.changed = append(x.changed, f) }

func (x *Index) notify(c Change) {
	for _, f := range x.changed {
		f(c)
	}
}

// Ingresses are those a Gateway with this selector belongs to.
func (x *Index) Ingresses(selector map[string]string) []Ingress {
	return x.Topology().Ingresses(selector)
}

// Replicas are the Ready gateway pods that serve this port of a Gateway.
func (x *Index) Replicas(selector map[string]string, port uint32) []Replica {
	return x.Topology().Replicas(selector, port)
}

// Conflicts are the hosts of g that other stored Gateways have where g has them.
func (x *Index) Conflicts(g Gateway) []Conflict {
	topology := x.Topology()
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.claims.Conflicts(topology, g)
}

// Anonymous are the other stored Gateways with a server on a port of g's that lets in who has no certificate.
func (x *Index) Anonymous(g Gateway) []types.NamespacedName {
	topology := x.Topology()
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.claims.Anonymous(topology, g)
}

// Gateway is a stored Gateway in raw form, as the index was fed with it; false if
// there is none. Callers must not change it.
func (x *Index) Gateway(ref types.NamespacedName) (map[string]any, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	object, ok := x.objects[ref]
	return object, ok
}

// Topology is the current picture of the ingresses.
func (x *Index) Topology() Topology {
	x.mu.RLock()
	topology, stale := x.topology, x.topologyStale
	x.mu.RUnlock()
	if !stale {
		return topology
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.topologyStale {
		services := make([]Service, 0, len(x.services))
		for _, service := range x.services {
			services = append(services, service)
		}
		pods := make([]Pod, 0, len(x.pods))
		for _, pod := range x.pods {
			pods = append(pods, pod)
		}
		x.topology, x.topologyStale = NewTopology(x.ingresses, services, pods), false
	}
	return x.topology
}

// SetGateway stores a Gateway in raw form. The index keeps the map.
func (x *Index) SetGateway(object map[string]any) {
	g := GatewayFrom(object)
	x.mu.Lock()
	sharing := x.sharingOld(g.Ref())
	x.objects[g.Ref()] = object
	x.claims.Set(g)
	sharing = append(sharing, x.claims.Sharing(g)...)
	x.mu.Unlock()
	x.notify(Change{Gateway: g.Ref(), Sharing: distinct(sharing)})
}

// DeleteGateway forgets a Gateway.
func (x *Index) DeleteGateway(ref types.NamespacedName) {
	x.mu.Lock()
	sharing := x.sharingOld(ref)
	delete(x.objects, ref)
	x.claims.Delete(ref)
	x.mu.Unlock()
	x.notify(Change{Gateway: ref, Sharing: distinct(sharing)})
}

func (x *Index) sharingOld(ref types.NamespacedName) []types.NamespacedName {
	if old, ok := x.claims.gateways[ref]; ok {
		return x.claims.Sharing(*old)
	}
	return nil
}

// SetService stores a Service of an ingress namespace.
func (x *Index) SetService(s Service) {
	key := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
	x.changeTopology(func() bool {
		stored, ok := x.services[key]
		x.services[key] = s
		return !ok || !reflect.DeepEqual(stored, s)
	})
}

// DeleteService forgets a Service.
func (x *Index) DeleteService(ref types.NamespacedName) {
	x.changeTopology(func() bool {
		_, ok := x.services[ref]
		delete(x.services, ref)
		return ok
	})
}

// SetPod stores a pod of an ingress namespace.
func (x *Index) SetPod(p Pod) {
	key := types.NamespacedName{Namespace: p.Namespace, Name: p.Name}
	x.changeTopology(func() bool {
		stored, ok := x.pods[key]
		x.pods[key] = p
		return !ok || !reflect.DeepEqual(stored, p)
	})
}

// DeletePod forgets a pod.
func (x *Index) DeletePod(ref types.NamespacedName) {
	x.changeTopology(func() bool {
		_, ok := x.pods[ref]
		delete(x.pods, ref)
		return ok
	})
}

// changeTopology notes a change, unless it changes nothing that is known of pods and
// Services: their status is written all the time.
func (x *Index) changeTopology(change func() bool) {
	x.mu.Lock()
	changed := change()
	x.topologyStale = x.topologyStale || changed
	x.mu.Unlock()
	if changed {
		x.notify(Change{})
	}
}

// NamedByOther is a stored Gateway but one that refers to this Secret, as a server's certificate or as CAs; false if none
// does. The one is who asks: it knows better, and may be gone before the index hears of it.
func (x *Index) NamedByOther(secret string, asking types.NamespacedName) (other types.NamespacedName, named bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for gateway, object := range x.objects {
		if gateway == asking {
			continue
		}
		spec, _ := object["spec"].(map[string]any)
		servers, _ := spec["servers"].([]any)
		for _, s := range servers {
			server, _ := s.(map[string]any)
			tls, _ := server["tls"].(map[string]any)
			name, _ := tls["credentialName"].(string)
			ca, _ := tls["caCertCredentialName"].(string)
			if name != "" && (name == secret || intent.CASecretFor(name) == secret) || ca != "" && ca == secret {
				return gateway, true
			}
		}
	}
	return types.NamespacedName{}, false
}

// Gateways are all that are stored, in no order.
func (x *Index) Gateways() []types.NamespacedName {
	x.mu.RLock()
	defer x.mu.RUnlock()
	refs := make([]types.NamespacedName, 0, len(x.objects))
	for ref := range x.objects {
		refs = append(refs, ref)
	}
	return refs
}
