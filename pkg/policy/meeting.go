package policy

import "slices"

// claim is a host at a place: of all servers with TLS that have it, istiod keeps the first and drops the others whole
// (istio/istio:pilot/pkg/model/gateway.go, CheckDuplicates).
type claim struct {
	listener
	host string
}

// listener is an address at a port of an ingress.
type listener struct {
	ingress, port, bind string
}

// holder is a server of a Gateway.
type holder struct{ gateway, server int }

// meet notes who holds each host of the servers with TLS, oldest first, and which server without TLS is the oldest at
// each place: istiod drops every younger one with TLS there, whatever its hosts.
func (s *Snapshot) meet() {
	s.holders, s.listeners = map[claim][]holder{}, map[listener]holder{}
	for g := range s.gateways {
		for i := range s.gateways[g].servers {
			one := &s.gateways[g].servers[i]
			for _, l := range one.listeners() {
				if _, held := s.listeners[l]; !held && !encrypted(one.raw) {
					s.listeners[l] = holder{g, i}
				}
				for _, h := range one.hosts {
					c := claim{l, h.name}
					s.holders[c] = append(s.holders[c], holder{g, i})
				}
			}
		}
	}
}

// listeners are where a server lands, each once.
func (s *server) listeners() []listener {
	var found []listener
	for _, p := range s.places {
		if l := (listener{p.Ingress, p.Port, s.bind}); !slices.Contains(found, l) {
			found = append(found, l)
		}
	}
	return found
}

// olderAt is the oldest server of another Gateway at a claim, if that Gateway is the first there.
func (s *Snapshot) olderAt(c claim, g int) (holder, bool) {
	first := s.holders[c][0]
	return first, first.gateway != g
}

// youngerAt is a server of another Gateway at a claim of which the asking one is the first, that asks less of callers.
func (s *Snapshot) youngerAt(c claim, g int, than strength) (holder, bool) {
	for _, h := range s.holders[c] {
		if weaker := s.gateways[h.gateway].servers[h.server].strength; h.gateway != g && weaker < than && weaker != sendsOn {
			return h, true
		}
	}
	return holder{}, false
}
