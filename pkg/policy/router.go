package policy

import (
	"fmt"
	"slices"
	"strings"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/intent"
)

// router is what leads requests on from Gateways to Services: a VirtualService, or an APIRule of which none was made yet.
type router struct {
	kind            v1alpha1.ViolatingKind
	namespace, name string
	// apirule is the index of the APIRule that it is, or was made of; -1 if there is none.
	apirule int
	// gateways are those that it names, <namespace>/<name> each.
	gateways []string
	// hosts in canonical form.
	hosts []string
	// exportTo are the namespaces whose gateways see it, as they are spelled; empty for all.
	exportTo []string
	routes   []route
	// narrow is whether a route goes by the port of the Gateway.
	narrow bool
	// exposures of it in the snapshot: from and until the index before to.
	from, to int
}

// route is one item of spec.http or spec.tcp.
type route struct {
	// bytes is whether it is of spec.tcp.
	bytes bool
	// only is where it holds; empty for everywhere, and then no later one of its kind is reached.
	only []only
	ends []end
}

// only is one way in to which a route is narrowed.
type only struct {
	gateway string // empty for each
	port    uint32 // 0 for each
}

// end is one destination of a route.
type end struct {
	target
	at at
}

// at is where in a router's spec a destination stands.
type at struct {
	list        string
	index, item int
}

func (a at) String() string {
	switch a.list {
	case "service":
		return "spec.service.name"
	case "rules":
		return fmt.Sprintf("spec.rules[%d].service.name", a.index)
	case "delegate":
		return fmt.Sprintf("spec.http[%d].delegate", a.index)
	}
	return fmt.Sprintf("spec.%s[%d].route[%d].destination.host", a.list, a.index, a.item)
}

// holds reports whether a route is taken by what comes in on a port of a Gateway. What else it matches is left
// to callers: they choose it (istio/istio:pilot/pkg/networking/core/route/route.go, TranslateRoute).
func (r *route) holds(gateway string, port uint32) bool {
	return len(r.only) == 0 || slices.ContainsFunc(r.only, func(o only) bool {
		return (o.gateway == "" || o.gateway == gateway) && (o.port == 0 || o.port == port)
	})
}

// kindVirtualService is the kind of an object that routes through a Gateway.
const kindVirtualService v1alpha1.ViolatingKind = "VirtualService"

// virtualServices reads routers from VirtualServices.
type virtualServices struct {
	directory
	byKey map[string]VirtualService
	// delegated are the ends of VirtualServices that others delegate to, as far as they were asked for.
	delegated map[string][]target
}

// router reads a VirtualService. One without hosts is only ever a part of others.
func (v *virtualServices) router(vs VirtualService) router {
	r := router{kind: kindVirtualService, namespace: vs.Namespace, name: vs.Name, apirule: -1}
	for _, g := range list(vs.Spec["gateways"]) {
		r.gateways = append(r.gateways, gatewayKey(text(g), vs.Namespace))
	}
	for _, h := range list(vs.Spec["hosts"]) {
		host := canonical(text(h))
		if host != "*" && !strings.Contains(host, ".") {
			host += "." + vs.Namespace + ".svc.cluster.local"
		}
		r.hosts = append(r.hosts, host)
	}
	for _, e := range list(vs.Spec["exportTo"]) {
		r.exportTo = append(r.exportTo, text(e))
	}
	for i, item := range list(vs.Spec["http"]) {
		r.add(v.route(object(item), vs.Namespace, "http", i))
	}
	for i, item := range list(vs.Spec["tcp"]) {
		r.add(v.route(object(item), vs.Namespace, "tcp", i))
	}
	return r
}

func (r *router) add(added route) {
	r.routes = append(r.routes, added)
	r.narrow = r.narrow || slices.ContainsFunc(added.only, func(o only) bool { return o.port != 0 })
}

