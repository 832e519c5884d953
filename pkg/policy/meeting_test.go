package policy

import (
	"testing"

	"sallyport.dev/sallyport/api/v1alpha1"
)

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
