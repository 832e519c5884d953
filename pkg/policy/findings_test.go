package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/intent"
)

// m and l keep what is stored readable.
type (
	m = map[string]any
	l = []any
)

// https is a server with TLS on port 443.
func https(mode, credential string, hosts ...any) m {
	return m{"port": m{"number": int64(443), "protocol": "HTTPS"}, "hosts": hosts, "tls": m{"mode": mode, "credentialName": credential}}
}

// http is a server without TLS on port 80.
func http(hosts ...any) m {
	return m{"port": m{"number": int64(80), "protocol": "HTTP"}, "hosts": hosts}
}

func with(o m, key string, value any) m {
	o[key] = value
	return o
}

func redirecting(s m) m { return with(s, "tls", m{"httpsRedirect": true}) }

// gatewayOf is a Gateway of the public ingress, stored at a second, not opted in.
func gatewayOf(namespace, name string, created int, servers ...any) Gateway {
	g := Gateway{
		Object:  Object{Kind: intent.KindGateway, Namespace: namespace, Name: name, Spec: m{"servers": servers}},
		Created: time.Unix(int64(created), 0),
	}
	for _, s := range servers {
		port := fmt.Sprint(portNumber(object(object(s)["port"])["number"]) + 8000)
		g.Places = append(g.Places, []Place{{"public", "istio-system", port}})
	}
	return g
}

func optedIn(g Gateway, mode intent.Mode) Gateway {
	g.Annotations = map[string]string{intent.KeyMode: string(mode)}
	return g
}

func servers(g *Gateway) []any { return g.Spec["servers"].([]any) }

// vs is a VirtualService with one route.
func vs(namespace, name string, gateways l, hosts l, destination string, port int) VirtualService {
	return VirtualService{Namespace: namespace, Name: name, Spec: m{"gateways": gateways, "hosts": hosts, "http": l{m{"route": l{to(destination, port)}}}}}
}

func altered(v VirtualService, key string, value any) VirtualService {
	v.Spec[key] = value
	return v
}

func to(destination string, port int) m {
	d := m{"host": destination}
	if port != 0 {
		d["port"] = m{"number": int64(port)}
	}
	return m{"destination": d}
}

func apirule(namespace, name, gateway string, hosts l, service string, port int) Object {
	return Object{Kind: intent.KindAPIRule, Namespace: namespace, Name: name, Spec: m{
		"gateway": gateway, "hosts": hosts, "service": m{"name": service, "port": int64(port)}, "rules": l{m{"path": "/*"}},
	}}
}

// guarded is a world in which nothing is wrong: Gateway shop/edge demands certificates for shop.example.com, and
// VirtualService shop/orders leads from there to Service shop/orders.
func guarded() World {
	return World{
		Gateways:        []Gateway{optedIn(gatewayOf("shop", "edge", 10, https("MUTUAL", "shop.edge.mtls", "shop.example.com")), intent.ModeMutual)},
		VirtualServices: []VirtualService{vs("shop", "orders", l{"edge"}, l{"shop.example.com"}, "orders", 8080)},
		Secrets: []Secret{
			{Namespace: "istio-system", Name: "shop.edge.mtls", GatewayNamespace: "shop", GatewayName: "edge"},
			{Namespace: "istio-system", Name: "shop.edge.mtls-cacert", GatewayNamespace: "shop", GatewayName: "edge"},
		},
	}
}

// demands is a policy about namespace shop.
func demands(change func(*v1alpha1.MutualTLSPolicySpec)) Policy {
	p := &v1alpha1.MutualTLSPolicy{Spec: v1alpha1.MutualTLSPolicySpec{
		Match: v1alpha1.PolicyMatch{Namespaces: []string{"shop"}}, Require: v1alpha1.PolicyRequirements{Mode: v1alpha1.ModeMutual}, Action: v1alpha1.ActionDeny,
	}}
	if change != nil {
		change(&p.Spec)
	}
	return New(p, "")
}

func requires(mode v1alpha1.EndpointMode, plainHTTP v1alpha1.PlainHTTP) func(*v1alpha1.MutualTLSPolicySpec) {
	return func(s *v1alpha1.MutualTLSPolicySpec) {
		s.Require = v1alpha1.PolicyRequirements{Mode: mode, PlainHTTP: plainHTTP}
	}
}