// route reads one item of spec.http or spec.tcp. Those of spec.tls are no concern: they lead TLS on to a workload
// that ends it.
func (v *virtualServices) route(item map[string]any, namespace, kind string, index int) route {
	r := route{bytes: kind == "tcp"}
	for _, m := range list(item["match"]) {
		port := intent.PortNumber(object(m)["port"])
		names := list(object(m)["gateways"])
		for _, name := range names {
			r.only = append(r.only, only{gatewayKey(text(name), namespace), port})
		}
		if len(names) == 0 {
			r.only = append(r.only, only{port: port})
		}
	}
	for i, d := range list(item["route"]) {
		destination := object(object(d)["destination"])
		if host := text(destination["host"]); host != "" {
			r.ends = append(r.ends, end{v.target(host, namespace, intent.PortNumber(object(destination["port"])["number"])), at{kind, index, i}})
		}
	}
	if delegate := object(item["delegate"]); kind == "http" && delegate != nil {
		in := text(delegate["namespace"])
		if in == "" {
			in = namespace
		}
		for _, t := range v.delegate(in + "/" + text(delegate["name"])) {
			r.ends = append(r.ends, end{t, at{list: "delegate", index: index}})
		}
	}
	return r
}

// delegate are the ends of a VirtualService that has no hosts of its own. It cannot delegate further
// (istio/istio:pilot/pkg/model/virtualservice.go).
func (v *virtualServices) delegate(key string) []target {
	if ends, done := v.delegated[key]; done {
		return ends
	}
	var ends []target
	if vs, ok := v.byKey[key]; ok && len(list(vs.Spec["hosts"])) == 0 {
		seen := map[target]bool{}
		for i, item := range list(vs.Spec["http"]) {
			routes := map[string]any{"route": object(item)["route"]}
			for _, e := range v.route(routes, vs.Namespace, "http", i).ends {
				if !seen[e.target] {
					seen[e.target] = true
					ends = append(ends, e.target)
				}
			}
		}
	}
	v.delegated[key] = ends
	return ends
}

// gatewayKey is <namespace>/<name> of a Gateway that somebody names, in any spelling that Istio and Kyma take, or
// mesh (istio/istio:pilot/pkg/model/config.go, resolveGatewayName).
func gatewayKey(spelled, namespace string) string {
	if before, after, found := strings.Cut(spelled, "/"); found {
		if before == "." {
			return namespace + "/" + after
		}
		return spelled
	}
	if name, rest, found := strings.Cut(spelled, "."); found {
		in, _, _ := strings.Cut(rest, ".")
		return in + "/" + name
	}
	if spelled == "mesh" {
		return spelled
	}
	return namespace + "/" + spelled
}

// gatewayOfAPIRule is the Gateway that an APIRule names, or that is made for it; empty if Kyma makes one.
func gatewayOfAPIRule(o *Object) string {
	if o.ownGateway() {
		return o.Namespace + "/" + o.Name + "-mtls"
	}
	if spelled := text(o.Spec["gateway"]); spelled != "" {
		return gatewayKey(spelled, o.Namespace)
	}
	return ""
}

// routerOfAPIRule reads what Kyma will make of an APIRule. A short host gets the domain of the Gateway, which is its
// one wildcard (kyma-project/api-gateway:internal/processing).
func routerOfAPIRule(o *Object, index int, d directory, gateways map[string]int, all []gateway) router {
	r := router{kind: v1alpha1.ViolatingKind(intent.KindAPIRule), namespace: o.Namespace, name: o.Name, apirule: index}
	g, known := gateways[gatewayOfAPIRule(o)]
	if !known {
		return r
	}
	r.gateways = []string{all[g].key}
	spelled := list(o.Spec["hosts"])
	if host := o.Spec["host"]; host != nil {
		spelled = []any{host}
	}
	for _, h := range spelled {
		host := canonical(text(h))
		if host != "" && !strings.Contains(host, ".") {
			host += strings.TrimPrefix(all[g].wildcard(), "*")
		}
		r.hosts = append(r.hosts, host)
	}
	whole := object(o.Spec["service"])
	rules := list(o.Spec["rules"])
	for i, rule := range rules {
		service, place := whole, at{list: "service"}
		if own := object(object(rule)["service"]); own != nil {
			service, place = own, at{list: "rules", index: i}
		}
		if name := text(service["name"]); name != "" {
			namespace := o.Namespace
			for _, in := range []string{text(service["namespace"]), text(whole["namespace"])} {
				if in != "" {
					namespace = in
					break
				}
			}
			r.routes = append(r.routes, route{only: []only{{}}, ends: []end{{d.target(name, namespace, intent.PortNumber(service["port"])), place}}})
		}
	}
	return r
}
