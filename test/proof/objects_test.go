package proof

import (
	"context"
	"errors"
	"fmt"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func stored(ctx context.Context, apiVersion, kind, namespace, name string) (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion(apiVersion)
	object.SetKind(kind)
	err := stack.Client().Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object)
	return object, err
}

func fromUnstructured(object *unstructured.Unstructured, into any) error {
	return runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, into)
}

// change edits a stored object, again if somebody else was faster.
func change(t *testing.T, apiVersion, kind, namespace, name string, edit func(map[string]any)) {
	t.Helper()
	eventually(t, patience, "an edit of "+kind+" "+namespace+"/"+name, func(ctx context.Context) error {
		object, err := stored(ctx, apiVersion, kind, namespace, name)
		if err != nil {
			return err
		}
		edit(object.Object)
		return stack.Client().Update(ctx, object, client.FieldOwner("intruder"))
	})
}

// without deletes cluster-scoped objects of the product until the test ends.
func without(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := stack.Client().Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			t.Fatal(err)
		}
		if err := stack.Client().Delete(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			object.SetResourceVersion("")
			object.SetUID("")
			if err := stack.Client().Create(context.WithoutCancel(t.Context()), object); err != nil {
				t.Error(err)
			}
		})
	}
}

func binding(name string) client.Object {
	return &admissionregistrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func webhook() client.Object {
	return &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "sallyport"}}
}

// unguarded lets anybody write our Secrets until the test ends.
func unguarded(t *testing.T) {
	t.Helper()
	without(t, binding("sallyport-secret"), binding("sallyport-secret-keys"))
	eventually(t, patience, "an API server that no longer guards Secrets", func(ctx context.Context) error {
		trial := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ingress, Name: "trial.mtls", Labels: map[string]string{"mtls.sallyport.dev/managed": "true"}}}
		return stack.Client().Create(ctx, trial, client.DryRunAll)
	})
}

// spoil changes a Secret of ours so that it stays changed: the first time it is put
// right, and what follows within a minute is left. Before that something may be done.
func spoil(t *testing.T, name string, edit func(*corev1.Secret), before ...func()) {
	t.Helper()
	write := func() string {
		var version string
		eventually(t, patience, "an intruder's write of "+name, func(ctx context.Context) error {
			s, err := secret(ctx, name)
			if err != nil {
				return err
			}
			edit(s)
			err = stack.Client().Update(ctx, s, client.FieldOwner("intruder"))
			version = s.ResourceVersion
			return err
		})
		return version
	}
	first := write()
	eventually(t, patience, name+" put right", func(ctx context.Context) error {
		s, err := secret(ctx, name)
		if err != nil {
			return err
		}
		if s.ResourceVersion == first {
			return errors.New("it is as the intruder left it")
		}
		return nil
	})
	for _, do := range before {
		do()
	}
	write()
}

// server is the one server of a Gateway.
func server(gateway map[string]any) (map[string]any, error) {
	servers, _, err := unstructured.NestedSlice(gateway, "spec", "servers")
	if err != nil || len(servers) != 1 {
		return nil, fmt.Errorf("%d servers: %w", len(servers), err)
	}
	return servers[0].(map[string]any), nil //nolint:forcetypeassert // Istio's schema
}

// setMode changes the mode of the one server of a Gateway, as whoever removed all guards can.
func setMode(t *testing.T, ns, mode string) {
	t.Helper()
	change(t, "networking.istio.io/v1", "Gateway", ns, "edge", func(gateway map[string]any) {
		s, err := server(gateway)
		if err != nil {
			t.Fatal(err)
		}
		s["tls"].(map[string]any)["mode"] = mode //nolint:forcetypeassert // Istio's schema
		if err := unstructured.SetNestedSlice(gateway, []any{s}, "spec", "servers"); err != nil {
			t.Fatal(err)
		}
	})
}
