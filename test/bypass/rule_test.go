package bypass

import (
	"cmp"
	"net"
	"slices"
	"strings"
)

// server is one server of a Gateway, as callers can tell it from others.
type server struct {
	port, host string
	gateway    string
	// authority is whose callers alone are let in; empty lets in everybody.
	authority string
}

// route is a host of a Gateway that leads to a workload.
type route struct {
	name, host, gateway string
	// authority is whose callers alone may come by it; empty lets in everybody.
	authority string
}

// edge is what was configured, as its owners meant it.
type edge struct {
	servers []server
	routes  []route
	// redirected are the hosts that are sent from plain HTTP to HTTPS.
	redirected []string
}

// covers reports whether a host of Istio's is the name or a wildcard for it.
func covers(host, name string) bool {
	if rest, wild := strings.CutPrefix(host, "*"); wild {
		return strings.HasSuffix(name, rest) && name != rest
	}
	return host == name
}

// narrowest is the most specific of those that cover a name.
func narrowest[T any](all []T, name string, host func(T) string) (T, bool) {
	fit := slices.DeleteFunc(slices.Clone(all), func(one T) bool { return !covers(host(one), name) })
	if len(fit) == 0 {
		var none T
		return none, false
	}
	return slices.MaxFunc(fit, func(a, b T) int {
		return cmp.Or(cmp.Compare(len(host(a)), len(host(b))), -strings.Count(host(a), "*")+strings.Count(host(b), "*"))
	}), true
}

// server is which one a handshake gets to: the port and the server name choose it.
func (e edge) server(port, sni string) (server, bool) {
	on := slices.DeleteFunc(slices.Clone(e.servers), func(s server) bool { return s.port != port })
	return narrowest(on, strings.ToLower(sni), func(s server) string { return s.host })
}

// named is the name in a host: Envoy looks at neither its case nor its port. A dot at the
// end makes it another name, which nothing covers.
func named(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(host)
}

// route is where a request gets to behind a server: its host chooses among the routes of
// that server's Gateway, as far as the server's own host covers it.
func (e edge) route(s server, host string) (route, bool) {
	name := named(host)
	behind := slices.DeleteFunc(slices.Clone(e.routes), func(r route) bool { return r.gateway != s.gateway || !covers(s.host, name) })
	return narrowest(behind, name, func(r route) string { return r.host })
}

// What a cell may come to. A workload that was reached names its route after reached.
const (
	refused    = "refused" // in the handshake, by an alert or by closing the connection
	notFound   = "404"
	redirect   = "301"
	reached    = "reached "
	noProtocol = "no agreement on the protocol"
	silence    = "silence"
)

// verdict is the rule: what a cell comes to for whoever the edge takes the caller for.
func (e edge) verdict(c cell, who *caller) string {
	if c.plain {
		return e.plainVerdict(c)
	}
	s, ok := e.server(c.port, c.sni)
	if !ok || !who.admitted(s.authority) {
		return refused
	}
	r, ok := e.route(s, c.request.host())
	if !ok {
		return notFound
	}
	return reached + r.name
}

// plainVerdict is the rule without TLS: nobody is reached, whatever the caller says of
// the proxy before it. Who claims that it was HTTPS already is not redirected.
func (e edge) plainVerdict(c cell) string {
	_, known := narrowest(e.redirected, named(c.request.host()), func(host string) string { return host })
	switch {
	case c.port != portHTTP:
		return refused
	case known && c.request.forwarded.Get("X-Forwarded-Proto") != "https":
		return redirect
	}
	return notFound
}

// bypasses are the outcomes in which somebody reached a workload by a route that is not
// for him.
func (e edge) bypasses(outcomes []outcome) []outcome {
	return slices.DeleteFunc(slices.Clone(outcomes), func(o outcome) bool {
		for _, r := range e.routes {
			if o.verdict == reached+r.name {
				return o.who().admitted(r.authority)
			}
		}
		return true
	})
}
