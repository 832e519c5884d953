package install

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"sallyport.dev/sallyport/internal/ingress"
)

// defaultIngress is where both Istio's own chart and Kyma put their gateway.
func defaultIngress() ingress.Ingress {
	return ingress.Ingress{
		Name:      "default",
		Namespace: "istio-system",
		Selector:  map[string]string{"istio": "ingressgateway"},
	}
}

// parseIngresses takes no ingress at all as the default one, and an empty list as
// a mistake: an install that serves nothing looks healthy and protects nobody.
func parseIngresses(at *field.Path, given []fileIngress) ([]ingress.Ingress, field.ErrorList) {
	if given == nil {
		return []ingress.Ingress{defaultIngress()}, nil
	}
	if len(given) == 0 {
		return nil, field.ErrorList{field.Required(at, "must name at least one ingress; leave the key out for the default (istio-system, istio=ingressgateway)")}
	}
	var errs field.ErrorList
	names := map[string]bool{}
	parsed := make([]ingress.Ingress, 0, len(given))
	for i, g := range given {
		path := at.Index(i)
		errs = append(errs, ingressErrors(path, g)...)
		if names[g.Name] {
			errs = append(errs, field.Duplicate(path.Child("name"), g.Name))
		}
		names[g.Name] = true
		parsed = append(parsed, ingress.Ingress{Name: g.Name, Namespace: g.Namespace, Selector: g.Selector, ProxyProtocol: g.ProxyProtocol})
	}
	return parsed, errs
}

func ingressErrors(at *field.Path, g fileIngress) field.ErrorList {
	var errs field.ErrorList
	if msgs := validation.IsDNS1123Label(g.Name); len(msgs) > 0 {
		errs = append(errs, nameError(at.Child("name"), g.Name, msgs))
	}
	if msgs := validation.IsDNS1123Label(g.Namespace); len(msgs) > 0 {
		errs = append(errs, nameError(at.Child("namespace"), g.Namespace, msgs))
	}
	if len(g.Selector) == 0 {
		errs = append(errs, field.Required(at.Child("selector"), "the labels its gateway pods carry, such as istio: ingressgateway"))
	}
	for _, key := range slices.Sorted(maps.Keys(g.Selector)) {
		path := at.Child("selector").Key(key)
		if msgs := validation.IsQualifiedName(key); len(msgs) > 0 {
			errs = append(errs, field.Invalid(path, key, "not a label name: "+strings.Join(msgs, "; ")))
		}
		if msgs := validation.IsValidLabelValue(g.Selector[key]); len(msgs) > 0 {
			errs = append(errs, field.Invalid(path, g.Selector[key], "not a label value: "+strings.Join(msgs, "; ")))
		}
	}
	return errs
}

func nameError(at *field.Path, value string, msgs []string) *field.Error {
	if value == "" {
		return field.Required(at, "a DNS label")
	}
	return field.Invalid(at, value, strings.Join(msgs, "; "))
}

// AnnotationRules say which annotations of an APIRule its managed Gateway carries.
type AnnotationRules struct {
	rules []string
}

// Rules are the rules as they were given: exact keys, or `prefix/*`. Callers must
// not change the slice.
func (r AnnotationRules) Rules() []string { return r.rules }

// Match reports whether an annotation with this key is to be copied.
func (r AnnotationRules) Match(key string) bool {
	for _, rule := range r.rules {
		if prefix, ok := strings.CutSuffix(rule, "/*"); ok {
			if found, _, ok := strings.Cut(key, "/"); ok && found == prefix {
				return true
			}
		} else if key == rule {
			return true
		}
	}
	return false
}

// reserved are the prefixes that nobody may ask us to copy: our own keys are
// written by the agent alone, and these two belong to their writers.
var reserved = []string{"mtls.sallyport.dev", "kubectl.kubernetes.io", "gateway.kyma-project.io"}

func parseAnnotationRules(at *field.Path, given []string) (AnnotationRules, field.ErrorList) {
	var errs field.ErrorList
	for i, rule := range given {
		if err := annotationRuleError(at.Index(i), rule); err != nil {
			errs = append(errs, err)
		}
	}
	return AnnotationRules{rules: given}, errs
}

func annotationRuleError(at *field.Path, rule string) *field.Error {
	key := rule
	if prefix, ok := strings.CutSuffix(rule, "/*"); ok {
		key = prefix + "/any"
	}
	if msgs := validation.IsQualifiedName(strings.ToLower(key)); len(msgs) > 0 {
		return field.Invalid(at, rule, "must be an annotation key, or <prefix>/* for all keys of one prefix")
	}
	prefix, _, _ := strings.Cut(key, "/")
	if slices.Contains(reserved, strings.ToLower(prefix)) {
		return field.Invalid(at, rule, fmt.Sprintf("annotations under %s/ are not copied: they mean something on the object they were written on only", strings.ToLower(prefix)))
	}
	return nil
}