// row is a world, a policy, and what is found.
type row struct {
	policy func(*v1alpha1.MutualTLSPolicySpec)
	change func(*World)
	want   []string
}

func check(t *testing.T, rows map[string]row) {
	t.Helper()
	for sentence, r := range rows {
		t.Run(sentence, func(t *testing.T) {
			w := guarded()
			if r.change != nil {
				r.change(&w)
			}
			var got []string
			for _, f := range demands(r.policy).Findings(NewSnapshot(w)) {
				got = append(got, fmt.Sprintf("%s %s/%s %s %s", f.Kind, f.Namespace, f.Name, f.Reason, f.Field))
				if len(f.Message) > 1024 || len(f.Message) < 40 {
					t.Errorf("%d bytes: %s", len(f.Message), f.Message)
				}
				t.Log(f)
			}
			if diff := cmp.Diff(r.want, got); diff != "" {
				t.Errorf("found (-want +got):\n%s", diff)
			}
		})
	}
}

// joins adds Gateways to those that are stored.
func joins(gateways ...Gateway) func(*World) {
	return func(w *World) { w.Gateways = append(w.Gateways, gateways...) }
}

// serves adds servers to Gateway shop/edge.
func serves(added ...any) func(*World) {
	return func(w *World) {
		w.Gateways[0] = optedIn(gatewayOf("shop", "edge", 10, append(servers(&w.Gateways[0]), added...)...), intent.ModeMutual)
	}
}

// all does one change after the other.
func all(changes ...func(*World)) func(*World) {
	return func(w *World) {
		for _, change := range changes {
			change(w)
		}
	}
}

func routes(added ...VirtualService) func(*World) {
	return func(w *World) { w.VirtualServices = append(w.VirtualServices, added...) }
}

// alters changes the tls of the only server of Gateway shop/edge.
func alters(key string, value any) func(*World) {
	return func(w *World) { object(object(servers(&w.Gateways[0])[0])["tls"])[key] = value }
}

func TestNothingIsFoundWhereNothingIsWrong(t *testing.T) {
	check(t, map[string]row{
		"a Gateway that demands certificates, and what it leads to": {},
		"the same, where an empty world is asked about":             {change: func(w *World) { *w = World{} }},
		"a weak Gateway that the policy is not about":               {change: joins(gatewayOf("pub", "edge", 1, https("SIMPLE", "pub", "pub.example.com"), http("pub.example.com")))},
		"an excepted Gateway": {
			policy: func(s *v1alpha1.MutualTLSPolicySpec) {
				s.Exceptions = []v1alpha1.PolicyException{{Kind: v1alpha1.ObjectGateway, Namespace: "shop", Name: "edge"}}
			},
			change: all(alters("mode", "SIMPLE"), alters("credentialName", "by-hand"), serves(http("shop.example.com"))),
		},
		"a policy that demands nothing of mutual TLS": {
			policy: requires("", v1alpha1.PlainHTTPForbidden),
			change: all(alters("mode", "OPTIONAL_MUTUAL"), alters("credentialName", "by-hand"), serves(http("shop.example.com"))),
		},
	})
}

