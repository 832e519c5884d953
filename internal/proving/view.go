package proving

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// View is what is known of the replicas of one endpoint, and what it is known about.
type View struct {
	// Active, Next and Withdrawn are the ids of the generations whose certificates are tried; empty
	// if there is none.
	Active, Next, Withdrawn string
	// Accepted is the id of the newest generation of which a certificate was accepted; empty if none was.
	Accepted string
	// Replicas are what each of them answered, ordered by name.
	Replicas []Result
}

// Of is what is known of an endpoint with callers of an authority; false if nothing is tried there.
func (p *Prover) Of(endpoint, authority types.NamespacedName) (View, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	subjects := p.subjects[endpoint]
	i := slices.IndexFunc(subjects, func(s *subject) bool { return s.wanted.Authority == authority })
	if i < 0 {
		return View{}, false
	}
	s := subjects[i]
	v := View{Active: s.wanted.Issuer.ID, Next: s.wanted.Next.ID, Withdrawn: s.wanted.Withdrawn.ID, Accepted: s.accepted()}
	for _, r := range s.replicas() {
		v.Replicas = append(v.Replicas, r.Result)
	}
	return v, true
}
