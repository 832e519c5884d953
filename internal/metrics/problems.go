package metrics

import (
	"iter"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// problems tells of the conditions that call for attention.
type problems struct {
	problem *metric
}

func newProblems() *problems {
	return &problems{problem: newMetric("sallyport_object_problem",
		"A condition of an object that calls for attention: Ready, RevocationCurrent, TrustedCertificatesCurrent, AuthoritiesTrusted, Adopted or SourceCurrent is False, or something is True that ought not to be; 1.",
		"kind", "namespace", "name", "condition", "reason")}
}

func (o *problems) metrics() []*metric { return []*metric{o.problem} }

// problem is one condition of one object.
type problem struct {
	kind      string
	object    metav1.Object
	condition *metav1.Condition
}

func (o *problems) write(p *page, s *snapshot) {
	oldestFirst := func(f problem) int64 { return f.condition.LastTransitionTime.Unix() }
	for f := range within(p, o.problem, s.problems(), oldestFirst) {
		p.series(o.problem, 1, f.kind, f.object.GetNamespace(), f.object.GetName(), f.condition.Type, reasonTold(f.condition.Reason))
	}
}

func (s *snapshot) problems() iter.Seq[problem] {
	return func(yield func(problem) bool) {
		of := func(kind string, object metav1.Object, conditions []metav1.Condition) bool {
			for i := range conditions {
				if callsForAttention(&conditions[i]) && !yield(problem{kind, object, &conditions[i]}) {
					return false
				}
			}
			return true
		}
		for a := range live[*v1alpha1.CertificateAuthority](s.authorities) {
			if !of(kindAuthority, a, a.Status.Conditions) {
				return
			}
		}
		for e := range live[*v1alpha1.MutualTLSEndpoint](s.endpoints) {
			if !of(kindEndpoint, e, e.Status.Conditions) {
				return
			}
		}
		for c := range live[*v1alpha1.ClientCertificate](s.clients) {
			if !of(kindClient, c, c.Status.Conditions) {
				return
			}
		}
		for m := range live[*v1alpha1.MutualTLSPolicy](s.policies) {
			if !of(kindPolicy, m, m.Status.Conditions) {
				return
			}
		}
	}
}

func callsForAttention(c *metav1.Condition) bool {
	switch c.Type {
	case v1alpha1.ConditionReady: // what was revoked is not ready on purpose
		return c.Status == metav1.ConditionFalse && c.Reason != v1alpha1.ReasonRevoked
	case v1alpha1.ConditionRevocationCurrent, v1alpha1.ConditionTrustedCertificatesCurrent, v1alpha1.ConditionAuthoritiesTrusted,
		v1alpha1.ConditionAdopted, v1alpha1.ConditionSourceCurrent:
		return c.Status == metav1.ConditionFalse
	case v1alpha1.ConditionConflictingWriter, v1alpha1.ConditionHostConflict, v1alpha1.ConditionNoIngressMatch,
		v1alpha1.ConditionSecretAccessDenied, v1alpha1.ConditionReleased, v1alpha1.ConditionRotationBlocked, v1alpha1.ConditionCallersCutOff:
		return c.Status == metav1.ConditionTrue
	}
	return false
}

// otherReason stands for a reason that is none of ours: the values of a label are a closed
// set, whoever wrote the status.
const otherReason = "Other"

func reasonTold(reason string) string {
	if isReason(reason) {
		return reason
	}
	return otherReason
}