func TestServersThatOnlySeemMutual(t *testing.T) {
	found := func(field string) []string { return []string{"Gateway shop/edge NotMutual " + field} }
	mode := func(annotation string, tlsMode string) func(*World) {
		return all(alters("mode", tlsMode), func(w *World) {
			w.Gateways[0].Annotations = map[string]string{intent.KeyMode: annotation}
			if annotation == "" {
				w.Gateways[0].Annotations = nil
			}
		})
	}
	check(t, map[string]row{
		"OPTIONAL_MUTUAL, opted in to mutual":                       {change: alters("mode", "OPTIONAL_MUTUAL"), want: found("spec.servers[0].tls.mode")},
		"OPTIONAL_MUTUAL by hand":                                   {change: mode("", "OPTIONAL_MUTUAL"), want: found("spec.servers[0].tls.mode")},
		"OPTIONAL_MUTUAL, opted in to optional: Judge tells":        {change: mode("optional", "OPTIONAL_MUTUAL")},
		"OPTIONAL_MUTUAL where optional is enough":                  {policy: requires(v1alpha1.ModeOptional, ""), change: mode("optional", "OPTIONAL_MUTUAL")},
		"SIMPLE, opted in":                                          {change: alters("mode", "SIMPLE"), want: found("spec.servers[0].tls.mode")},
		"SIMPLE, opted in, where optional is enough":                {policy: requires(v1alpha1.ModeOptional, ""), change: alters("mode", "SIMPLE"), want: found("spec.servers[0].tls.mode")},
		"SIMPLE, not opted in: Judge tells":                         {change: mode("", "SIMPLE")},
		"PASSTHROUGH, opted in":                                     {change: alters("mode", "PASSTHROUGH"), want: found("spec.servers[0].tls.mode")},
		"no mode at all, opted in":                                  {change: alters("mode", nil), want: found("spec.servers[0].tls.mode")},
		"insecureSkipVerify":                                        {change: alters("insecureSkipVerify", true), want: found("spec.servers[0].tls.insecureSkipVerify")},
		"insecureSkipVerify, not opted in":                          {change: all(alters("insecureSkipVerify", true), mode("", "MUTUAL")), want: found("spec.servers[0].tls.insecureSkipVerify")},
		"insecureSkipVerify where optional is enough":               {policy: requires(v1alpha1.ModeOptional, ""), change: alters("insecureSkipVerify", true), want: found("spec.servers[0].tls.insecureSkipVerify")},
		"insecureSkipVerify: false":                                 {change: alters("insecureSkipVerify", false)},
		"MUTUAL by hand, with what is managed all the same":         {change: mode("", "MUTUAL")},
		"the second server alone":                                   {change: serves(with(https("SIMPLE", "shop.edge.mtls", "other.example.com"), "name", "b")), want: found("spec.servers[1].tls.mode")},
		"a plain server that has nothing to do with the mutual one": {change: serves(http("other.example.com"))},
	})
}

