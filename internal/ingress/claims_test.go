package ingress

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"sallyport.dev/sallyport/pkg/intent"
)

// gateway is a Gateway of the public ingress with one TLS server on 443.
func gateway(namespace, name string, created int, change func(*Gateway), hosts ...string) Gateway {
	g := Gateway{
		Namespace: namespace, Name: name, Created: at(created), Selector: public.Selector,
		Servers: []Server{{Port: 443, TLS: true, Hosts: hosts}},
	}
	if change != nil {
		change(&g)
	}
	return g
}

func onPort(port uint32) func(*Gateway) { return func(g *Gateway) { g.Servers[0].Port = port } }

func TestGatewaysConflictWhereIstiodWouldDropAServer(t *testing.T) {
	topology := NewTopology([]Ingress{public, partners},
		[]Service{publicService("s", 1,
			ServicePort{Port: 443, TargetName: "https"},
			ServicePort{Port: 444, TargetName: "https"},
			ServicePort{Port: 445, Target: 9445})},
		[]Pod{publicPod("a", nil), publicPod("b", func(p *Pod) { p.Ports = map[string]uint32{"https": 8444} })})
	clash := func(port uint32, target uint32, olderWins bool) Conflict {
		return Conflict{
			Host: "a.example.com", Port: port, Target: TargetPort{Number: target}, Ingress: "public",
			Other: types.NamespacedName{Namespace: "other", Name: "gw"}, OtherIsOlder: olderWins,
		}
	}
	both := func(port uint32, olderWins bool) []Conflict {
		return []Conflict{clash(port, 8443, olderWins), clash(port, 8444, olderWins)}
	}
	const host = "a.example.com"
	tests := map[string]struct {
		stored, asking Gateway
		want           []Conflict
	}{
		"same host, the other is older":              {gateway("other", "gw", 1, nil, host), gateway("shop", "edge", 2, nil, host), both(443, true)},
		"same host, the other is younger":            {gateway("other", "gw", 3, nil, host), gateway("shop", "edge", 2, nil, host), both(443, false)},
		"of one second: the first by name wins":      {gateway("other", "gw", 2, nil, host), gateway("shop", "edge", 2, nil, host), both(443, false)},
		"of one second, by name before namespace":    {gateway("other", "gw", 2, nil, host), gateway("a", "hw", 2, nil, host), both(443, true)},
		"of one second and name: by namespace":       {gateway("other", "gw", 2, nil, host), gateway("shop", "gw", 2, nil, host), both(443, true)},
		"not stored yet is younger than all":         {gateway("other", "gw", 9, nil, host), gateway("a", "a", 0, func(g *Gateway) { g.Created = time.Time{} }, host), both(443, true)},
		"another port with the same target":          {gateway("other", "gw", 1, onPort(444), host), gateway("shop", "edge", 2, nil, host), both(443, true)},
		"the target port itself":                     {gateway("other", "gw", 1, onPort(8444), host), gateway("shop", "edge", 2, nil, host), []Conflict{clash(443, 8444, true)}},
		"another target port":                        {gateway("other", "gw", 1, onPort(445), host), gateway("shop", "edge", 2, nil, host), nil},
		"another host":                               {gateway("other", "gw", 1, nil, "b.example.com"), gateway("shop", "edge", 2, nil, host), nil},
		"narrower under the other's wildcard":        {gateway("other", "gw", 1, nil, "*.example.com"), gateway("shop", "edge", 2, nil, host), nil},
		"wildcard over the other's narrower host":    {gateway("other", "gw", 1, nil, host), gateway("shop", "edge", 2, nil, "*.example.com"), nil},
		"another address":                            {gateway("other", "gw", 1, func(g *Gateway) { g.Servers[0].Bind = "10.0.0.9" }, host), gateway("shop", "edge", 2, nil, host), nil},
		"no common ingress":                          {gateway("other", "gw", 1, func(g *Gateway) { g.Selector = partners.Selector }, host), gateway("shop", "edge", 2, nil, host), nil},
		"a Gateway without a selector is everywhere": {gateway("other", "gw", 1, func(g *Gateway) { g.Selector = nil }, host), gateway("shop", "edge", 2, nil, host), both(443, true)},
		"plain HTTP where we want TLS":               {gateway("other", "gw", 1, func(g *Gateway) { g.Servers[0].TLS = false }, host), gateway("shop", "edge", 2, nil, host), both(443, true)},
		"two plain HTTP servers are merged":          {gateway("other", "gw", 1, func(g *Gateway) { g.Servers[0].TLS = false }, host), gateway("shop", "edge", 2, func(g *Gateway) { g.Servers[0].TLS = false }, host), nil},
		"a Gateway does not conflict with itself":    {gateway("shop", "edge", 1, nil, host), gateway("shop", "edge", 1, nil, host), nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			claims := NewClaims()
			claims.Set(tt.stored)
			if diff := cmp.Diff(tt.want, claims.Conflicts(topology, tt.asking)); diff != "" {
				t.Errorf("conflicts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGatewaysThatLetInCallersWithoutACertificateOnAPort(t *testing.T) {
	topology := NewTopology([]Ingress{public, partners},
		[]Service{publicService("s", 1, ServicePort{Port: 443, TargetName: "https"}, ServicePort{Port: 444, TargetName: "https"}, ServicePort{Port: 445, Target: 9445})},
		[]Pod{publicPod("a", nil)})
	raw := func(mode, protocol string, port int64, selector map[string]any) Gateway {
		server := map[string]any{"port": map[string]any{"number": port, "protocol": protocol}, "hosts": []any{"b.example.com"}}
		if mode != "none" {
			server["tls"] = map[string]any{"mode": mode}
		}
		if mode == "absent" {
			server["tls"] = map[string]any{"credentialName": "x"}
		}
		return GatewayFrom(map[string]any{"metadata": map[string]any{"namespace": "other", "name": "gw"}, "spec": map[string]any{"selector": selector, "servers": []any{server}}})
	}
	here, elsewhere := map[string]any{"app": "istio-ingressgateway"}, map[string]any{"app": "another"}
	for name, test := range map[string]struct {
		stored Gateway
		want   bool
	}{
		"SIMPLE":                            {raw("SIMPLE", "HTTPS", 443, here), true},
		"no mode, which is SIMPLE":          {raw("absent", "HTTPS", 443, here), true},
		"OPTIONAL_MUTUAL":                   {raw("OPTIONAL_MUTUAL", "HTTPS", 443, here), true},
		"bytes behind SIMPLE":               {raw("SIMPLE", "TLS", 443, here), true},
		"another port with the same target": {raw("SIMPLE", "HTTPS", 444, here), true},
		"another target":                    {raw("SIMPLE", "HTTPS", 445, here), false},
		"another ingress":                   {raw("SIMPLE", "HTTPS", 443, elsewhere), false},
		"MUTUAL":                            {raw("MUTUAL", "HTTPS", 443, here), false},
		"PASSTHROUGH":                       {raw("PASSTHROUGH", "TLS", 443, here), false},
		"plain HTTP":                        {raw("none", "HTTP", 443, here), false},
		"a redirect":                        {raw("", "HTTP", 443, here), false},
	} {
		t.Run(name, func(t *testing.T) {
			claims := NewClaims()
			mine := gateway("shop", "edge", 1, func(g *Gateway) { g.Servers[0].Anonymous = true }, "a.example.com")
			claims.Set(mine)
			claims.Set(test.stored)
			if got := len(claims.Anonymous(topology, mine)) == 1; got != test.want {
				t.Errorf("counts with it: %t, want %t", got, test.want)
			}
		})
	}
}

func TestHostsAreComparedCanonically(t *testing.T) {
	for given, want := range map[string]string{
		"a.example.com":       "a.example.com",
		"A.Example.COM":       "a.example.com",
		"a.example.com.":      "a.example.com",
		"shop/a.example.com":  "a.example.com",
		"./a.example.com":     "a.example.com",
		"*/*.example.com":     "*.example.com",
		"*":                   "*",
		"./*":                 "*",
		"xn--bcher-kva.de":    "xn--bcher-kva.de",
		"":                    "",
		"a/b/c":               "b/c",
		"ns/A.EXAMPLE.com.":   "a.example.com",
		"*.MTLS.example.com.": "*.mtls.example.com",
	} {
		if got := intent.CanonicalHost(given); got != want {
			t.Errorf("CanonicalHost(%q) = %q, want %q", given, got, want)
		}
	}
}

func TestClaimsForgetWhatIsDeletedOrReplaced(t *testing.T) {
	topology := NewTopology([]Ingress{public}, nil, nil)
	claims := NewClaims()
	old := gateway("other", "gw", 1, nil, "a.example.com", "b.example.com")
	claims.Set(old)
	claims.Set(gateway("other", "gw", 1, nil, "b.example.com"))
	asking := gateway("shop", "edge", 2, nil, "a.example.com", "b.example.com")
	if got := claims.Conflicts(topology, asking); len(got) != 1 || got[0].Host != "b.example.com" {
		t.Errorf("after a host was dropped: %+v", got)
	}
	if diff := cmp.Diff([]types.NamespacedName{{Namespace: "other", Name: "gw"}}, claims.Sharing(asking)); diff != "" {
		t.Errorf("sharing (-want +got):\n%s", diff)
	}
	claims.Delete(old.Ref())
	claims.Delete(old.Ref())
	if got := claims.Conflicts(topology, asking); len(got) != 0 || len(claims.byHost) != 0 {
		t.Errorf("after deletion: %+v, %d hosts", got, len(claims.byHost))
	}
}

// keptByIstiod replays how istiod merges the TLS servers of all Gateways on one
// port: in its order, each server whole or not at all.
func keptByIstiod(gateways []Gateway) map[string]bool {
	sorted := slices.Clone(gateways)
	slices.SortFunc(sorted, func(a, b Gateway) int { return older(&a, &b) })
	known := map[string]bool{}
	kept := map[string]bool{}
	for _, g := range sorted {
		whole := true
		for _, s := range g.Servers {
			duplicate := slices.ContainsFunc(s.Hosts, func(h string) bool { return known[fmt.Sprint(s.Port, h)] })
			if duplicate {
				whole = false
				continue
			}
			for _, h := range s.Hosts {
				known[fmt.Sprint(s.Port, h)] = true
			}
		}
		kept[g.Ref().String()] = whole
	}
	return kept
}

func TestAGatewayWithoutOlderHoldersKeepsAllItsServers(t *testing.T) {
	topology := NewTopology([]Ingress{public}, nil, nil)
	rapid.Check(t, func(rt *rapid.T) {
		count := rapid.IntRange(1, 6).Draw(rt, "gateways")
		claims := NewClaims()
		var all []Gateway
		for i := range count {
			g := gateway(rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "namespace"), fmt.Sprintf("g%d", i), rapid.IntRange(1, 3).Draw(rt, "created"), nil)
			g.Servers = nil
			for port := uint32(443); port < 445; port++ {
				hosts := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "*.d"}), 1, 2, rapid.ID).Draw(rt, "hosts")
				g.Servers = append(g.Servers, Server{Port: port, TLS: true, Hosts: hosts})
			}
			all = append(all, g)
			claims.Set(g)
		}
		kept := keptByIstiod(all)
		for _, g := range all {
			loses := slices.ContainsFunc(claims.Conflicts(topology, g), func(c Conflict) bool { return c.OtherIsOlder })
			if !loses && !kept[g.Ref().String()] {
				rt.Fatalf("%s has no conflict, but istiod drops a server of it: %+v", g.Ref(), all)
			}
		}
	})
}
