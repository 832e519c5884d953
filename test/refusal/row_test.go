package refusal

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/testenv"
)

// row is an object that is refused, and what the answer names.
type row struct {
	object string
	// field is the path of what is wrong, found what is there, wayOut what to do.
	field, found, wayOut string
	// byPolicy is true where the API server's own policy answers, because the webhook
	// has no say.
	byPolicy bool
	// createOnly is true where an object like this cannot have been stored before.
	createOnly bool
	// changeable tells why the stored object may become like this: empty if it may not.
	changeable string
	// keeps tells why server-side apply makes something else of the stored object, which
	// is accepted.
	keeps string
}

func (r row) saying(found, wayOut string) row {
	r.found, r.wayOut = found, wayOut
	return r
}

// place is where rows are tried: nothing is stored in fresh, and in stored there is
// an object of each name that was accepted.
type place struct{ fresh, stored string }

// places makes the two namespaces of a test.
func places(t *testing.T, name string) place {
	t.Helper()
	p := place{fresh: name + "-fresh", stored: name + "-stored"}
	namespace(t, p.fresh)
	namespace(t, p.stored)
	t.Cleanup(func() {
		for _, list := range []string{"networking.istio.io/v1 Gateway", "gateway.kyma-project.io/v2 APIRule"} {
			apiVersion, kind, _ := strings.Cut(list, " ")
			object := &unstructured.Unstructured{}
			object.SetAPIVersion(apiVersion)
			object.SetKind(kind)
			// The test's own context has ended by now.
			if err := shared.stack.Client().DeleteAllOf(context.WithoutCancel(t.Context()), object, client.InNamespace(p.stored)); err != nil {
				t.Error(err)
			}
		}
	})
	return p
}

// refused writes the object in each version by create, update, merge patch, JSON
// patch and server-side apply, as dry runs, and expects the same answer each time.
func (r row) refused(t *testing.T, p place, versions []string) {
	t.Helper()
	for i, version := range versions {
		object := parse(t, fill(r.object, version, p.fresh))
		message := r.check(t, version+" create", p.fresh, shared.person.Create(t.Context(), object.DeepCopy(), client.DryRunAll))
		if i == 0 {
			t.Log(message)
		}
		if r.createOnly {
			continue
		}
		r.check(t, version+" apply", p.fresh, apply(t, object.DeepCopy()))
		for way, err := range r.changes(t, p.stored, version) {
			switch {
			case r.changeable == "" && (r.keeps == "" || way != "apply"):
				r.check(t, version+" "+way, p.stored, err)
			case err != nil:
				t.Errorf("%s %s: refused, though %s%s: %v", version, way, r.changeable, r.keeps, err)
			}
		}
	}
}

// check holds one answer to the three things it has to name.
func (r row) check(t *testing.T, way, namespace string, err error) string {
	t.Helper()
	if err == nil {
		t.Errorf("%s: accepted", way)
		return ""
	}
	if !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) {
		t.Errorf("%s: not refused, but: %v", way, err)
	}
	for what, part := range map[string]string{"the field": r.field, "what was found": r.found, "the way out": r.wayOut} {
		if part = strings.ReplaceAll(part, inNamespace, namespace); part == "" || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: the answer does not name %s, %q: %v", way, what, part, err)
		}
	}
	if said := err.Error(); len(said) > 4096 || strings.ContainsFunc(said, func(r rune) bool { return !unicode.IsGraphic(r) }) {
		t.Errorf("%s: the answer of %d bytes does harm in a terminal or a log: %q", way, len(said), said)
	}
	by := "admission webhook"
	if r.byPolicy {
		by = "ValidatingAdmissionPolicy"
	}
	if !strings.Contains(err.Error(), by) {
		t.Errorf("%s: not refused by an %s: %v", way, by, err)
	}
	return err.Error()
}

