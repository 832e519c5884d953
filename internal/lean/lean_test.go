package lean

import (
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
)

func gateway() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
		"metadata": map[string]any{
			"namespace": "shop", "name": "edge", "generation": int64(3), "annotations": map[string]any{"mode": "mutual"},
			"managedFields": []any{map[string]any{"manager": "kubectl"}},
		},
		"spec": map[string]any{"servers": []any{map[string]any{
			"port": map[string]any{"number": int64(443), "protocol": "HTTPS"}, "hosts": []any{"a.example.com"}, "tls": map[string]any{"mode": "MUTUAL"}, "odd": nil, "on": true, "share": 0.5,
		}}},
	}}
}

func metadata() metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: "shop", Name: "a", UID: "u", ResourceVersion: "7", Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"c": "d"},
		Finalizers: []string{"f"}, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
	}
}

// Nothing but the managed fields is lost, of any kind.
func TestWhatComesOutMeansTheSame(t *testing.T) {
	ready := []metav1.Condition{{Type: "Ready", Status: metav1.ConditionTrue, Reason: "Issued", Message: "a certificate is in place", ObservedGeneration: 3}}
	for name, object := range map[string]client.Object{
		"a Gateway":           gateway(),
		"an empty object":     &unstructured.Unstructured{Object: map[string]any{}},
		"a Secret":            &corev1.Secret{ObjectMeta: metadata(), Data: map[string][]byte{"a": []byte("b")}},
		"a ClientCertificate": &v1alpha1.ClientCertificate{ObjectMeta: metadata(), Spec: v1alpha1.ClientCertificateSpec{SecretName: "s"}, Status: v1alpha1.ClientCertificateStatus{Serial: "7f", AuthorityKeyID: "0a", Conditions: ready}},
		"an endpoint":         &v1alpha1.MutualTLSEndpoint{ObjectMeta: metadata(), Status: v1alpha1.MutualTLSEndpointStatus{Hosts: []string{"a.example.com"}, Conditions: ready}},
	} {
		t.Run(name, func(t *testing.T) {
			want, ok := object.DeepCopyObject().(client.Object)
			if !ok {
				t.Fatalf("%T is no object", object)
			}
			want.SetManagedFields(nil)
			found, err := Object(object)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, found); diff != "" {
				t.Errorf("(-before +after):\n%s", diff)
			}
		})
	}
	if found, err := Object("no object"); err != nil || found != "no object" {
		t.Errorf("found %v, %v of what is no object", found, err)
	}
}

// Texts of two objects are one, and maps are not larger than what is in them.
func TestEqualTextsAreKeptOnce(t *testing.T) {
	made := func() *v1alpha1.ClientCertificate {
		c := &v1alpha1.ClientCertificate{ObjectMeta: metadata(), Status: v1alpha1.ClientCertificateStatus{Conditions: []metav1.Condition{{Message: string([]byte("a certificate is in place"))}}}}
		if _, err := Object(c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	a, b := made(), made()
	if unsafe.StringData(a.Status.Conditions[0].Message) != unsafe.StringData(b.Status.Conditions[0].Message) {
		t.Error("the messages of two objects are two texts")
	}
	g := gateway()
	before := runtime.DeepCopyJSON(g.Object)
	if _, err := Object(g); err != nil {
		t.Fatal(err)
	}
	if cmp.Equal(before, g.Object) {
		t.Error("the managed fields are still there")
	}
}
