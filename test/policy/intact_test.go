package policy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack/product"
	"sallyport.dev/sallyport/internal/testenv"
)

// differing are the admission objects of which the agent says that they are not as they were installed.
func differing(ctx context.Context) ([]string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+installed.Agents[0].Address("metrics")+"/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(string(body), "sallyport_agent_leader 1") {
		return nil, fmt.Errorf("the agent does not lead: %s", response.Status)
	}
	var found []string
	for line := range strings.Lines(string(body)) {
		if series, is := strings.CutPrefix(line, "sallyport_admission_object_problem"); is {
			found = append(found, strings.TrimSpace(series))
		}
	}
	return found, nil
}

func wantDiffering(t *testing.T, what string, want ...string) {
	t.Helper()
	testenv.Eventually(t, patience, what, func(ctx context.Context) error {
		found, err := differing(ctx)
		if err == nil && strings.Join(found, "\n") != strings.Join(want, "\n") {
			err = fmt.Errorf("told are %v, expected %v", found, want)
		}
		return err
	})
}

// An admission object of ours that somebody weakens, hides or deletes is told of, until it is as it was; what the chart
// installs is as the API server stores it.
func TestAdmissionObjectsThatAreNotAsTheyWere(t *testing.T) {
	digests := 0
	config := parse(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: sallyport, namespace: "+product.Namespace+"}}")
	now, err := stored(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	written, _, _ := unstructured.NestedString(now.Object, "data", "admission.yaml")
	for _, kind := range []string{"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"} {
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion("admissionregistration.k8s.io/v1")
		list.SetKind(kind + "List")
		if err := stack.Client().List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		for i := range list.Items {
			if digests++; !strings.Contains(written, kind+"/"+list.Items[i].GetName()+": ") {
				t.Errorf("nothing is written down of %s %s", kind, list.Items[i].GetName())
			}
		}
	}
	if digests == 0 {
		t.Error("there are no admission objects")
	}
	wantDiffering(t, "a fresh install is as it was installed")

	object := func(kind, name string) *unstructured.Unstructured {
		return parse(t, fmt.Sprintf("{apiVersion: admissionregistration.k8s.io/v1, kind: %s, metadata: {name: %s}}", kind, name))
	}
	for name, test := range map[string]struct{ kind, object, patch, want string }{
		"a mistake lets through": {"ValidatingAdmissionPolicy", "sallyport-gateway", `{"spec":{"failurePolicy":"Ignore"}}`, "Changed"},
		"it is about nobody":     {"ValidatingAdmissionPolicy", "sallyport-policy-deny-gateway", `{"spec":{"matchConstraints":{"objectSelector":{"matchLabels":{"a":"b"}}}}}`, "Changed"},
		"it only warns":          {"ValidatingAdmissionPolicyBinding", "sallyport-secret", `{"spec":{"validationActions":["Warn"]}}`, "Changed"},
		"it is hidden":           {"MutatingAdmissionPolicy", "sallyport-opt-in-gateway", `{"metadata":{"labels":{"app.kubernetes.io/name":null}}}`, "Missing"},
		"it is gone":             {"ValidatingAdmissionPolicyBinding", "sallyport-policy-warn-apirule", "", "Missing"},
	} {
		t.Run(name, func(t *testing.T) {
			before, err := stored(t.Context(), object(test.kind, test.object))
			if err != nil {
				t.Fatal(err)
			}
			if test.patch == "" {
				err = stack.Client().Delete(t.Context(), before.DeepCopy())
			} else {
				err = stack.Client().Patch(t.Context(), before.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(test.patch)))
			}
			if err != nil {
				t.Fatal(err)
			}
			wantDiffering(t, "what was changed is told of", fmt.Sprintf(`{kind=%q,name=%q,reason=%q} 1`, test.kind, test.object, test.want))
			put(t, before)
			wantDiffering(t, "what is mended is not told of")
		})
	}
}

// put stores an object as it was.
func put(t *testing.T, before *unstructured.Unstructured) {
	t.Helper()
	o := before.DeepCopy()
	o.SetResourceVersion("")
	o.SetUID("")
	now, err := stored(t.Context(), before)
	if err == nil {
		o.SetResourceVersion(now.GetResourceVersion())
		err = stack.Client().Update(t.Context(), o)
	} else {
		err = stack.Client().Create(t.Context(), o)
	}
	if err != nil {
		t.Fatal(err)
	}
}
