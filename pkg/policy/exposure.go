package policy

import "slices"

// door is how a router is reached through a Gateway: all servers of one kind are the same to it.
type door struct {
	strength strength
	bytes    bool
	// port of the Gateway, if the router goes by it.
	port uint32
	// server is the first of that kind.
	server int
}

// expose notes what a router leads to through each of its Gateways.
func (s *Snapshot) expose(index int, gateways map[string]int) {
	r := &s.routers[index]
	r.from = len(s.exposures)
	seen := map[int]bool{}
	for _, key := range r.gateways {
		g, known := gateways[key]
		if !known || seen[g] {
			continue
		}
		seen[g] = true
		if !r.isSeenBy(&s.gateways[g]) {
			continue
		}
		for _, d := range s.gateways[g].doors(r) {
			s.exposeThrough(index, g, d)
		}
	}
	r.to = len(s.exposures)
	for i := r.from; i < r.to; i++ {
		e := &s.exposures[i]
		if e.strength.isWayIn() {
			s.ways[e.target] = append(s.ways[e.target], i)
			s.waysTo[e.service] = append(s.waysTo[e.service], i)
		}
	}
}

// exposeThrough notes the targets of a router behind one door, each once. After a route that takes everything no
// later one is reached (istio/istio:pilot/pkg/networking/core/route/route.go, BuildHTTPRoutesForVirtualService).
func (s *Snapshot) exposeThrough(index, g int, d door) {
	r, seen := &s.routers[index], map[target]bool{}
	for i := range r.routes {
		hop := &r.routes[i]
		if hop.bytes != d.bytes || !hop.holds(s.gateways[g].key, d.port) {
			continue
		}
		for _, e := range hop.ends {
			if !seen[e.target] {
				seen[e.target] = true
				s.exposures = append(s.exposures, exposure{router: index, gateway: g, server: d.server, strength: d.strength, end: e})
				s.gateways[g].routed[d.server] = true
			}
		}
		if len(hop.only) == 0 {
			return
		}
	}
}

// isSeenBy reports whether the pods that serve a Gateway take a VirtualService
// (istio/istio:pilot/pkg/model/push_context.go, VirtualServicesForGateway).
func (r *router) isSeenBy(g *gateway) bool {
	if len(r.exportTo) == 0 || slices.Contains(r.exportTo, "*") {
		return true
	}
	if slices.Contains(r.exportTo, "~") {
		return false
	}
	return len(g.namespaces) == 0 || slices.ContainsFunc(g.namespaces, func(namespace string) bool {
		return slices.Contains(r.exportTo, namespace) || namespace == r.namespace && slices.Contains(r.exportTo, ".")
	})
}

// doors are those of a Gateway that take a router: its hosts meet those of a server
// (istio/istio:pilot/pkg/networking/core/gateway.go, buildGatewayHTTPRouteConfig).
func (g *gateway) doors(r *router) []door {
	var doors []door
	for _, host := range r.hosts {
		g.hosts.overlapping(host, func(h scopedHost) bool {
			if h.namespace != "" && h.namespace != r.namespace {
				return true
			}
			s := &g.servers[h.server]
			d := door{strength: s.strength, bytes: s.bytes, server: h.server}
			if r.narrow {
				d.port = s.port
			}
			for i := range doors {
				if same := doors[i]; same.strength == d.strength && same.bytes == d.bytes && same.port == d.port {
					doors[i].server = min(same.server, d.server)
					return true
				}
			}
			doors = append(doors, d)
			return true
		})
	}
	return doors
}

// wayAround is an exposure through which anybody reaches what another one guards: of another router, or of the same
// one through a server that keep says is not told of already.
func (s *Snapshot) wayAround(guarded *exposure, keep func(*exposure) bool) *exposure {
	lists := [][]int{s.waysTo[guarded.service]}
	if guarded.port != "" {
		lists = [][]int{s.ways[guarded.target], s.ways[target{service: guarded.service}]}
	}
	for _, l := range lists {
		for _, i := range l {
			if keep(&s.exposures[i]) {
				return &s.exposures[i]
			}
		}
	}
	return nil
}
