package policy

import (
	"fmt"
	"strings"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/intent"
)

// router finds the ways around what one VirtualService or APIRule is guarded by. It is guarded where a server that
// demands certificates leads to it, and where the policy is about the Gateway or about the APIRule.
func (f *finder) router(r *router) {
	if r.apirule >= 0 && f.excepted[r.apirule] {
		return
	}
	f.weakGateway(r)
	if f.required != mutual {
		return
	}
	var guards guards
	for i := r.from; i < r.to; i++ {
		if e := &f.exposures[i]; e.strength == mutual && f.guarded(e, r) {
			guards.add(e)
		}
	}
	if guards.first == nil {
		return
	}
	told := map[string]bool{}
	for i := r.from; i < r.to; i++ {
		switch e := &f.exposures[i]; {
		case e.strength == mutual && f.guarded(e, r):
			f.secondExposure(r, e, told)
		case e.strength.isWayIn():
			f.twoGateways(r, e, &guards, told)
		}
	}
}

func (f *finder) guarded(e *exposure, r *router) bool {
	return f.coversGateway[e.gateway] || r.apirule >= 0 && f.coversAPIRule[r.apirule]
}

// guards are the Gateways of a router that demand certificates for a target.
type guards struct {
	// first is one of them. A target without a port stands for every port of its Service.
	first map[target]int
	// all are all of them.
	all map[guard]bool
}

type guard struct {
	target
	gateway int
}

// anyPort is no port that a pod could have.
const anyPort = "*"

func (g *guards) add(e *exposure) {
	if g.first == nil {
		g.first, g.all = map[target]int{}, map[guard]bool{}
	}
	for _, t := range []target{e.target, {service: e.service, port: anyPort}} {
		if _, ok := g.first[t]; !ok {
			g.first[t] = e.gateway
		}
		g.all[guard{t, e.gateway}] = true
	}
}

// beside is a Gateway that guards what an exposure of another one leads to; false if there is none, or if that one
// guards it as well: then it is not the Gateway that lets others in, but one of its servers.
func (g *guards) beside(e *exposure) (int, bool) {
	asked := []target{e.target, {service: e.service}}
	if e.port == "" {
		asked = []target{{service: e.service, port: anyPort}}
	}
	first, found := 0, false
	for _, t := range asked {
		if g.all[guard{t, e.gateway}] {
			return 0, false
		}
		if one, ok := g.first[t]; ok && !found {
			first, found = one, true
		}
	}
	return first, found
}

// twoGateways: a VirtualService is bound to a second Gateway that lets others in.
func (f *finder) twoGateways(r *router, e *exposure, guards *guards, told map[string]bool) {
	first, ok := guards.beside(e)
	field := fmt.Sprintf("spec.gateways[%d]", r.entry(f.gateways[e.gateway].key))
	if !ok || told[field] {
		return
	}
	told[field] = true
	f.found = append(f.found, Finding{r.kind, r.namespace, r.name, ReasonTwoGateways, field, said(
		"names Gateway %s beside Gateway %s, which demands certificates, and spec.servers[%d] there %s: the same routes are open to everybody; bind the VirtualService to %s alone",
		shown(f.gateways[e.gateway].key), shown(f.gateways[first].key), e.server, e.strength, shown(f.gateways[first].key))})
}

// entry is the index at which a router names a Gateway.
func (r *router) entry(key string) int {
	for i, g := range r.gateways {
		if g == key {
			return i
		}
	}
	return 0
}

// secondExposure: a Service behind mutual TLS can be reached without, through another VirtualService or another host
// of the same one.
func (f *finder) secondExposure(r *router, e *exposure, told map[string]bool) {
	o, covered := f.ownerOfRoute(r)
	field := e.at.String()
	if covered && r.kind == kindVirtualService {
		field = serviceField(&f.apirules[r.apirule], e.service)
	}
	if told[field] {
		return
	}
	other := f.wayAround(e, func(way *exposure) bool {
		if way.router != e.router {
			return true
		}
		return way.gateway == e.gateway && !f.isTold(way)
	})
	if other == nil {
		return
	}
	told[field] = true
	f.found = append(f.found, Finding{o.kind, o.namespace, o.name, ReasonSecondExposure, field, said(
		"Service %s is behind mutual TLS at Gateway %s, and %s leads to it through spec.servers[%d] of Gateway %s, which %s: whoever takes that way needs no certificate; take it off there, or make that Gateway mutual",
		shown(e.service), shown(f.gateways[e.gateway].key), f.nameOf(&f.routers[other.router], e.router == other.router), other.server, shown(f.gateways[other.gateway].key), other.strength)})
}

// isTold reports whether a way in through the same Gateway is told of there, by what its servers share or by Judge; or
// at the APIRule, if the policy is not about the Gateway.
func (f *finder) isTold(way *exposure) bool {
	if !f.coversGateway[way.gateway] {
		return true
	}
	g := &f.gateways[way.gateway]
	if f.policy.spec.Require.PlainHTTP == v1alpha1.PlainHTTPForbidden && way.strength == plain {
		return true
	}
	return g.besides[way.server] == mutual
}

type named struct {
	kind            v1alpha1.ViolatingKind
	namespace, name string
}

// ownerOfRoute is the object that a finding about a route is told of: the APIRule that it was made of, if the policy
// is about that; else the VirtualService.
func (f *finder) ownerOfRoute(r *router) (o named, covered bool) {
	if r.apirule >= 0 && f.coversAPIRule[r.apirule] {
		rule := &f.apirules[r.apirule]
		return named{v1alpha1.ViolatingKind(intent.KindAPIRule), rule.Namespace, rule.Name}, true
	}
	return named{r.kind, r.namespace, r.name}, false
}

func (f *finder) nameOf(r *router, same bool) string {
	if same {
		return "another of its hosts"
	}
	if r.apirule >= 0 {
		return "APIRule " + shown(f.apirules[r.apirule].Namespace+"/"+f.apirules[r.apirule].Name)
	}
	return string(r.kind) + " " + shown(r.namespace+"/"+r.name)
}

// serviceField is where an APIRule names a Service.
func serviceField(o *Object, key string) string {
	_, name, _ := strings.Cut(key, "/")
	for i, rule := range list(o.Spec["rules"]) {
		if text(object(object(rule)["service"])["name"]) == name {
			return at{list: "rules", index: i}.String()
		}
	}
	return at{list: "service"}.String()
}

// weakGateway: an APIRule that the policy is about is led to by a server that asks less, of a Gateway that it is not
// about. One that it is about carries the finding itself.
func (f *finder) weakGateway(r *router) {
	if r.apirule < 0 || !f.coversAPIRule[r.apirule] || f.policy.mode(f.apirules[r.apirule]) != nil {
		return
	}
	for i := r.from; i < r.to; i++ {
		e := &f.exposures[i]
		if !e.strength.isWayIn() || e.strength >= f.required || f.coversGateway[e.gateway] {
			continue
		}
		reason := ReasonNotMutual
		if e.strength == plain {
			reason = ReasonPlainHTTPRoute
		}
		f.add(&f.apirules[r.apirule], reason, "spec.gateway", "spec.servers[%d] of Gateway %s leads here and %s, and the policy demands %s: ask whoever owns the Gateway to opt it in, or leave spec.gateway out and one is made",
			e.server, shown(f.gateways[e.gateway].key), e.strength, f.policy.spec.Require.Mode)
		return
	}
}
