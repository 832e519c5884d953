package lean

import (
	"unique"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// Object is a transformation of a cache: what comes out means the same. Fields that are
// dropped are those that the API server manages and that no write of ours carries.
func Object(object any) (any, error) {
	switch o := object.(type) {
	case *unstructured.Unstructured:
		o.SetManagedFields(nil)
		o.Object = table(o.Object)
		return o, nil
	case *v1alpha1.ClientCertificate:
		one(&o.APIVersion, &o.Kind, &o.Spec.AuthorityRef.Name, &o.Status.AuthorityKeyID)
		conditions(o.Status.Conditions)
	case *v1alpha1.MutualTLSEndpoint:
		one(&o.APIVersion, &o.Kind)
		conditions(o.Status.Conditions)
	}
	if o, ok := object.(client.Object); ok {
		o.SetManagedFields(nil)
		o.SetNamespace(unique.Make(o.GetNamespace()).Value())
	}
	return object, nil
}

// one makes each text the one that is kept of its equals.
func one[T ~string](texts ...*T) {
	for _, text := range texts {
		*text = T(unique.Make(string(*text)).Value())
	}
}

func conditions(all []metav1.Condition) {
	for i := range all {
		one(&all[i].Type, &all[i].Reason, &all[i].Message)
		one(&all[i].Status)
	}
}

// words are the fields whose values are the same in many objects.
var words = map[string]bool{
	"apiVersion": true, "kind": true, "namespace": true, "creationTimestamp": true,
	"mode": true, "protocol": true, "minProtocolVersion": true,
}

// table is a copy that is as large as it needs to be.
func table(from map[string]any) map[string]any {
	to := make(map[string]any, len(from))
	for key, v := range from {
		one(&key)
		if text, ok := v.(string); ok && words[key] {
			one(&text)
			v = text
		}
		to[key] = value(v)
	}
	return to
}

func value(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return table(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = value(v[i])
		}
		return list
	}
	return v
}
