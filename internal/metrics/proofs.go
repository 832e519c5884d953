package metrics

import (
	"iter"

	"sallyport.dev/sallyport/internal/probe"
	"sallyport.dev/sallyport/internal/proving"
)

// proofs tells what handshakes with the replicas of gateways showed.
type proofs struct {
	result, finding, reachable *metric
}

func newProofs() *proofs {
	return &proofs{
		result: newMetric("sallyport_probe_result",
			"Whether a replica of a gateway met an expectation when handshakes were last tried: 1 if it did, 0 if not, absent while that is unknown.",
			"namespace", "name", "replica", "expectation"),
		finding: newMetric("sallyport_probe_finding",
			"An expectation that a replica of a gateway failed, or of which nothing is known, with the reason; 1.",
			"namespace", "name", "replica", "expectation", "reason"),
		reachable: newMetric("sallyport_probe_replica_reachable",
			"Whether a replica of a gateway answered at all when handshakes were last tried: 1 if it did, 0 if not.",
			"namespace", "name", "replica"),
	}
}

func (o *proofs) metrics() []*metric { return []*metric{o.result, o.finding, o.reachable} }

// verdict is what is known of one expectation.
type verdict struct {
	proof       *proving.Result
	expectation probe.Expectation
	finding     probe.Finding
}

func (o *proofs) write(p *page, s *snapshot) {
	expectations := probe.Expectations()
	known := s.findings(expectations, func(f probe.Finding) bool { return f.Verdict == probe.Met || f.Verdict == probe.Failed })
	for t := range within(p, o.result, known, failedFirst) {
		met := int64(0)
		if t.finding.Verdict == probe.Met {
			met = 1
		}
		p.series(o.result, met, t.proof.Endpoint.Namespace, t.proof.Endpoint.Name, t.proof.Replica, string(t.expectation))
	}
	unmet := s.findings(expectations, func(f probe.Finding) bool { return f.Verdict != probe.Met })
	for t := range within(p, o.finding, unmet, failedFirst) {
		p.series(o.finding, 1, t.proof.Endpoint.Namespace, t.proof.Endpoint.Name, t.proof.Replica, string(t.expectation), string(t.finding.Reason))
	}
	answered := func(proof *proving.Result) int64 {
		if proof.Reachable {
			return 1
		}
		return 0
	}
	for proof := range within(p, o.reachable, s.tried(), answered) {
		p.series(o.reachable, answered(proof), proof.Endpoint.Namespace, proof.Endpoint.Name, proof.Replica)
	}
}

// failedFirst ranks an open door before another failure, and that before what is not known.
func failedFirst(t verdict) int64 {
	switch {
	case t.finding.Verdict == probe.Failed && t.expectation.Negative():
		return 0
	case t.finding.Verdict == probe.Failed:
		return 1
	}
	return 2
}

// findings are those that are wanted.
func (s *snapshot) findings(expectations []probe.Expectation, wanted func(probe.Finding) bool) iter.Seq[verdict] {
	return func(yield func(verdict) bool) {
		for proof := range s.replicas() {
			for _, e := range expectations {
				if finding, ok := proof.Findings[e]; ok && wanted(finding) && !yield(verdict{proof, e, finding}) {
					return
				}
			}
		}
	}
}

// replicas are those of endpoints that are there still.
func (s *snapshot) replicas() iter.Seq[*proving.Result] {
	return func(yield func(*proving.Result) bool) {
		for i := range s.proofs {
			proof := &s.proofs[i]
			if _, there := s.present[proof.Endpoint]; there && !yield(proof) {
				return
			}
		}
	}
}

// tried are the replicas with which a handshake was tried.
func (s *snapshot) tried() iter.Seq[*proving.Result] {
	return func(yield func(*proving.Result) bool) {
		for proof := range s.replicas() {
			if proof.Tried && !yield(proof) {
				return
			}
		}
	}
}
