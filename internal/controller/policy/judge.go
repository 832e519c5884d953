package policy

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/condition"
	"sallyport.dev/sallyport/pkg/policy"
)

// object is one that is stored, in the form that a policy judges.
type object struct {
	policy.Object
	// stored is what events are about. It is the cache's own and is not changed.
	stored client.Object
}

// violation is one way in which a stored object does not meet a policy.
type violation struct {
	object object
	policy.Violation
}

// judgement is what was found of one policy.
type judgement struct {
	matched, violating, excepted int32
	violations                   []violation
}

// judge holds all that is stored to a policy, in the order of the objects.
func judge(p *v1alpha1.MutualTLSPolicy, defaultAuthority string, stored []object) judgement {
	demands := policy.New(p, defaultAuthority)
	var j judgement
	for _, o := range stored {
		if !demands.Matches(o.Object) {
			continue
		}
		j.matched++
		if demands.Excepts(o.Object) {
			j.excepted++
			continue
		}
		found := demands.Judge(o.Object)
		if len(found) > 0 {
			j.violating++
		}
		for _, v := range found {
			j.violations = append(j.violations, violation{o, v})
		}
	}
	return j
}

// maxTold is how many violations a status names.
const maxTold = 10

// maxMessage and maxField are what the status has room for.
const (
	maxMessage = 1024
	maxField   = 512
)

// status writes what was found.
func (j judgement) status(p *v1alpha1.MutualTLSPolicy, optsIn bool, now time.Time) {
	s := &p.Status
	s.Matched, s.Violating, s.Violations = ptr.To(j.matched), ptr.To(j.violating), nil
	for _, v := range j.violations[:min(len(j.violations), maxTold)] {
		s.Violations = append(s.Violations, v.told())
	}
	ready := condition.True(v1alpha1.ConditionReady, v1alpha1.ReasonJudged, fmt.Sprintf(
		"the API server judges every write of what is matched (action %s); %s", p.Spec.Action, j.sentence()))
	if p.Spec.OptIn && !optsIn {
		ready = condition.False(v1alpha1.ConditionReady, v1alpha1.ReasonOptInNotServed,
			"spec.optIn: this install has no MutatingAdmissionPolicy, so nothing is opted in: install the chart with policies.optIn on an API server that has them, label the Namespaces with mtls.sallyport.dev/default-mode, or take optIn off. All else that is demanded is judged")
	}
	compliant := condition.True(v1alpha1.ConditionCompliant, v1alpha1.ReasonCompliant, j.sentence())
	if j.violating > 0 {
		compliant = condition.False(v1alpha1.ConditionCompliant, v1alpha1.ReasonViolated, j.sentence()+"; "+j.first())
	}
	s.Conditions = condition.Update(s.Conditions, p.Generation, now, ready, compliant)
}

// sentence counts.
func (j judgement) sentence() string {
	text := fmt.Sprintf("%d of %d stored objects do not meet it", j.violating, j.matched)
	if j.excepted > 0 {
		text += fmt.Sprintf(", %d are excepted", j.excepted)
	}
	return text
}

// first names the first violation.
func (j judgement) first() string {
	v := j.violations[0]
	return fmt.Sprintf("the first: %s %s/%s: %s", v.object.Kind, v.object.Namespace, v.object.Name, v.Violation)
}

func (v violation) told() v1alpha1.PolicyViolation {
	return v1alpha1.PolicyViolation{
		Kind: v1alpha1.ViolatingKind(v.object.Kind), Namespace: v.object.Namespace, Name: v.object.Name,
		Reason: string(v.Reason), Field: cut(v.Field, maxField), Message: cut(v.Message, maxMessage),
	}
}

func cut(text string, length int) string {
	if len(text) <= length {
		return text
	}
	return strings.ToValidUTF8(text[:length], "")
}

// ended are the exceptions whose time is over.
func ended(exceptions []v1alpha1.PolicyException, now time.Time) []v1alpha1.EndedException {
	var over []v1alpha1.EndedException
	for _, e := range exceptions {
		if !now.Before(e.ExpirationTime.Time) {
			over = append(over, v1alpha1.EndedException{Kind: e.Kind, Namespace: e.Namespace, Name: e.Name})
		}
	}
	return over
}

// nextEnd is when the next exception ends; zero if none does.
func nextEnd(exceptions []v1alpha1.PolicyException, now time.Time) time.Time {
	var next time.Time
	for _, e := range exceptions {
		if end := e.ExpirationTime.Time; now.Before(end) && (next.IsZero() || end.Before(next)) {
			next = end
		}
	}
	return next
}

// announce tells the owners of objects what the status of a policy names that it did not name before, and that
// an exception has ended.
func (r *Reconciler) announce(before, after *v1alpha1.MutualTLSPolicy, found judgement) {
	known := map[v1alpha1.PolicyViolation]bool{}
	for _, v := range before.Status.Violations {
		known[v] = true
	}
	for i, v := range after.Status.Violations {
		if !known[v] {
			r.Recorder.Eventf(found.violations[i].object.stored, after, corev1.EventTypeWarning, v1alpha1.ReasonViolated, "JudgePolicy",
				"MutualTLSPolicy %s (action %s): %s: %s", after.Name, after.Spec.Action, v.Field, v.Message)
		}
	}
	over := map[v1alpha1.EndedException]bool{}
	for _, e := range before.Status.EndedExceptions {
		over[e] = true
	}
	for _, e := range after.Status.EndedExceptions {
		if !over[e] {
			r.Recorder.Eventf(after, nil, corev1.EventTypeNormal, v1alpha1.ReasonExceptionEnded, "EndException", "the exception of %s %s/%s has ended", e.Kind, e.Namespace, e.Name)
		}
	}
}

// labelsOf are those of each Namespace.
func labelsOf(namespaces *metav1.PartialObjectMetadataList) map[string]map[string]string {
	labels := make(map[string]map[string]string, len(namespaces.Items))
	for i := range namespaces.Items {
		labels[namespaces.Items[i].Name] = namespaces.Items[i].Labels
	}
	return labels
}
