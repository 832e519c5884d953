package policy

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Snapshot is a World that findings can be made of. It is made once and serves every policy; it is not changed
// after, so many may use it at once.
type Snapshot struct {
	gateways []gateway
	apirules []Object
	routers  []router
	// exposures of each router stand together, in its order.
	exposures []exposure
	// ways are the exposures through which anybody reaches a target, by the target and by its Service.
	ways      map[target][]int
	waysTo    map[string][]int
	holders   map[claim][]holder
	listeners map[listener]holder
	// managed are the Secrets that the agent manages, and the Gateway of each.
	managed map[secretKey]string
	// naming are the servers that name a Secret.
	naming map[secretKey][]naming
}

// gateway is a Gateway, read.
type gateway struct {
	Object
	key     string
	created time.Time
	servers []server
	hosts   hostIndex
	// overlaps are servers that share a host with a stronger one of the Gateway, besides how strong that is for each
	// server; 0 for none.
	overlaps []overlapping
	besides  []strength
	// routed are the servers through which something is led on.
	routed []bool
	// namespaces are those of the pods that serve it.
	namespaces []string
}

// exposure is one target that can be reached through one server of a Gateway.
type exposure struct {
	router, gateway, server int
	strength                strength
	end
}

// NewSnapshot reads a World. What has the wrong shape is left out: istiod would not read it either. Of two objects
// of one name the first counts.
func NewSnapshot(w World) *Snapshot {
	s := &Snapshot{ways: map[target][]int{}, waysTo: map[string][]int{}}
	byKey := s.readGateways(w)
	s.readRouters(w, byKey)
	for i := range s.routers {
		s.expose(i, byKey)
	}
	s.meet()
	s.readSecrets(w.Secrets)
	return s
}

// readGateways reads them in Istio's order: by creation, then by name, then by namespace
// (istio/istio:pilot/pkg/model/config.go, sortConfigByCreationTime).
func (s *Snapshot) readGateways(w World) map[string]int {
	ordered := slices.Clone(w.Gateways)
	slices.SortStableFunc(ordered, func(a, b Gateway) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.Name, b.Name), strings.Compare(a.Namespace, b.Namespace))
	})
	byKey := make(map[string]int, len(ordered))
	for _, g := range ordered {
		read := gateway{Object: g.Object, key: g.Namespace + "/" + g.Name, created: g.Created}
		if _, twice := byKey[read.key]; twice {
			continue
		}
		byKey[read.key] = len(s.gateways)
		var hosts []scopedHost
		for i, raw := range g.servers() {
			one := readServer(raw, g.Namespace, i, w.ForwardedProto)
			if i < len(g.Places) {
				one.places = g.Places[i]
			}
			for _, p := range one.places {
				if !slices.Contains(read.namespaces, p.Namespace) {
					read.namespaces = append(read.namespaces, p.Namespace)
				}
			}
			read.servers = append(read.servers, one)
			hosts = append(hosts, one.hosts...)
		}
		read.hosts = newHostIndex(hosts)
		read.routed = make([]bool, len(read.servers))
		read.overlaps, read.besides = read.findOverlaps(), make([]strength, len(read.servers))
		for _, o := range read.overlaps {
			read.besides[o.server] = read.servers[o.stronger].strength
		}
		s.gateways = append(s.gateways, read)
	}
	return byKey
}

// wildcard is the first host of the Gateway that is one.
func (g *gateway) wildcard() string {
	for _, h := range g.hosts.all {
		if strings.HasPrefix(h.name, "*.") {
			return h.name
		}
	}
	return ""
}

// readRouters reads VirtualServices, and of the APIRules those of which none was made yet: one that was made is the
// same exposure.
func (s *Snapshot) readRouters(w World, gateways map[string]int) {
	v := virtualServices{directory: newDirectory(w.Services), byKey: make(map[string]VirtualService, len(w.VirtualServices)), delegated: map[string][]target{}}
	var stored []VirtualService
	for _, vs := range w.VirtualServices {
		if key := vs.Namespace + "/" + vs.Name; v.byKey[key].Name == "" {
			v.byKey[key] = vs
			stored = append(stored, vs)
		}
	}
	apirules := map[string]int{}
	for _, o := range w.APIRules {
		if _, twice := apirules[o.Namespace+"/"+o.Name]; !twice {
			apirules[o.Namespace+"/"+o.Name] = len(s.apirules)
			s.apirules = append(s.apirules, o)
		}
	}
	made := make([]bool, len(s.apirules))
	for _, vs := range stored {
		r := v.router(vs)
		if i, of := apirules[vs.Namespace+"/"+vs.APIRule]; of && vs.APIRule != "" {
			r.apirule, made[i] = i, true
		}
		s.routers = append(s.routers, r)
	}
	for i := range s.apirules {
		if !made[i] {
			s.routers = append(s.routers, routerOfAPIRule(&s.apirules[i], i, v.directory, gateways, s.gateways))
		}
	}
	slices.SortFunc(s.routers, func(a, b router) int {
		return cmp.Or(strings.Compare(a.namespace, b.namespace), strings.Compare(a.name, b.name), cmp.Compare(a.kind, b.kind))
	})
}
