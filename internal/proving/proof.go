package proving

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/internal/probe"
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
	for _, s := range p.subjects {
		for _, r := range s.replicas() {
			results = append(results, r.Result)
		}
	}
	return results
}

// replica is what is known of one replica, with where the worst was found.
type replica struct {
	Result
	hosts map[probe.Expectation]string
}

// replicas sum the targets of each replica up, ordered.
func (s *subject) replicas() []replica {
	byName := map[string]*replica{}
	for _, place := range s.ordered() {
		r := byName[place.replica]
		if r == nil {
			r = &replica{
				Result: Result{Endpoint: s.wanted.Endpoint, Replica: place.replica, Findings: map[probe.Expectation]probe.Finding{}},
				hosts:  map[probe.Expectation]string{},
			}
			byName[place.replica] = r
		}
		r.add(place.host, s.targets[place], s.wanted.expectations())
	}
	replicas := make([]replica, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		replicas = append(replicas, *byName[name])
	}
	return replicas
}

func (s *subject) ordered() []place {
	return slices.SortedFunc(maps.Keys(s.targets), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.replica, b.replica), cmp.Compare(a.host, b.host), cmp.Compare(a.port, b.port))
	})
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
		if worst, has := r.Findings[e]; !has || badness(finding) > badness(worst) {
			r.Findings[e], r.hosts[e] = finding, host
		}
	}
}

// badness orders findings: what is known to be wrong, what cannot be told, what is not
// told yet, what is right.
func badness(f probe.Finding) int {
	switch {
	case f.Verdict == probe.Failed:
		return 3
	case f.Verdict == probe.Unknown && f.Reason != probe.Pending:
		return 2
	case f.Verdict == probe.Unknown:
		return 1
	}
	return 0
}

// proof sums all replicas up. What an open door shows comes first.
func (s *subject) proof() Proof {
	var proof Proof
	var worst int
	var named []string
	for _, r := range s.replicas() {
		bad := 0
		for _, e := range s.wanted.expectations() {
			finding := r.Findings[e]
			rank := 2 * badness(finding)
			if rank > 2 {
				named = append(named, fmt.Sprintf("%s of replica %s for host %s: %s", e, r.Replica, r.hosts[e], finding.Message))
			}
			if e.Negative() && finding.Verdict == probe.Failed {
				rank++
			}
			bad = max(bad, rank)
			if rank > worst {
				worst, proof.Worst = rank, e
			}
		}
		switch {
		case bad >= 6:
			proof.Failed++
		case bad > 0:
			proof.Unknown++
		default:
			proof.Proven++
		}
	}
	proof.State = [...]State{Proven, Proven, Underway, Underway, Unproven, Unproven, Refuted, Refuted}[worst]
	if proof.Proven+proof.Failed+proof.Unknown == 0 {
		proof.State = NoReplicas
	}
	proof.Message = s.message(named)
	return proof
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
