package policy

// overlapping is a server that shares a host with a stronger one of the same Gateway. TLS settings go by the name in
// the handshake and routes by the Host header, and a VirtualService is attached to every server whose hosts it meets:
// a caller reaches the routes of the stronger one through the weaker one.
type overlapping struct {
	// server is the weaker one, host its index there.
	server, host int
	// stronger is the other server, name its host.
	stronger int
	name     string
}

// findOverlaps are the servers of a Gateway that are ways in and share a host with one that verifies callers.
// One is told of each: where there are several, the first host.
func (g *gateway) findOverlaps() []overlapping {
	var found []overlapping
	for i := range g.servers {
		weak := &g.servers[i]
		if !weak.strength.isWayIn() {
			continue
		}
		for _, h := range weak.hosts {
			if o, ok := g.overlapOf(h, weak); ok {
				found = append(found, o)
				break
			}
		}
	}
	return found
}

func (g *gateway) overlapOf(h scopedHost, weak *server) (o overlapping, ok bool) {
	g.hosts.overlapping(h.name, func(other scopedHost) bool {
		strong := &g.servers[other.server]
		if strong.strength <= weak.strength || strong.strength < optional || strong.bytes != weak.bytes || !h.meets(other) {
			return true
		}
		if !ok || strong.strength > g.servers[o.stronger].strength || strong.strength == g.servers[o.stronger].strength && other.server < o.stronger {
			o, ok = overlapping{server: h.server, host: h.place, stronger: other.server, name: other.name}, true
		}
		return true
	})
	return o, ok
}
