package metrics

import (
	"iter"
	"slices"

	"sallyport.dev/sallyport/api/v1alpha1"
	rules "sallyport.dev/sallyport/pkg/policy"
)

// policies tells of what platforms demand, and of what they leave alone for a while.
type policies struct {
	violations, matched, findings, optional, expiration *metric
}

func newPolicies() *policies {
	return &policies{
		matched:    newMetric("sallyport_policy_matched_objects", "Stored objects that a MutualTLSPolicy is about.", "policy", "action"),
		violations: newMetric("sallyport_policy_violations", "Stored objects that do not meet a MutualTLSPolicy and are not excepted, or lead past one that does.", "policy", "action"),
		findings:   newMetric("sallyport_policy_findings", "Ways in which stored objects do not meet a MutualTLSPolicy, by reason.", "policy", "reason"),
		optional: newMetric("sallyport_policy_optional_objects",
			"Objects in mode optional where a MutualTLSPolicy demands mutual, by the reason of their ReadyForMutual: CallersHaveCertificates are those that could be mutual now.", "policy", "reason"),
		expiration: newMetric("sallyport_policy_exception_expiration_timestamp_seconds",
			"When an exception of a MutualTLSPolicy ends, in seconds since the epoch; absent once it counts no more.", "policy", "kind", "namespace", "name"),
	}
}

func (o *policies) metrics() []*metric {
	return []*metric{o.expiration, o.findings, o.matched, o.optional, o.violations}
}

func (o *policies) write(p *page, s *snapshot) {
	endsFirst := func(e exception) int64 { return e.ExpirationTime.Unix() }
	for e := range within(p, o.expiration, s.exceptions(), endsFirst) {
		p.series(o.expiration, e.ExpirationTime.Unix(), e.policy, string(e.Kind), e.Namespace, e.Name)
	}
	oftenFirst := func(r reasonCount) int64 { return -int64(r.Count) }
	findings := func(m *v1alpha1.MutualTLSPolicy) []v1alpha1.ReasonCount { return m.Status.Reasons }
	for r := range within(p, o.findings, s.reasonCounts(findings, isFinding), oftenFirst) {
		p.series(o.findings, int64(r.Count), r.policy, r.Reason)
	}
	optional := func(m *v1alpha1.MutualTLSPolicy) []v1alpha1.ReasonCount { return m.Status.Optional }
	for r := range within(p, o.optional, s.reasonCounts(optional, isReason), oftenFirst) {
		p.series(o.optional, int64(r.Count), r.policy, r.Reason)
	}
	for _, told := range []struct {
		in    *metric
		count func(*v1alpha1.MutualTLSPolicyStatus) *int32
	}{
		{o.matched, func(s *v1alpha1.MutualTLSPolicyStatus) *int32 { return s.Matched }},
		{o.violations, func(s *v1alpha1.MutualTLSPolicyStatus) *int32 { return s.Violating }},
	} {
		mostFirst := func(m *v1alpha1.MutualTLSPolicy) int64 { return -int64(*told.count(&m.Status)) }
		for m := range within(p, told.in, s.counted(told.count), mostFirst) {
			p.series(told.in, int64(*told.count(&m.Status)), m.Name, string(m.Spec.Action))
		}
	}
}

// counted are the policies of which a number is known.
func (s *snapshot) counted(count func(*v1alpha1.MutualTLSPolicyStatus) *int32) iter.Seq[*v1alpha1.MutualTLSPolicy] {
	return func(yield func(*v1alpha1.MutualTLSPolicy) bool) {
		for m := range live[*v1alpha1.MutualTLSPolicy](s.policies) {
			if count(&m.Status) != nil && !yield(m) {
				return
			}
		}
	}
}

// reasonCount is how often there is a reason.
type reasonCount struct {
	policy string
	v1alpha1.ReasonCount
}

// reasonCounts are those of every policy. A reason is a known one, whoever wrote the status.
func (s *snapshot) reasonCounts(of func(*v1alpha1.MutualTLSPolicy) []v1alpha1.ReasonCount, known func(string) bool) iter.Seq[reasonCount] {
	return func(yield func(reasonCount) bool) {
		for m := range live[*v1alpha1.MutualTLSPolicy](s.policies) {
			for _, r := range of(m) {
				if known(r.Reason) && !yield(reasonCount{m.Name, r}) {
					return
				}
			}
		}
	}
}

func isFinding(reason string) bool { return slices.Contains(rules.AllReasons(), rules.Reason(reason)) }

func isReason(reason string) bool { return slices.Contains(reasons, reason) }

// exception is one of a policy.
type exception struct {
	policy string
	*v1alpha1.PolicyException
}

// exceptions are those that count still.
func (s *snapshot) exceptions() iter.Seq[exception] {
	return func(yield func(exception) bool) {
		for m := range live[*v1alpha1.MutualTLSPolicy](s.policies) {
			for i := range m.Spec.Exceptions {
				e := &m.Spec.Exceptions[i]
				over := slices.Contains(m.Status.EndedExceptions, v1alpha1.EndedException{Kind: e.Kind, Namespace: e.Namespace, Name: e.Name})
				if !over && !yield(exception{m.Name, e}) {
					return
				}
			}
		}
	}
}