func TestServersThatMeetAnotherGatewaysServers(t *testing.T) {
	at := func(reason string) []string {
		return []string{"Gateway shop/edge " + reason + " spec.servers[0].hosts[0]"}
	}
	other := func(created int, mode string, change func(*Gateway)) func(*World) {
		return func(w *World) {
			g := gatewayOf("pub", "edge", created, https(mode, "pub", "shop.example.com"))
			if change != nil {
				change(&g)
			}
			w.Gateways = append(w.Gateways, g)
		}
	}
	host := func(host string) func(*Gateway) {
		return func(g *Gateway) { object(servers(g)[0])["hosts"] = l{host} }
	}
	place := func(p ...Place) func(*Gateway) { return func(g *Gateway) { g.Places = [][]Place{p} } }
	check(t, map[string]row{
		"an older weak one takes the host":                      {change: other(1, "SIMPLE", nil), want: at("OlderServer")},
		"an older mutual one takes it as well":                  {change: other(1, "MUTUAL", nil), want: at("OlderServer")},
		"so it does where optional is enough":                   {policy: requires(v1alpha1.ModeOptional, ""), change: other(1, "SIMPLE", nil), want: at("OlderServer")},
		"a younger weak one waits for it":                       {change: other(20, "SIMPLE", nil), want: at("SharedHost")},
		"a younger OPTIONAL_MUTUAL one waits":                   {change: other(20, "OPTIONAL_MUTUAL", nil), want: at("SharedHost")},
		"a younger one that passes TLS on waits":                {change: other(20, "PASSTHROUGH", nil), want: at("SharedHost")},
		"a younger mutual one takes nothing":                    {change: other(20, "MUTUAL", nil)},
		"a younger weak one, where optional is enough":          {policy: requires(v1alpha1.ModeOptional, ""), change: other(20, "SIMPLE", nil)},
		"of two of one second the name decides: edge is pub's":  {change: other(10, "SIMPLE", nil), want: at("OlderServer")},
		"of two of one second the name decides: zebra is later": {change: other(10, "SIMPLE", func(g *Gateway) { g.Name = "zebra" }), want: at("SharedHost")},
		"the host in another spelling":                          {change: other(1, "SIMPLE", host("pub/Shop.Example.com.")), want: at("OlderServer")},
		"another host":                                          {change: other(1, "SIMPLE", host("pub.example.com"))},
		"a wildcard above: the longer match wins":               {change: other(1, "SIMPLE", host("*.example.com"))},
		"on another ingress":                                    {change: other(1, "SIMPLE", place(Place{"partners", "istio-partners", "8443"}))},
		"on another port":                                       {change: other(1, "SIMPLE", place(Place{"public", "istio-system", "9443"}))},
		"on one of several places":                              {change: other(1, "SIMPLE", place(Place{"partners", "istio-partners", "8443"}, Place{"public", "istio-system", "8443"})), want: at("OlderServer")},
		"on another address":                                    {change: other(1, "SIMPLE", func(g *Gateway) { object(servers(g)[0])["bind"] = "10.0.0.1" })},
		"a younger one that only redirects": {change: other(20, "SIMPLE", func(g *Gateway) {
			*g = gatewayOf("pub", "edge", 20, redirecting(http("shop.example.com")))
			g.Places = [][]Place{{{"public", "istio-system", "8443"}}}
		})},
		"that lands nowhere": {change: other(1, "SIMPLE", func(g *Gateway) { g.Places = nil })},
		"an older one without TLS takes the port, whatever its hosts": {
			change: other(1, "SIMPLE", func(g *Gateway) {
				*g = gatewayOf("pub", "edge", 1, http("pub.example.com"))
				g.Places = [][]Place{{{"public", "istio-system", "8443"}}}
			}),
			want: []string{"Gateway shop/edge OlderServer spec.servers[0].port.number"},
		},
		"a younger one without TLS and with other hosts": {
			change: other(1, "SIMPLE", func(g *Gateway) {
				*g = gatewayOf("pub", "edge", 20, http("pub.example.com"))
				g.Places = [][]Place{{{"public", "istio-system", "8443"}}}
			}),
		},
		"a server of the same Gateway": {change: serves(with(https("MUTUAL", "shop.edge.mtls", "shop.example.com"), "name", "b"))},
		"several hosts and Gateways: one finding of each": {
			change: func(w *World) {
				object(servers(&w.Gateways[0])[0])["hosts"] = l{"a.example.com", "b.example.com", "c.example.com"}
				w.VirtualServices = nil
				w.Gateways = append(w.Gateways,
					gatewayOf("pub", "one", 20, https("SIMPLE", "x", "a.example.com", "b.example.com")), gatewayOf("pub", "two", 30, https("SIMPLE", "x", "c.example.com")))
			},
			want: []string{"Gateway shop/edge SharedHost spec.servers[0].hosts[0]", "Gateway shop/edge SharedHost spec.servers[0].hosts[2]"},
		},
	})
}

func TestServersThatShareAHostWithAStrongerOneOfTheGateway(t *testing.T) {
	weak := func(change func(m), hosts ...any) func(*World) {
		s := https("SIMPLE", "shop.edge.mtls", hosts...)
		if change != nil {
			change(s)
		}
		return all(serves(s), func(w *World) { w.Gateways[0].Annotations = nil }) // not opted in: that the server is SIMPLE, Judge tells
	}
	bypass := []string{"Gateway shop/edge HostBypass spec.servers[1].hosts[0]"}
	check(t, map[string]row{
		"a wildcard above the host":                  {change: weak(nil, "*.example.com"), want: bypass},
		"every host":                                 {change: weak(nil, "*"), want: bypass},
		"the host itself on another port":            {change: weak(func(s m) { s["port"] = m{"number": int64(8443), "protocol": "HTTPS"} }, "shop.example.com"), want: bypass},
		"in another spelling":                        {change: weak(nil, "SHOP.example.com."), want: bypass},
		"the second of its hosts":                    {change: weak(nil, "other.example.com", "*.example.com"), want: []string{"Gateway shop/edge HostBypass spec.servers[1].hosts[1]"}},
		"for the same namespace":                     {change: weak(nil, "./*.example.com"), want: bypass},
		"another host":                               {change: weak(nil, "other.example.com")},
		"a wildcard beside it":                       {change: weak(nil, "*.shop.example.com")},
		"a host that only ends alike":                {change: weak(nil, "myshop.example.com")},
		"one that is mutual itself":                  {change: weak(func(s m) { object(s["tls"])["mode"] = "MUTUAL" }, "*.example.com")},
		"one that passes TLS on":                     {change: weak(func(s m) { object(s["tls"])["mode"] = "PASSTHROUGH" }, "*.example.com")},
		"one that leads bytes on, which has no Host": {change: weak(func(s m) { object(s["port"])["protocol"] = "TLS" }, "*.example.com")},
		"where optional is enough":                   {policy: requires(v1alpha1.ModeOptional, ""), change: weak(nil, "*.example.com")},
		"one that skips verification": {change: weak(func(s m) {
			s["tls"] = m{"mode": "MUTUAL", "insecureSkipVerify": true, "credentialName": "shop.edge.mtls"}
		}, "*.example.com"), want: []string{bypass[0], "Gateway shop/edge NotMutual spec.servers[1].tls.insecureSkipVerify"}},
		"for VirtualServices of different namespaces": {
			change: func(w *World) {
				weak(nil, "pub/*.example.com")(w)
				object(servers(&w.Gateways[0])[0])["hosts"] = l{"./shop.example.com"}
			},
		},
		"the mutual one is the wildcard": {
			change: func(w *World) {
				weak(nil, "open.example.com")(w)
				object(servers(&w.Gateways[0])[0])["hosts"] = l{"*.example.com"}
			},
			want: append([]string{}, bypass...),
		},
	})
}

