package proving

import (
	"time"

	"sallyport.dev/sallyport/internal/probe"
)

// gate is one port of one replica, <namespace>/<pod>.
type gate struct {
	replica string
	port    uint32
}

// Passed are the agent's handshakes at a port of a replica. Those that are underway may have been completed as the replica
// sees it.
type Passed struct {
	Completed uint64
	Underway  int
	// Anonymous are those without a certificate: where they are to be refused, and were not, or not yet.
	Anonymous         uint64
	AnonymousUnderway int
}

// passed is what passed a gate, and when something did last.
type passed struct {
	Passed
	last time.Time
}

const (
	// fewGates are no reason to look for those that are to be forgotten.
	fewGates = 1024
	// idle is how long nothing passed a gate that is forgotten: pods, and the ports of tenants, come and go. It is longer
	// than anybody remembers what passed there.
	idle = 2 * time.Hour
)

// Passed are the handshakes with a replica, <namespace>/<pod>, at one of its ports.
func (p *Prover) Passed(replica string, port uint32) Passed {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g := p.gates[gate{replica, port}]; g != nil {
		return g.Passed
	}
	return Passed{}
}

// begin notes that a handshake begins; the answer is to be told what became of it.
func (p *Prover) begin(at place, anonymous bool) (end func(probe.Outcome)) {
	key := gate{at.replica, at.port}
	change := func(underway int, completed uint64) {
		now := p.config.Clock.Now()
		p.mu.Lock()
		defer p.mu.Unlock()
		g := p.gates[key]
		if g == nil {
			p.sweep(now)
			g = &passed{}
			p.gates[key] = g
		}
		g.last = now
		g.Underway += underway
		g.Completed += completed
		if anonymous {
			g.AnonymousUnderway += underway
			g.Anonymous += completed
		}
	}
	change(1, 0)
	return func(o probe.Outcome) {
		if o == probe.Accepted {
			change(-1, 1)
			return
		}
		change(-1, 0)
	}
}

// sweep forgets the gates that nothing passes any more, if there are many.
func (p *Prover) sweep(now time.Time) {
	if len(p.gates) < p.sweepAt {
		return
	}
	for key, g := range p.gates {
		if g.Underway == 0 && now.Sub(g.last) > idle {
			delete(p.gates, key)
		}
	}
	p.sweepAt = max(fewGates, 2*len(p.gates))
}
