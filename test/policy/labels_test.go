package policy

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// By its labels the API server chooses which policies ask about a MutualTLSPolicy: they say what the spec says, from the
// write that changes it, whatever somebody writes there.
func TestLabelsOfAMutualTLSPolicySayWhatItsSpecSays(t *testing.T) {
	const action, optIn = "mtls.sallyport.dev/action", "mtls.sallyport.dev/opt-in"
	demand(t, "labelled", "{action: Audit, match: {namespaces: [nowhere]}, require: {minTLS: TLSv1.2}}")
	like := parse(t, "{apiVersion: mtls.sallyport.dev/v1alpha1, kind: MutualTLSPolicy, metadata: {name: labelled}}")
	for _, step := range []struct{ name, patch, action, optIn string }{
		{"as it is created", `{}`, "Audit", "false"},
		{"the action changes", `{"spec":{"action":"Warn"}}`, "Warn", "false"},
		{"opting in begins", `{"spec":{"optIn":true,"require":{"mode":"Mutual"}}}`, "Warn", "true"},
		{"somebody writes the labels", `{"metadata":{"labels":{"mtls.sallyport.dev/action":"Audit","mtls.sallyport.dev/opt-in":"false"}}}`, "Warn", "true"},
		{"somebody takes them away", `{"metadata":{"labels":null}}`, "Warn", "true"},
		{"both change", `{"spec":{"action":"Deny","optIn":false},"metadata":{"labels":{"mtls.sallyport.dev/action":"Warn","a":"b"}}}`, "Deny", "false"},
	} {
		if err := stack.Client().Patch(t.Context(), like.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(step.patch))); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		now, err := stored(t.Context(), like)
		if err != nil {
			t.Fatal(err)
		}
		if labels := now.GetLabels(); labels[action] != step.action || labels[optIn] != step.optIn {
			t.Errorf("%s: the labels are %v, expected %s and %s", step.name, labels, step.action, step.optIn)
		}
	}
}
