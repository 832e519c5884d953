package proving

import "k8s.io/apimachinery/pkg/types"

// View is what is known of the replicas of one endpoint, and what it is known about.
type View struct {
	// Active, Next and Withdrawn are the ids of the generations whose certificates are tried; empty
	// if there is none.
	Active, Next, Withdrawn string
	// Replicas are what each of them answered, ordered by name.
	Replicas []Result
}

// Of is what is known of an endpoint; false if nothing is tried there.
func (p *Prover) Of(endpoint types.NamespacedName) (View, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.subjects[endpoint]
	if s == nil {
		return View{}, false
	}
	v := View{Active: s.wanted.Issuer.ID, Next: s.wanted.Next.ID, Withdrawn: s.wanted.Withdrawn.ID}
	for _, r := range s.replicas() {
		v.Replicas = append(v.Replicas, r.Result)
	}
	return v, true
}
