package evaluator

import (
	"encoding/json"
	"fmt"
	"net/http"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
)

// Objects are those that decide.
type Objects struct {
	Definitions []*apiextensionsv1.CustomResourceDefinition
	Policies    []*admissionv1.ValidatingAdmissionPolicy
	Bindings    []*admissionv1.ValidatingAdmissionPolicyBinding
	Namespaces  []*corev1.Namespace
}

// Read takes those that decide out of a manifest, with the defaults of the API server.
func Read(manifest []*unstructured.Unstructured) (Objects, error) {
	var o Objects
	for _, object := range manifest {
		var err error
		switch object.GroupVersionKind().GroupKind().String() {
		case "CustomResourceDefinition.apiextensions.k8s.io":
			var d apiextensionsv1.CustomResourceDefinition
			err = typed(object, &d)
			establish(&d)
			o.Definitions = append(o.Definitions, &d)
		case "ValidatingAdmissionPolicy.admissionregistration.k8s.io":
			var p admissionv1.ValidatingAdmissionPolicy
			err = typed(object, &p)
			complete(p.Spec.MatchConstraints)
			o.Policies = append(o.Policies, &p)
		case "ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io":
			var b admissionv1.ValidatingAdmissionPolicyBinding
			err = typed(object, &b)
			complete(b.Spec.MatchResources)
			o.Bindings = append(o.Bindings, &b)
		case "Namespace":
			var n corev1.Namespace
			err = typed(object, &n)
			o.Namespaces = append(o.Namespaces, &n)
		}
		if err != nil {
			return Objects{}, fmt.Errorf("reading %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return o, nil
}

func typed(object *unstructured.Unstructured, into any) error {
	encoded, err := json.Marshal(object)
	if err != nil {
		return err
	}
	return json.Unmarshal(encoded, into)
}

// establish makes a definition one that is served, as the controllers of the API server do.
func establish(d *apiextensionsv1.CustomResourceDefinition) {
	apiserver.Scheme.Default(d)
	d.UID = types.UID(d.Name)
	d.Status.AcceptedNames = d.Spec.Names
	for _, condition := range []apiextensionsv1.CustomResourceDefinitionConditionType{apiextensionsv1.NamesAccepted, apiextensionsv1.Established} {
		d.Status.Conditions = append(d.Status.Conditions, apiextensionsv1.CustomResourceDefinitionCondition{Type: condition, Status: apiextensionsv1.ConditionTrue})
	}
}

// complete gives what is matched the API server's defaults; an absent selector would match nothing.
func complete(m *admissionv1.MatchResources) {
	if m == nil {
		return
	}
	if m.MatchPolicy == nil {
		m.MatchPolicy = ptr.To(admissionv1.Equivalent)
	}
	if m.NamespaceSelector == nil {
		m.NamespaceSelector = &metav1.LabelSelector{}
	}
	if m.ObjectSelector == nil {
		m.ObjectSelector = &metav1.LabelSelector{}
	}
	for _, rules := range [][]admissionv1.NamedRuleWithOperations{m.ResourceRules, m.ExcludeResourceRules} {
		for i := range rules {
			if rules[i].Scope == nil {
				rules[i].Scope = ptr.To(admissionv1.AllScopes)
			}
		}
	}
}

// kube are the objects that the policies' informers read.
func (o Objects) kube() []runtime.Object {
	var all []runtime.Object
	for _, p := range o.Policies {
		all = append(all, p)
	}
	for _, b := range o.Bindings {
		all = append(all, b)
	}
	for _, n := range o.Namespaces {
		all = append(all, n)
	}
	return all
}

func (o Objects) definitions() []runtime.Object {
	var all []runtime.Object
	for _, d := range o.Definitions {
		all = append(all, d)
	}
	return all
}

// mapper knows the kinds that are served.
func (o Objects) mapper() meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	for _, d := range o.Definitions {
		scope := meta.RESTScope(meta.RESTScopeRoot)
		if d.Spec.Scope == apiextensionsv1.NamespaceScoped {
			scope = meta.RESTScopeNamespace
		}
		for _, version := range d.Spec.Versions {
			at := schema.GroupVersion{Group: d.Spec.Group, Version: version.Name}
			mapper.AddSpecific(at.WithKind(d.Spec.Names.Kind), at.WithResource(d.Spec.Names.Plural), at.WithResource(d.Spec.Names.Singular), scope)
		}
	}
	return mapper
}

// namespaces takes new Namespaces as they come.
type namespaces struct{ kube kubernetes.Interface }

// ServeHTTP stores one.
func (n namespaces) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var wanted corev1.Namespace
	if err := json.NewDecoder(r.Body).Decode(&wanted); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if _, err := n.kube.CoreV1().Namespaces().Create(r.Context(), &wanted, metav1.CreateOptions{}); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	if err := json.NewEncoder(w).Encode(&wanted); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