func TestServersWithoutTLS(t *testing.T) {
	found := []string{"Gateway shop/edge PlainHTTPRoute spec.servers[1].port.protocol"}
	redirect := []string{"Gateway shop/edge PlainHTTPRoute spec.servers[1].tls.httpsRedirect"}
	believed := func(w *World) { w.ForwardedProto = true }
	forbidden := requires(v1alpha1.ModeMutual, v1alpha1.PlainHTTPForbidden)
	check(t, map[string]row{
		"one with the host of a mutual one":                                {change: serves(http("shop.example.com")), want: found},
		"one with a wildcard above it":                                     {change: serves(http("*")), want: found},
		"so where optional is enough":                                      {policy: requires(v1alpha1.ModeOptional, ""), change: serves(http("shop.example.com")), want: found},
		"plain HTTP is forbidden: Judge tells":                             {policy: forbidden, change: serves(http("shop.example.com"))},
		"one that redirects":                                               {change: serves(redirecting(http("shop.example.com")))},
		"one that redirects, whose gateways believe callers":               {change: all(serves(redirecting(http("shop.example.com"))), believed), want: redirect},
		"the same where plain HTTP is forbidden and nothing else demanded": {policy: requires("", v1alpha1.PlainHTTPForbidden), change: all(serves(redirecting(http("shop.example.com"))), believed), want: redirect},
		"the same with nothing routed there":                               {policy: forbidden, change: all(serves(redirecting(http("shop.example.com"))), believed, func(w *World) { w.VirtualServices = nil })},
		"the same on a host of its own, where plain HTTP is forbidden": {
			policy: forbidden, change: all(serves(redirecting(http("other.example.com"))), believed, routes(vs("shop", "other", l{"edge"}, l{"other.example.com"}, "other", 80))), want: redirect,
		},
		"where only a version is demanded":                                               {policy: func(s *v1alpha1.MutualTLSPolicySpec) { s.Require = v1alpha1.PolicyRequirements{MinTLS: v1alpha1.TLS13} }, change: serves(http("shop.example.com"))},
		"one with the host of a server that asks for nothing, not opted in: Judge tells": {change: all(alters("mode", "SIMPLE"), serves(http("shop.example.com")), func(w *World) { w.Gateways[0].Annotations = nil })},
		"httpsRedirect: false":                                                           {change: serves(with(http("shop.example.com"), "tls", m{"httpsRedirect": false})), want: found},
		"with another host":                                                              {change: serves(http("other.example.com"))},
		"TLS settings on an HTTP port are ignored by Istio":                              {change: serves(with(http("shop.example.com"), "tls", m{"mode": "MUTUAL"})), want: found},
		"bytes beside requests":                                                          {change: serves(with(http("shop.example.com"), "port", m{"number": int64(80), "protocol": "TCP"}))},
		"a Gateway of plain servers alone, where plain HTTP is allowed":                  {change: joins(gatewayOf("shop", "plain", 20, http("plain.example.com")))},
		"a Gateway of plain servers alone that redirects and that nothing routes":        {change: all(joins(gatewayOf("shop", "plain", 20, redirecting(http("*")))), believed)},
	})
}

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