// changes turn the object that is stored into the row's in every way there is.
func (r row) changes(t *testing.T, namespace, version string) map[string]error {
	t.Helper()
	wanted := parse(t, fill(r.object, version, namespace))
	stored := accepted(t, wanted)
	update := wanted.DeepCopy()
	update.SetResourceVersion(stored.GetResourceVersion())
	answers := map[string]error{
		"update": shared.person.Update(t.Context(), update, client.DryRunAll),
		"apply":  apply(t, wanted.DeepCopy()),
	}
	merge := map[string]any{"spec": whole(stored.Object["spec"], wanted.Object["spec"]), "metadata": whole(stored.Object["metadata"], wanted.Object["metadata"])}
	metadata, _ := merge["metadata"].(map[string]any)
	for _, key := range []string{"creationTimestamp", "generation", "resourceVersion", "uid", "managedFields", "name", "namespace"} {
		delete(metadata, key)
	}
	answers["merge patch"] = patch(t, wanted, types.MergePatchType, merge)
	operations := []any{map[string]any{"op": "replace", "path": "/spec", "value": wanted.Object["spec"]}}
	for _, key := range []string{"annotations", "labels", "ownerReferences"} {
		if value, ok := wanted.Object["metadata"].(map[string]any)[key]; ok { //nolint:forcetypeassert // as it was parsed
			operations = append(operations, map[string]any{"op": "add", "path": "/metadata/" + key, "value": value})
		}
	}
	answers["JSON patch"] = patch(t, wanted, types.JSONPatchType, operations)
	return answers
}

// whole is a merge patch (RFC 7396) that leaves nothing of the old value.
func whole(old, wanted any) any {
	from, ok := old.(map[string]any)
	to, both := wanted.(map[string]any)
	if !ok || !both {
		return wanted
	}
	merged := map[string]any{}
	for key := range from {
		merged[key] = nil
	}
	for key, value := range to {
		merged[key] = whole(from[key], value)
	}
	return merged
}

func patch(t *testing.T, o *unstructured.Unstructured, kind types.PatchType, body any) error {
	t.Helper()
	return shared.person.Patch(t.Context(), o.DeepCopy(), client.RawPatch(kind, encoded(t, body)), client.DryRunAll)
}

func apply(t *testing.T, o *unstructured.Unstructured) error {
	t.Helper()
	return shared.person.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("person"), client.ForceOwnership, client.DryRunAll)
}

// accepted is the stored object of the same kind and name, mutual as the product made
// it.
func accepted(t *testing.T, like *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	stored := like.DeepCopy()
	key := client.ObjectKeyFromObject(like)
	err := shared.person.Get(t.Context(), key, stored)
	if err == nil {
		return stored
	}
	if !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	manifest := strings.NewReplacer("name: edge", "name: "+key.Name, "NAMESPACE.example.com", key.Name+".NAMESPACE.example.com").Replace(gateway(mutual, server("")))
	version := "v1"
	switch {
	case like.GroupVersionKind().Version == "v1beta1" && like.GetKind() == "APIRule":
		version, manifest = "v1beta1", strings.Replace(oldRule(mutual, "orders.NAMESPACE.example.com", "gateway: kyma-gateway.kyma-system.svc.cluster.local"), "name: orders,", "name: "+key.Name+",", 1)
	case like.GetKind() == "APIRule":
		version = "v2"
		manifest = strings.Replace(rule(mutual, ""), "name: orders,", "name: "+key.Name+",", 1)
	}
	object := parse(t, fill(manifest, version, key.Namespace))
	if err := shared.person.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	if err := shared.person.Get(t.Context(), key, stored); err != nil {
		t.Fatal(err)
	}
	return stored
}

// awaitRefused waits until the webhook has heard of what makes it refuse an object.
func awaitRefused(t *testing.T, manifest string) {
	t.Helper()
	object := parse(t, manifest)
	took := testenv.Eventually(t, 5*time.Second, "the webhook knows", func(ctx context.Context) error {
		if err := shared.person.Create(ctx, object.DeepCopy(), client.DryRunAll); err == nil {
			return errors.New("accepted")
		}
		return nil
	})
	t.Logf("known after %s", took.Round(time.Millisecond))
}

// awaitStored waits until somebody has made an object.
func awaitStored(t *testing.T, object *unstructured.Unstructured, key client.ObjectKey) {
	t.Helper()
	testenv.Eventually(t, 5*time.Second, key.String(), func(ctx context.Context) error { return shared.person.Get(ctx, key, object) })
}
