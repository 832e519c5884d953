package evaluator_test

import (
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"sallyport.dev/sallyport/test/evaluator"
	"sallyport.dev/sallyport/test/sequence"
)

// TestAHoleIsFound breaks a policy in one place, and wants a few sequences to find it.
func TestAHoleIsFound(t *testing.T) {
	const few = 1000
	const (
		tooLittle = "it was stored, though"
		tooMuch   = "it was refused, and nothing is wrong with it"
		otherwise = "the API server warned of"
	)
	tests := map[string]struct {
		breaks func(*testing.T, *evaluator.Objects)
		// worlds is whether it takes a MutualTLSPolicy to be found.
		worlds bool
		says   string
	}{
		"a Gateway may have another mode": {
			breaks: rewritten("sallyport-gateway", "has(s.tls.mode) && s.tls.mode == variables.wantedMode", "true"), says: tooLittle,
		},
		"the second server is not looked at": {
			breaks: rewritten("sallyport-gateway", "variables.servers.all(s, ", "[variables.servers[0]].all(s, "), says: tooLittle,
		},
		"what is unchanged but for the spec passes": {
			breaks: rewritten("sallyport-gateway", "variables.sameSpec && variables.sameKeys", "variables.sameKeys"), says: tooLittle,
		},
		"opting out and opening up are one write": {
			breaks: rewritten("sallyport-gateway", "variables.defaultMode : variables.before", "variables.defaultMode : ''"), says: tooLittle,
		},
		"disabled is no mode": {breaks: rewritten("sallyport-gateway-keys", ",'disabled'", ""), says: tooMuch},
		"one version is not matched": {
			breaks: exactly("sallyport-gateway", "v1", "v1alpha3"), says: tooLittle,
		},
		"a MutualTLSPolicy demands no mode": {
			breaks: rewritten("sallyport-policy-deny-gateway", "variables.mode == 'mutual' ||", "true ||"), worlds: true, says: tooLittle,
		},
		"an exception never ends": {
			breaks: rewritten("sallyport-policy-deny-gateway", "params.status.endedExceptions : []", "params.status.endedExceptions.filter(e, false) : []"), worlds: true, says: tooLittle,
		},
		"hosts are compared as they are written": {breaks: rewritten("sallyport-policy-deny-gateway", ").lowerAscii())", "))"), worlds: true, says: tooLittle},
		"a warning is not given":                 {breaks: rewritten("sallyport-policy-warn-gateway", "size(variables.open) == 0", "true"), worlds: true, says: otherwise},
		"what is denied is only noted": {
			breaks: bound("sallyport-policy-deny-apirule", func(b *admissionv1.ValidatingAdmissionPolicyBindingSpec) {
				b.ValidationActions = []admissionv1.ValidationAction{admissionv1.Audit}
			}), worlds: true, says: tooLittle,
		},
		"no MutualTLSPolicy is selected": {
			breaks: bound("sallyport-policy-deny-apirule", func(b *admissionv1.ValidatingAdmissionPolicyBindingSpec) {
				b.ParamRef.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"no": "one"}}
			}), worlds: true, says: tooLittle,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server := start(t, func(o *evaluator.Objects) { tt.breaks(t, o) })
			tally, err := sequence.Game{First: 1, Last: few, Workers: 1, Worlds: tt.worlds}.Play(t.Context(), server)
			if err == nil {
				t.Fatalf("nothing found in %v", tally)
			}
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("found %v, want %q", err, tt.says)
			}
			t.Logf("found after %d sequences", tally.Sequences)
		})
	}
}

// rewritten has a part of the expressions of a policy say something else.
func rewritten(name, before, after string) func(*testing.T, *evaluator.Objects) {
	return func(t *testing.T, o *evaluator.Objects) {
		t.Helper()
		found := false
		rewrite := func(expression *string) {
			found = found || strings.Contains(*expression, before)
			*expression = strings.ReplaceAll(*expression, before, after)
		}
		for _, p := range o.Policies {
			if p.Name != name {
				continue
			}
			for i := range p.Spec.Variables {
				rewrite(&p.Spec.Variables[i].Expression)
			}
			for i := range p.Spec.Validations {
				rewrite(&p.Spec.Validations[i].Expression)
			}
		}
		if !found {
			t.Fatalf("no expression of %s has %q", name, before)
		}
	}
}

// bound changes the binding of a policy.
func bound(name string, change func(*admissionv1.ValidatingAdmissionPolicyBindingSpec)) func(*testing.T, *evaluator.Objects) {
	return func(t *testing.T, o *evaluator.Objects) {
		t.Helper()
		i := slices.IndexFunc(o.Bindings, func(b *admissionv1.ValidatingAdmissionPolicyBinding) bool { return b.Name == name })
		if i < 0 {
			t.Fatalf("no binding %s", name)
		}
		change(&o.Bindings[i].Spec)
	}
}

// exactly has a policy match some versions and no others.
func exactly(name string, versions ...string) func(*testing.T, *evaluator.Objects) {
	return func(t *testing.T, o *evaluator.Objects) {
		t.Helper()
		i := slices.IndexFunc(o.Policies, func(p *admissionv1.ValidatingAdmissionPolicy) bool { return p.Name == name })
		if i < 0 {
			t.Fatalf("no policy %s", name)
		}
		constraints := o.Policies[i].Spec.MatchConstraints
		constraints.MatchPolicy = ptr.To(admissionv1.Exact)
		constraints.ResourceRules[0].APIVersions = versions
	}
}
