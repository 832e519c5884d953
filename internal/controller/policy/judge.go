package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/condition"
	"sallyport.dev/sallyport/internal/endpoint"
	"sallyport.dev/sallyport/pkg/policy"
)

// object is one that is stored, in the form that a policy judges.
type object struct {
	policy.Object
	// stored is what events are about. It is the cache's own and is not changed.
	stored client.Object
}

// judgement is what was found of one policy.
type judgement struct {
	matched, violating, excepted int32
	// violations are what single objects do not meet, and after them what only a look at everything shows.
	violations []policy.Finding
	// optional is how those stand that are to be mutual and are optional, by the reason of their endpoints.
	optional map[string]int32
	// stored are the objects that they are about, by kind, namespace and name, where an event can be about them.
	stored map[string]client.Object
}

// judge holds all that is stored to a policy, in the order of the objects.
func judge(p *v1alpha1.MutualTLSPolicy, defaultAuthority string, stored []object, snapshot *policy.Snapshot, endpoints steps) judgement {
	demands := policy.New(p, defaultAuthority)
	j := judgement{stored: map[string]client.Object{}, optional: map[string]int32{}}
	for _, o := range stored {
		if !demands.Matches(o.Object) {
			continue
		}
		j.matched++
		if demands.Excepts(o.Object) {
			j.excepted++
			continue
		}
		if reason, optional := endpoints[endpoint.Key(o.Kind, o.stored)]; optional && p.Spec.Require.Mode == v1alpha1.ModeMutual {
			j.optional[reason]++
		}
		j.stored[nameOf(v1alpha1.ViolatingKind(o.Kind), o.Namespace, o.Name)] = o.stored
		for _, v := range demands.Judge(o.Object) {
			j.violations = append(j.violations, policy.Finding{
				Kind: v1alpha1.ViolatingKind(o.Kind), Namespace: o.Namespace, Name: o.Name, Reason: v.Reason, Field: v.Field, Message: v.Message,
			})
		}
	}
	j.violations = append(j.violations, demands.Findings(snapshot)...)
	named := map[string]bool{}
	for _, v := range j.violations {
		named[nameOf(v.Kind, v.Namespace, v.Name)] = true
	}
	j.violating = int32(len(named)) //nolint:gosec // objects of one cluster
	return j
}

func nameOf(kind v1alpha1.ViolatingKind, namespace, name string) string {
	return string(kind) + " " + namespace + "/" + name
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
	for _, v := range varied(j.violations) {
		s.Violations = append(s.Violations, told(v))
	}
	counts := map[policy.Reason]int32{}
	for _, v := range j.violations {
		counts[v.Reason]++
	}
	s.Reasons, s.Optional = reasonCounts(counts), reasonCounts(j.optional)
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

func reasonCounts[R ~string](counts map[R]int32) []v1alpha1.ReasonCount {
	var told []v1alpha1.ReasonCount
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		told = append(told, v1alpha1.ReasonCount{Reason: string(reason), Count: counts[reason]})
	}
	return told
}

// varied are the violations that the status names, in order: the first of each reason, then the first of each reason in each
// Namespace, then the first of all, so that what one team does wrong ten times hides nothing of another's.
func varied(all []policy.Finding) []policy.Finding {
	picked := map[int]bool{}
	for _, key := range []func(policy.Finding) string{
		func(f policy.Finding) string { return string(f.Reason) },
		func(f policy.Finding) string { return string(f.Reason) + " " + f.Namespace },
		func(f policy.Finding) string { return f.String() },
	} {
		seen := map[string]bool{}
		for i, f := range all {
			if k := key(f); len(picked) < maxTold && !seen[k] {
				seen[k], picked[i] = true, true
			}
		}
	}
	var found []policy.Finding
	for _, i := range slices.Sorted(maps.Keys(picked)) {
		found = append(found, all[i])
	}
	return found
}

// sentence counts.
func (j judgement) sentence() string {
	text := fmt.Sprintf("of %d stored objects that it is about, and of the VirtualServices that lead to them, %d do not meet it", j.matched, j.violating)
	if j.excepted > 0 {
		text += fmt.Sprintf(", %d are excepted", j.excepted)
	}
	return text
}

// first names the first violation.
func (j judgement) first() string {
	v := j.violations[0]
	return "the first: " + v.String()
}

func told(v policy.Finding) v1alpha1.PolicyViolation {
	return v1alpha1.PolicyViolation{
		Kind: v.Kind, Namespace: v.Namespace, Name: v.Name,
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

// announce tells the owners of objects what the status of a policy names that it did not name before. The API server
// takes no longer note than a message of the status.
func (r *Reconciler) announce(before, after *v1alpha1.MutualTLSPolicy, found judgement) {
	known := map[v1alpha1.PolicyViolation]bool{}
	for _, v := range before.Status.Violations {
		known[v] = true
	}
	for _, v := range after.Status.Violations {
		about, is := found.stored[nameOf(v.Kind, v.Namespace, v.Name)]
		if !is {
			about = after // a VirtualService: its owner need not know of us
		}
		if !known[v] {
			note := fmt.Sprintf("MutualTLSPolicy %s (action %s): %s %s/%s: %s: %s", after.Name, after.Spec.Action, v.Kind, v.Namespace, v.Name, v.Field, v.Message)
			r.Recorder.Eventf(about, nil, corev1.EventTypeWarning, v1alpha1.ReasonViolated, "JudgePolicy", "%s", cut(note, maxMessage))
		}
	}
}

// announceEnds tells of exceptions that count no more.
func (r *Reconciler) announceEnds(before, after *v1alpha1.MutualTLSPolicy) {
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
