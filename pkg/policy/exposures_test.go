package policy

import (
	"strings"
	"testing"

	"sallyport.dev/sallyport/api/v1alpha1"
)

func TestVirtualServicesOfTwoGateways(t *testing.T) {
	second := func(servers ...any) func(*World) {
		return all(joins(gatewayOf("pub", "edge", 20, servers...)), func(w *World) { w.VirtualServices[0].Spec["gateways"] = l{"edge", "mesh", "pub/edge"} })
	}
	simple := https("SIMPLE", "pub", "*.example.com")
	found := []string{"VirtualService shop/orders TwoGateways spec.gateways[2]"}
	check(t, map[string]row{
		"the second asks for no certificate":        {change: second(simple), want: found},
		"the second has no TLS":                     {change: second(http("*")), want: found},
		"the second lets some in without":           {change: second(https("OPTIONAL_MUTUAL", "pub", "*.example.com")), want: found},
		"the second is spelled as long ago":         {change: all(second(simple), func(w *World) { w.VirtualServices[0].Spec["gateways"] = l{"edge", "x", "edge.pub.svc.cluster.local"} }), want: found},
		"on another ingress":                        {change: all(second(simple), func(w *World) { w.Gateways[1].Places = [][]Place{{{"partners", "istio-partners", "8443"}}} }), want: found},
		"the second is named twice: told once":      {change: all(second(simple), func(w *World) { w.VirtualServices[0].Spec["gateways"] = l{"./edge", "edge", "pub/edge", "pub/edge"} }), want: found},
		"the second demands certificates too":       {change: second(https("MUTUAL", "pub", "*.example.com"))},
		"the second only redirects":                 {change: second(redirecting(http("*")))},
		"the second redirects those who come plain": {change: all(second(redirecting(http("*"))), func(w *World) { w.ForwardedProto = true }), want: found},
		"the second passes TLS on":                  {change: second(https("PASSTHROUGH", "", "*.example.com"))},
		"the second has other hosts":                {change: second(https("SIMPLE", "pub", "pub.example.com"))},
		"the second takes those of others":          {change: second(https("SIMPLE", "pub", "pub/*.example.com"))},
		"the second takes those of shop":            {change: second(https("SIMPLE", "pub", "shop/*.example.com")), want: found},
		"the second takes those of everybody":       {change: second(https("SIMPLE", "pub", "*/*.example.com")), want: found},
		"the first is spelled with a dot":           {change: all(second(simple), func(w *World) { w.VirtualServices[0].Spec["gateways"] = l{"./edge", "mesh", "pub/edge"} }), want: found},
		"the second is not there":                   {change: func(w *World) { w.VirtualServices[0].Spec["gateways"] = l{"edge", "pub/edge"} }},
		"the mesh is no Gateway":                    {change: func(w *World) { w.VirtualServices[0].Spec["gateways"] = l{"mesh", "edge"} }},
		"where optional is enough":                  {policy: requires(v1alpha1.ModeOptional, ""), change: second(simple)},
		"the first is excepted": {
			policy: func(s *v1alpha1.MutualTLSPolicySpec) {
				s.Exceptions = []v1alpha1.PolicyException{{Kind: v1alpha1.ObjectGateway, Namespace: "shop", Name: "edge"}}
			},
			change: second(simple),
		},
		"the routes are kept apart by match.gateways": {
			change: all(second(simple), func(w *World) {
				w.VirtualServices[0].Spec["http"] = l{
					m{"match": l{m{"gateways": l{"edge"}}}, "route": l{to("orders", 8080)}},
					m{"match": l{m{"gateways": l{"pub/edge"}}}, "route": l{to("welcome", 8080)}},
				}
			}),
		},
		"match.gateways names both": {
			change: all(second(simple), func(w *World) {
				w.VirtualServices[0].Spec["http"] = l{m{"match": l{m{"gateways": l{"edge", "pub/edge"}}}, "route": l{to("orders", 8080)}}}
			}),
			want: found,
		},
		"the routes are kept apart by port: port 80 redirects": {
			change: all(second(http("*")), func(w *World) {
				w.VirtualServices[0].Spec["http"] = l{
					m{"match": l{m{"port": int64(443)}}, "route": l{to("orders", 8080)}},
					m{"match": l{m{"port": int64(80)}}, "redirect": m{"scheme": "https"}},
				}
			}),
		},
		"routes of two ports lead to the same": {
			change: all(second(http("*")), func(w *World) {
				w.VirtualServices[0].Spec["http"] = l{
					m{"match": l{m{"port": int64(443)}}, "route": l{to("orders", 8080)}},
					m{"match": l{m{"port": int64(80)}}, "route": l{to("orders", 8080)}},
				}
			}),
			want: found,
		},
		"the second Gateway is one of the policy: told once": {
			change: all(joins(gatewayOf("shop", "other", 20, simple)), func(w *World) { w.VirtualServices[0].Spec["gateways"] = l{"edge", "mesh", "other"} }),
			want:   found,
		},
		"to the same Service by another port": {
			change: all(second(simple), func(w *World) {
				w.VirtualServices[0].Spec["http"] = l{
					m{"match": l{m{"gateways": l{"edge"}}}, "route": l{to("orders", 8080)}}, m{"match": l{m{"gateways": l{"pub/edge"}}}, "route": l{to("orders", 9090)}},
				}
			}),
		},
		"to the same Service by no port": {
			change: all(second(simple), func(w *World) {
				w.VirtualServices[0].Spec["http"] = l{
					m{"match": l{m{"gateways": l{"edge"}}}, "route": l{to("orders", 8080)}}, m{"match": l{m{"gateways": l{"pub/edge"}}}, "route": l{to("orders", 0)}},
				}
			}),
			want: found,
		},
		"to the same Service by a port, and no port behind mutual TLS": {
			change: all(second(simple), func(w *World) {
				w.VirtualServices[0].Spec["http"] = l{
					m{"match": l{m{"gateways": l{"edge"}}}, "route": l{to("orders", 0)}}, m{"match": l{m{"gateways": l{"pub/edge"}}}, "route": l{to("orders", 9090)}},
				}
			}),
			want: found,
		},
		"a redirect of everything comes first": {
			change: all(second(simple), func(w *World) {
				w.VirtualServices[0].Spec["http"] = l{
					m{"match": l{m{"gateways": l{"edge"}}}, "route": l{to("orders", 8080)}},
					m{"redirect": m{"scheme": "https"}},
					m{"route": l{to("orders", 8080)}},
				}
			}),
		},
		"another namespace's gateways do not see it": {
			change: all(second(simple), func(w *World) {
				w.VirtualServices[0].Spec["exportTo"] = l{"istio-system"}
				w.Gateways[1].Places = [][]Place{{{"partners", "istio-partners", "8443"}}}
			}),
		},
	})
}

