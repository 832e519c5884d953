package proving

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/internal/probe"
	"sallyport.dev/sallyport/pkg/rotate"
)

// State is what is proven of a Gateway as a whole.
type State string

// The states.
const (
	// Proven says that every replica met every expectation.
	Proven State = "Proven"
	// Refuted says that one did not.
	Refuted State = "Refuted"
	// Unproven says that one gave no answer that can be judged.
	Unproven State = "Unproven"
	// Underway says that something was not found out yet: the Gateway is new, or so is
	// what is expected of it.
	Underway State = "Underway"
	// NoReplicas says that nobody serves it.
	NoReplicas State = "NoReplicas"
)

// Proof sums up what is known of a Gateway.
type Proof struct {
	// State of the whole.
	State State
	// Proven, Failed and Unknown count the replicas.
	Proven, Failed, Unknown int
	// Worst is the expectation that decided the state, if it is Refuted or Unproven.
	Worst probe.Expectation
	// Message names what was not met, for people: the first maxNamed findings.
	Message string
}

// maxNamed bounds the findings in a message.
const maxNamed = 10

// Result is what is known of one replica of a Gateway.
type Result struct {
	// Endpoint under which it is told.
	Endpoint types.NamespacedName
	// Replica is <namespace>/<pod>.
	Replica string
	// Tried is whether a connection was tried, Reachable whether there was one to any host.
	Tried, Reachable bool
	// Findings are the worst of all its hosts, by expectation.
	Findings map[probe.Expectation]probe.Finding
}

// Snapshot is what is known of all replicas, in no order.
func (p *Prover) Snapshot() []Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	var results []Result
	for _, subjects := range p.subjects {
		results = append(results, resultsOf(subjects)...)
	}
	return results
}

// resultsOf are one for each replica, whoever it was tried with.
func resultsOf(subjects []*subject) []Result {
	var results []Result
	at := map[string]int{}
	for _, s := range subjects {
		for _, r := range s.replicas() {
			i, known := at[r.Replica]
			if !known {
				at[r.Replica] = len(results)
				results = append(results, r.Result)
				continue
			}
			results[i].Tried, results[i].Reachable = results[i].Tried || r.Tried, results[i].Reachable || r.Reachable
			for e, f := range r.Findings {
				if worst, has := results[i].Findings[e]; !has || rankOf(e, f) > rankOf(e, worst) {
					results[i].Findings[e] = f
				}
			}
		}
	}
	return results
}

// replica is what is known of one replica, with where the worst was found.
type replica struct {
	Result
	hosts map[probe.Expectation]string
}

// replicas sum the targets of each replica up, ordered by name.
func (s *subject) replicas() []replica {
	var replicas []replica
	expectations := s.wanted.expectations()
	for _, place := range slices.SortedFunc(maps.Keys(s.targets), place.compare) {
		if n := len(replicas); n == 0 || replicas[n-1].Replica != place.replica {
			replicas = append(replicas, replica{
				Result: Result{Endpoint: s.wanted.Endpoint, Replica: place.replica, Findings: map[probe.Expectation]probe.Finding{}},
				hosts:  map[probe.Expectation]string{},
			})
		}
		replicas[len(replicas)-1].add(place.host, s.targets[place], expectations)
	}
	return replicas
}

// add takes what is known of one host. What was not tried yet is pending.
func (r *replica) add(host string, t *target, expectations []probe.Expectation) {
	for _, e := range expectations {
		finding := probe.Finding{Verdict: probe.Unknown, Reason: probe.Pending, Message: "it was not tried yet"}
		if k, tried := t.known[e]; tried {
			finding = k.finding
			r.Tried = r.Tried || finding.Reason != probe.AddressRefused
			r.Reachable = r.Reachable || finding.Reason != probe.Unreachable
		}
		if worst, has := r.Findings[e]; !has || rankOf(e, finding) > rankOf(e, worst) {
			r.Findings[e], r.hosts[e] = finding, host
		}
	}
}

// rank orders findings by how bad they are.
type rank int

// The ranks. What an open door shows comes before whatever else is known to be wrong, because it
// pages; what is not found out yet comes after what cannot be told.
const (
	rankMet rank = iota
	rankPending
	rankUnknown
	rankFailed
	rankOpen
)

func rankOf(e probe.Expectation, f probe.Finding) rank {
	switch {
	case f.Verdict == probe.Met:
		return rankMet
	case f.Verdict == probe.Failed && e.Negative():
		return rankOpen
	case f.Verdict == probe.Failed:
		return rankFailed
	case f.Reason == probe.Pending:
		return rankPending
	}
	return rankUnknown
}

// state is what the worst finding makes of the whole.
func (r rank) state() State {
	switch r {
	case rankMet:
		return Proven
	case rankPending:
		return Underway
	case rankUnknown:
		return Unproven
	case rankFailed, rankOpen:
	}
	return Refuted
}

// proofOf sums all replicas up, whoever they were tried with.
func proofOf(subjects []*subject) Proof {
	var proof Proof
	var named []string
	worst, replicas := rankMet, map[string]rank{}
	for _, s := range subjects {
		expectations := s.wanted.expectations()
		for _, r := range s.replicas() {
			bad := replicas[r.Replica]
			for _, e := range expectations {
				finding := r.Findings[e]
				found := rankOf(e, finding)
				if found >= rankUnknown {
					named = append(named, fmt.Sprintf("%s of replica %s for host %s%s: %s", e, r.Replica, r.hosts[e], s.with(), finding.Message))
				}
				if bad = max(bad, found); found > worst {
					worst, proof.Worst = found, e
				}
			}
			replicas[r.Replica] = bad
		}
	}
	for _, bad := range replicas {
		switch {
		case bad >= rankFailed:
			proof.Failed++
		case bad > rankMet:
			proof.Unknown++
		default:
			proof.Proven++
		}
	}
	proof.State = worst.state()
	if len(replicas) == 0 {
		proof.State = NoReplicas
	}
	proof.Message = subjects[0].message(named)
	return proof
}

// with says whose callers it is tried with, where that is not the authority that issues.
func (s *subject) with() string {
	if !s.wanted.Further {
		return ""
	}
	return " with callers of " + s.wanted.Authority.String()
}

// accepted is the id of the newest generation of which a replica accepted a certificate.
func (s *subject) accepted() string {
	newest := ""
	for _, t := range s.targets {
		for e, id := range map[probe.Expectation]string{probe.ManagedAccepted: s.wanted.Issuer.ID, probe.NextAccepted: s.wanted.Next.ID} {
			if t.known[e].met && rotate.Earlier(newest, id) {
				newest = id
			}
		}
	}
	return newest
}

// message names the findings, and how many more there are.
func (s *subject) message(named []string) string {
	if len(named) == 0 {
		return ""
	}
	more := ""
	if len(named) > maxNamed {
		more, named = fmt.Sprintf("; and %d more", len(named)-maxNamed), named[:maxNamed]
	}
	return fmt.Sprintf("Gateway %s: %s%s", s.wanted.Gateway, strings.Join(named, "; "), more)
}
