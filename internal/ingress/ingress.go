package ingress

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Ingress is one set of gateway pods the platform declares in its install settings.
type Ingress struct {
	// Name is how messages and status call this ingress.
	Name string
	// Namespace is where its pods run, and so where istiod reads their Secrets.
	Namespace string
	// Selector is a set of labels every pod of the ingress carries.
	Selector map[string]string
	// ProxyProtocol says that connections to its pods begin with a PROXY protocol header.
	ProxyProtocol bool
}

// String is the ingress as a message names it: its name, then where it is.
func (i Ingress) String() string {
	return fmt.Sprintf("%s (namespace %s, %s)", i.Name, i.Namespace, FormatSelector(i.Selector))
}

// FormatSelector renders labels in a stable order, as kubectl's -l takes them.
func FormatSelector(selector map[string]string) string {
	if len(selector) == 0 {
		return "any pod"
	}
	pairs := make([]string, 0, len(selector))
	for _, key := range slices.Sorted(maps.Keys(selector)) {
		pairs = append(pairs, key+"="+selector[key])
	}
	return strings.Join(pairs, ",")
}

// subsetOf reports whether every pair of selector is in labels. An empty selector
// is a subset of everything: a Gateway without one applies to every gateway pod.
func subsetOf(selector, labels map[string]string) bool {
	for key, value := range selector {
		if found, ok := labels[key]; !ok || found != value {
			return false
		}
	}
	return true
}
