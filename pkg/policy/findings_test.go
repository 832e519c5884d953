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
		port := fmt.Sprint(intent.PortNumber(object(object(s)["port"])["number"]) + 8000)
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

// publicly is a Gateway pub/edge that asks for no certificate.
// made is the VirtualService that Kyma makes of an APIRule.
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