func publicly() Gateway {
	return gatewayOf("pub", "edge", 20, https("SIMPLE", "pub", "*.pub.example.com"))
}

func TestServicesThatAreExposedTwice(t *testing.T) {
	found := []string{"VirtualService shop/orders SecondExposure spec.http[0].route[0].destination.host"}
	second := func(change func(*VirtualService)) func(*World) {
		v := vs("pub", "way", l{"edge"}, l{"a.pub.example.com"}, "orders.shop.svc.cluster.local", 8080)
		if change != nil {
			change(&v)
		}
		return all(joins(publicly()), routes(v))
	}
	destination := func(host string, port int) func(*VirtualService) {
		return func(v *VirtualService) { v.Spec["http"] = l{m{"route": l{to(host, port)}}} }
	}
	service := func(s Service) func(*World) {
		return func(w *World) { w.Services = append(w.Services, s) }
	}
	ports := Service{Namespace: "shop", Name: "orders", Ports: []ServicePort{{8080, "web"}, {9090, "metrics"}, {80, "web"}}}
	check(t, map[string]row{
		"through a Gateway that asks for no certificate": {change: second(nil), want: found},
		"by a short name in the Service's namespace": {
			change: all(joins(publicly()), routes(vs("shop", "way", l{"pub/edge"}, l{"a.pub.example.com"}, "orders", 8080))), want: found,
		},
		"through a Gateway that demands certificates":    {change: all(second(nil), func(w *World) { object(object(servers(&w.Gateways[1])[0])["tls"])["mode"] = "MUTUAL" })},
		"through a Gateway without TLS":                  {change: all(second(nil), func(w *World) { w.Gateways[1] = gatewayOf("pub", "edge", 20, http("*")) }), want: found},
		"through one that only redirects":                {change: all(second(nil), func(w *World) { w.Gateways[1] = gatewayOf("pub", "edge", 20, redirecting(http("*"))) })},
		"through one that passes TLS on":                 {change: all(second(nil), func(w *World) { object(object(servers(&w.Gateways[1])[0])["tls"])["mode"] = "PASSTHROUGH" })},
		"through the mesh only":                          {change: second(func(v *VirtualService) { v.Spec["gateways"] = l{"mesh"} })},
		"through no Gateway at all":                      {change: second(func(v *VirtualService) { delete(v.Spec, "gateways") })},
		"through a Gateway with other hosts":             {change: second(func(v *VirtualService) { v.Spec["hosts"] = l{"a.example.org"} })},
		"by a VirtualService that nobody sees":           {change: second(func(v *VirtualService) { v.Spec["exportTo"] = l{"~"} })},
		"by one that nobody sees, whatever else it says": {change: all(second(func(v *VirtualService) { v.Spec["exportTo"] = l{"~", "istio-system"} }))},
		"by one of the namespace of the gateway's pods, and told there alone": {
			change: all(joins(publicly()), routes(altered(vs("istio-system", "way", l{"pub/edge"}, l{"a.pub.example.com"}, "orders.shop.svc.cluster.local", 8080), "exportTo", l{"."}))), want: found,
		},
		"by one of which its own namespace alone is told": {change: second(func(v *VirtualService) { v.Spec["exportTo"] = l{"."} })},
		"another Service of that name":                    {change: second(destination("orders", 8080))},
		"another Service":                                 {change: second(destination("welcome.shop.svc.cluster.local", 8080))},
		"a name that is neither short nor whole":          {change: second(destination("orders.shop", 8080))},
		"by a second destination": {change: second(func(v *VirtualService) {
			v.Spec["http"] = l{m{"route": l{to("a", 1), to("orders.shop.svc.cluster.local", 8080)}}}
		}), want: found},
		"by a second route": {change: second(func(v *VirtualService) {
			v.Spec["http"] = l{m{"match": l{m{"uri": m{"prefix": "/a"}}}, "route": l{to("a", 1)}}, m{"route": l{to("orders.shop.svc.cluster.local", 8080)}}}
		}), want: found},
		"another port": {change: second(destination("orders.shop.svc.cluster.local", 9090))},
		"another port of which the Service is known": {change: all(second(destination("orders.shop.svc.cluster.local", 9090)), service(ports))},
		"another port that is the same at the pods":  {change: all(second(destination("orders.shop.svc.cluster.local", 80)), service(ports)), want: found},
		"no port: every one":                         {change: second(destination("orders.shop.svc.cluster.local", 0)), want: found},
		"no port behind mutual TLS: every one":       {change: all(second(nil), func(w *World) { destination("orders", 0)(&w.VirtualServices[0]) }), want: found},
		"no port, and the Service has one":           {change: all(second(destination("orders.shop.svc.cluster.local", 0)), service(Service{Namespace: "shop", Name: "orders", Ports: []ServicePort{{9999, ""}}}))},
		"by an ExternalName":                         {change: all(second(destination("alias", 8080)), service(Service{Namespace: "pub", Name: "alias", ExternalName: "orders.shop.svc.cluster.local"})), want: found},
		"by an ExternalName of another":              {change: all(second(destination("alias", 8080)), service(Service{Namespace: "pub", Name: "alias", ExternalName: "example.org"}))},
		"by ExternalNames in a circle":               {change: all(second(destination("alias", 8080)), service(Service{Namespace: "pub", Name: "alias", ExternalName: "alias.pub.svc.cluster.local"}))},
		"by delegation": {
			change: all(second(func(v *VirtualService) { v.Spec["http"] = l{m{"delegate": m{"name": "part", "namespace": "shop"}}} }),
				routes(VirtualService{Namespace: "shop", Name: "part", Spec: m{"http": l{m{"route": l{to("orders", 8080)}}}}})),
			want: found,
		},
		"by delegation to one that has hosts, which Istio leaves out": {
			change: all(second(func(v *VirtualService) { v.Spec["http"] = l{m{"delegate": m{"name": "part", "namespace": "shop"}}} }),
				routes(VirtualService{Namespace: "shop", Name: "part", Spec: m{"hosts": l{"x.example.org"}, "http": l{m{"route": l{to("orders", 8080)}}}}})),
		},
		"by bytes": {
			change: all(second(func(v *VirtualService) {
				delete(v.Spec, "http")
				v.Spec["tcp"] = l{m{"route": l{to("orders.shop.svc.cluster.local", 8080)}}}
			}), func(w *World) { object(object(servers(&w.Gateways[1])[0])["port"])["protocol"] = "TLS" }),
			want: found,
		},
		"by bytes, at a server for requests": {
			change: second(func(v *VirtualService) {
				delete(v.Spec, "http")
				v.Spec["tcp"] = l{m{"route": l{to("orders.shop.svc.cluster.local", 8080)}}}
			}),
		},
		"by spec.tls, with which the workload ends TLS": {
			change: second(func(v *VirtualService) {
				delete(v.Spec, "http")
				v.Spec["tls"] = l{m{"route": l{to("orders.shop.svc.cluster.local", 8080)}}}
			}),
		},
		"by another server of the same Gateway": {
			change: all(serves(with(https("SIMPLE", "shop.edge.mtls", "open.example.com"), "name", "b")), routes(vs("shop", "way", l{"edge"}, l{"open.example.com"}, "orders", 8080))),
			want:   []string{"Gateway shop/edge NotMutual spec.servers[1].tls.mode", found[0]},
		},
		"by another host of the same VirtualService": {
			change: all(serves(http("open.example.com")), func(w *World) { w.VirtualServices[0].Spec["hosts"] = l{"shop.example.com", "open.example.com"} }),
			want:   found,
		},
		"the same, where plain HTTP is forbidden and Judge tells": {
			policy: requires(v1alpha1.ModeMutual, v1alpha1.PlainHTTPForbidden),
			change: all(serves(http("open.example.com")), func(w *World) { w.VirtualServices[0].Spec["hosts"] = l{"shop.example.com", "open.example.com"} }),
		},
		"where optional is enough": {policy: requires(v1alpha1.ModeOptional, ""), change: second(nil)},
		"behind a Gateway that the policy is not about": {
			policy: func(s *v1alpha1.MutualTLSPolicySpec) { s.Match.Namespaces = []string{"else"} }, change: second(nil),
		},
	})
}

func TestASecondExposureNamesTheOtherWay(t *testing.T) {
	itself := guarded()
	serves(http("open.example.com"))(&itself)
	itself.VirtualServices[0].Spec["hosts"] = l{"shop.example.com", "open.example.com"}
	another := guarded()
	all(joins(publicly()), routes(vs("pub", "way", l{"edge"}, l{"a.pub.example.com"}, "orders.shop.svc.cluster.local", 8080)))(&another)
	for want, w := range map[string]World{
		"and another of its hosts leads to it through spec.servers[1] of Gateway shop/edge, which has no TLS":               itself,
		"and VirtualService pub/way leads to it through spec.servers[0] of Gateway pub/edge, which asks for no certificate": another,
	} {
		if found := demands(nil).Findings(NewSnapshot(w)); len(found) != 1 || !strings.Contains(found[0].Message, want) {
			t.Errorf("%v, expected %s", found, want)
		}
	}
}
