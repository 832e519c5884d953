package backstop

import (
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A label by which a policy is passed over says what the spec says, or the write is refused; without a label, all ask.
func TestALabelOfAMutualTLSPolicySaysWhatItsSpecSays(t *testing.T) {
	for name, test := range map[string]struct{ labels, spec, want string }{
		"none":                            {"a: b", "action: Deny", ""},
		"the action":                      {"mtls.sallyport.dev/action: Deny", "action: Deny", ""},
		"another action":                  {"mtls.sallyport.dev/action: Audit", "action: Deny", "the label mtls.sallyport.dev/action says what spec says: change that, and leave the label out"},
		"no opting in":                    {`mtls.sallyport.dev/opt-in: "false"`, "action: Deny", ""},
		"opting in":                       {`mtls.sallyport.dev/opt-in: "true"`, "action: Deny, optIn: true", ""},
		"no opting in, of one that does":  {`mtls.sallyport.dev/opt-in: "false"`, "action: Deny, optIn: true", "the label mtls.sallyport.dev/opt-in says what spec says"},
		"opting in, of one that does not": {`mtls.sallyport.dev/opt-in: "true"`, "action: Deny, optIn: false", "the label mtls.sallyport.dev/opt-in says what spec says"},
	} {
		t.Run(name, func(t *testing.T) {
			err := admin.Create(t.Context(), parse("{apiVersion: mtls.sallyport.dev/v1alpha1, kind: MutualTLSPolicy, metadata: {name: labelled, labels: {"+test.labels+"}}, spec: {"+test.spec+", match: {namespaces: [nowhere]}, require: {mode: Mutual}}}"), client.DryRunAll)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("expected a refusal that says %q, got %v", test.want, err)
			}
		})
	}
}