// publicly is a Gateway pub/edge that asks for no certificate.
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

// made is the VirtualService that Kyma makes of an APIRule.
func made(o Object, gateway string, host string) VirtualService {
	v := vs(o.Namespace, o.Name+"-x7k2p", l{gateway}, l{host}, text(object(o.Spec["service"])["name"])+"."+o.Namespace+".svc.cluster.local", int(portNumber(object(o.Spec["service"])["port"])))
	v.APIRule = o.Name
	return v
}

func TestAPIRules(t *testing.T) {
	mutualRule := apirule("shop", "orders", "shop/edge", l{"shop.example.com"}, "orders", 8080)
	mutualRule.Annotations = map[string]string{intent.KeyMode: "mutual"}
	publicRule := apirule("pub", "way", "pub/edge", l{"a.pub.example.com"}, "orders", 8080)
	publicRule.Spec["service"] = m{"name": "orders", "namespace": "shop", "port": int64(8080)}
	rules := func(o ...Object) func(*World) {
		return func(w *World) { w.VirtualServices, w.APIRules = nil, append(w.APIRules, o...) }
	}
	found := []string{"APIRule shop/orders SecondExposure spec.service.name"}
	own := made(publicRule, "pub/edge", "a.pub.example.com")
	own.Spec["http"] = l{m{"route": l{to("orders.shop.svc.cluster.local", 8080)}}}
	weakEdge := func(w *World) { w.Gateways = append(w.Gateways, publicly()) }
	onPublic := apirule("shop", "orders", "pub/edge", l{"a.pub.example.com"}, "orders", 8080)
	onPublic.Annotations = mutualRule.Annotations
	short := apirule("pub", "way", "pub/edge", l{"way"}, "orders", 8080)
	short.Spec["service"] = publicRule.Spec["service"]
	ruleService := apirule("pub", "way", "pub/edge", l{"a.pub.example.com"}, "welcome", 80)
	ruleService.Spec["rules"] = l{m{"service": m{"name": "welcome", "port": int64(80)}}, m{"service": m{"name": "orders", "namespace": "shop", "port": int64(8080)}}}
	old := apirule("pub", "way", "edge.pub.svc.cluster.local", nil, "orders", 8080)
	old.Spec["host"], old.Spec["service"] = "a.pub.example.com", publicRule.Spec["service"]
	check(t, map[string]row{
		"one Service by two APIRules":                           {change: all(weakEdge, rules(mutualRule, publicRule)), want: found},
		"the same, and what Kyma made of them: told once":       {change: all(weakEdge, rules(mutualRule, publicRule), routes(made(mutualRule, "shop/edge", "shop.example.com"), own)), want: found},
		"by a short host, which gets the domain of its Gateway": {change: all(weakEdge, rules(mutualRule, short)), want: found},
		"by a rule of its own":                                  {change: all(weakEdge, rules(mutualRule, ruleService)), want: found},
		"by a v1beta1":                                          {change: all(weakEdge, rules(mutualRule, old)), want: found},
		"one of another Service":                                {change: all(weakEdge, rules(mutualRule, apirule("pub", "way", "pub/edge", l{"a.pub.example.com"}, "orders", 8080)))},
		"one of a Gateway that is not there":                    {change: rules(mutualRule, publicRule)},
		"an excepted one": {
			policy: func(s *v1alpha1.MutualTLSPolicySpec) {
				s.Exceptions = []v1alpha1.PolicyException{{Kind: v1alpha1.ObjectAPIRule, Namespace: "shop", Name: "orders"}}
			},
			change: all(weakEdge, rules(mutualRule, publicRule)),
		},
		"one that the policy is not about, behind a Gateway that it is about": {
			change: func(w *World) {
				weakEdge(w)
				elsewhere := apirule("else", "orders", "shop/edge", l{"shop.example.com"}, "orders", 8080)
				rules(elsewhere)(w)
				routes(made(elsewhere, "shop/edge", "shop.example.com"), vs("pub", "way", l{"edge"}, l{"a.pub.example.com"}, "orders.else.svc.cluster.local", 8080))(w)
			},
			want: []string{"VirtualService else/orders-x7k2p SecondExposure spec.http[0].route[0].destination.host"},
		},
		"behind a weak Gateway that the policy is not about": {change: all(weakEdge, rules(onPublic)), want: []string{"APIRule shop/orders NotMutual spec.gateway"}},
		"behind a plain one": {
			change: all(joins(gatewayOf("pub", "edge", 20, http("*"))), rules(onPublic)), want: []string{"APIRule shop/orders PlainHTTPRoute spec.gateway"},
		},
		"not opted in: Judge tells": {
			change: func(w *World) {
				weakEdge(w)
				o := onPublic
				o.Annotations = nil
				rules(o)(w)
			},
		},
		"behind a weak Gateway that the policy is about: told there": {
			change: func(w *World) {
				alters("mode", "SIMPLE")(w)
				rules(mutualRule)(w)
			},
			want: []string{"Gateway shop/edge NotMutual spec.servers[0].tls.mode"},
		},
	})
}

