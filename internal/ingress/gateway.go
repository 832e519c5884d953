package ingress

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/pkg/intent"
)

// Gateway is what of an Istio Gateway decides where it lands and which hosts it claims.
type Gateway struct {
	Namespace, Name string
	// Created orders Gateways. The zero time means not stored yet: younger than all.
	Created  time.Time
	Selector map[string]string
	Servers  []Server
}

// Server is one server of a Gateway.
type Server struct {
	Port uint32
	// Bind is the address the server asks for; servers on different addresses never meet.
	Bind string
	// TLS is whether the server has TLS settings of any mode, a redirect included:
	// istiod looks for duplicate hosts among exactly these.
	TLS bool
	// Anonymous is whether the server ends TLS and lets in who has no certificate: it asks nobody for one, or does not insist.
	Anonymous bool
	// Opaque is whether the protocol is TLS: what is decrypted is led on as bytes.
	Opaque bool
	// Hosts are canonical: no namespace, lower case, no trailing dot.
	Hosts []string
}

// Ref is the Gateway's namespace and name.
func (g *Gateway) Ref() types.NamespacedName {
	return types.NamespacedName{Namespace: g.Namespace, Name: g.Name}
}

// GatewayFrom takes the facts from a Gateway in its raw form. It is lenient: what
// has the wrong shape is left out, because a stored object that istiod would not
// read claims nothing, and the API server's schema is what refuses such objects.
func GatewayFrom(object map[string]any) Gateway {
	u := unstructured.Unstructured{Object: object}
	g := Gateway{Namespace: u.GetNamespace(), Name: u.GetName(), Created: u.GetCreationTimestamp().Time}
	g.Selector, _, _ = unstructured.NestedStringMap(object, "spec", "selector")
	spec, _ := object["spec"].(map[string]any)
	servers, _ := spec["servers"].([]any)
	for _, s := range servers {
		if server, ok := s.(map[string]any); ok {
			g.Servers = append(g.Servers, serverFrom(server))
		}
	}
	return g
}

func serverFrom(raw map[string]any) Server {
	port, _ := raw["port"].(map[string]any)
	bind, _ := raw["bind"].(string)
	protocol, _ := port["protocol"].(string)
	s := Server{Port: intent.PortNumber(port["number"]), Bind: bind, TLS: raw["tls"] != nil, Opaque: strings.EqualFold(protocol, "TLS")}
	tls, _ := raw["tls"].(map[string]any)
	mode, _ := tls["mode"].(string)
	s.Anonymous = tls != nil && !strings.EqualFold(protocol, "HTTP") && (mode == "" || mode == "SIMPLE" || mode == "OPTIONAL_MUTUAL")
	hosts, _ := raw["hosts"].([]any)
	for _, h := range hosts {
		if host, ok := h.(string); ok {
			s.Hosts = append(s.Hosts, intent.CanonicalHost(host))
		}
	}
	slices.Sort(s.Hosts)
	s.Hosts = slices.Compact(s.Hosts)
	return s
}

// older is Istio's order of Gateways: by creation, then by name, then by namespace.
// Creation times are whole seconds, so ties are ordinary. A Gateway that is not
// stored yet comes last whatever its name.
func older(a, b *Gateway) int {
	if a.Created.IsZero() != b.Created.IsZero() {
		if a.Created.IsZero() {
			return 1
		}
		return -1
	}
	return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.Name, b.Name), strings.Compare(a.Namespace, b.Namespace))
}