func TestSecretsOfOtherGateways(t *testing.T) {
	found := func(reason, field string) []string {
		return []string{"Gateway shop/edge " + reason + " spec.servers[0].tls." + field}
	}
	owned := func(name, gateway string) func(*World) {
		return func(w *World) {
			w.Secrets = append(w.Secrets, Secret{"istio-system", name, "shop", gateway}, Secret{"istio-system", name + "-cacert", "shop", gateway})
		}
	}
	check(t, map[string]row{
		"the name that is another's":                 {change: alters("credentialName", "pub.edge.mtls"), want: found("BorrowedCredential", "credentialName")},
		"another's CAs":                              {change: alters("caCertCredentialName", "pub.edge.mtls-cacert"), want: found("BorrowedCredential", "caCertCredentialName")},
		"its own CAs":                                {change: alters("caCertCredentialName", "shop.edge.mtls-cacert")},
		"another's among several":                    {change: all(alters("credentialName", nil), alters("credentialNames", l{"shop.edge.mtls", "pub.edge.mtls"})), want: found("BorrowedCredential", "credentialNames")},
		"the name that its APIRule's Gateway has":    {change: alters("credentialName", "shop.edge-mtls.mtls"), want: found("BorrowedCredential", "credentialName")},
		"a chosen name that is managed for another":  {change: all(alters("credentialName", "chosen"), owned("chosen", "other")), want: found("BorrowedCredential", "credentialName")},
		"a chosen name that is managed for this one": {change: all(alters("credentialName", "chosen"), owned("chosen", "edge"))},
		"a chosen name that nobody manages":          {change: alters("credentialName", "chosen"), want: found("UnmanagedTrust", "credentialName")},
		"so where optional is enough":                {policy: requires(v1alpha1.ModeOptional, ""), change: alters("credentialName", "chosen"), want: found("UnmanagedTrust", "credentialName")},
		"a chosen name, managed on one ingress of two": {change: all(alters("credentialName", "chosen"), owned("chosen", "edge"), func(w *World) {
			w.Gateways[0].Places[0] = append(w.Gateways[0].Places[0], Place{"partners", "istio-partners", "8443"})
		}), want: found("UnmanagedTrust", "credentialName")},
		"provided, with CAs of our own":                 {change: all(alters("credentialName", "public-cert"), alters("caCertCredentialName", "shop.edge.mtls-cacert"))},
		"CAs in a file":                                 {change: all(alters("credentialName", nil), alters("caCertificates", "/etc/ca.pem")), want: found("UnmanagedTrust", "caCertificates")},
		"CAs in a ConfigMap":                            {change: alters("caCertCredentialName", "configmap://pub/ca"), want: found("UnmanagedTrust", "caCertCredentialName")},
		"no CAs at all: everybody is refused":           {change: alters("credentialName", nil)},
		"the mesh's CA":                                 {change: all(alters("mode", "ISTIO_MUTUAL"), alters("credentialName", nil))},
		"the mesh's CA, beside a name that is not read": {change: all(alters("mode", "ISTIO_MUTUAL"), alters("credentialName", "chosen"))},
		"its own name, before the Secrets are written":  {change: func(w *World) { w.Secrets = nil }},
		"another's name, landing nowhere":               {change: all(alters("credentialName", "pub.edge.mtls"), func(w *World) { w.Gateways[0].Places = nil }), want: found("BorrowedCredential", "credentialName")},
		"CAs in a ConfigMap, landing nowhere":           {change: all(alters("caCertCredentialName", "configmap://pub/ca"), func(w *World) { w.Gateways[0].Places = nil }), want: found("UnmanagedTrust", "caCertCredentialName")},
		"a chosen name, landing nowhere":                {change: all(alters("credentialName", "chosen"), func(w *World) { w.Gateways[0].Places = nil })},
		"CAs that are not asked":                        {change: all(alters("mode", "SIMPLE"), alters("credentialName", "chosen")), want: found("NotMutual", "mode")},
		"a Gateway that is mutual by hand": {
			change: all(alters("credentialName", "chosen"), func(w *World) { w.Gateways[0].Annotations = nil }), want: found("UnmanagedTrust", "credentialName"),
		},
		"another Gateway names this one's":          {change: joins(gatewayOf("pub", "edge", 20, https("SIMPLE", "shop.edge.mtls", "pub.example.com"))), want: found("BorrowedCredential", "credentialName")},
		"another Gateway names this one's CAs":      {change: joins(gatewayOf("pub", "edge", 20, with(https("MUTUAL", "pub", "pub.example.com"), "tls", m{"mode": "MUTUAL", "caCertCredentialName": "shop.edge.mtls-cacert"}))), want: found("BorrowedCredential", "credentialName")},
		"another Gateway of the policy: told there": {change: joins(optedIn(gatewayOf("shop", "other", 20, https("MUTUAL", "shop.edge.mtls", "other.example.com")), intent.ModeMutual)), want: []string{"Gateway shop/other BorrowedCredential spec.servers[0].tls.credentialName"}},
		"another Gateway of another ingress": {change: func(w *World) {
			joins(gatewayOf("pub", "edge", 20, https("SIMPLE", "shop.edge.mtls", "pub.example.com")))(w)
			w.Gateways[1].Places = [][]Place{{{"partners", "istio-partners", "8443"}}}
		}},
		"a provided certificate that others use too":        {change: all(alters("credentialName", "public-cert"), alters("caCertCredentialName", "shop.edge.mtls-cacert"), joins(gatewayOf("pub", "edge", 20, https("SIMPLE", "public-cert", "pub.example.com"))))},
		"a weak Gateway of the policy that borrows as well": {change: joins(gatewayOf("shop", "other", 20, https("SIMPLE", "shop.edge.mtls", "other.example.com"))), want: []string{"Gateway shop/other BorrowedCredential spec.servers[0].tls.credentialName"}},
	})
}

func TestAMessageSaysWhatWhyAndWhatToDo(t *testing.T) {
	w := guarded()
	joins(gatewayOf("pub", "edge", 1, https("SIMPLE", "pub", "shop.example.com")))(&w)
	want := []Finding{{
		Kind: "Gateway", Namespace: "shop", Name: "edge", Reason: ReasonOlderServer, Field: "spec.servers[0].hosts[0]",
		Message: "host shop.example.com on port 8443 of ingress public is held by spec.servers[0] of the older Gateway pub/edge, which asks for no certificate: Istio drops this server whole, and callers get that one's terms; take the host off one of the two",
	}}
	if diff := cmp.Diff(want, demands(nil).Findings(NewSnapshot(w))); diff != "" {
		t.Error(diff)
	}
}

func TestAllReasonsAreDistinctWords(t *testing.T) {
	reasons := AllReasons()
	if distinct := slices.Compact(slices.Sorted(slices.Values(reasons))); len(distinct) != len(reasons) || len(reasons) != 13 {
		t.Errorf("%v", reasons)
	}
	for _, r := range reasons {
		if r == "" || len(r) > 64 || strings.ContainsAny(string(r), " .-") {
			t.Errorf("%q", r)
		}
	}
}
