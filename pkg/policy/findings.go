package policy

import (
	"fmt"
	"strings"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/intent"
)

// Findings are the ways in which what is stored weakens the objects that the policy matches and does not except, in
// order of object and field. What Judge says of an object alone is not said again.
func (p Policy) Findings(s *Snapshot) []Finding {
	f := p.finder(s)
	for g := range s.gateways {
		if f.coversGateway[g] {
			f.gateway(g)
		}
	}
	if f.required != 0 {
		for i := range s.routers {
			f.router(&s.routers[i])
		}
	}
	return ordered(f.found)
}

// finder looks for the findings of one policy.
type finder struct {
	*Snapshot
	policy Policy
	// required is what the policy demands of servers; 0 if it does not say.
	required strength
	// coversGateway and coversAPIRule are the objects that it is about, excepted the APIRules that it leaves alone.
	coversGateway, coversAPIRule, excepted []bool
	found                                  []Finding
}

func (p Policy) finder(s *Snapshot) *finder {
	f := &finder{
		Snapshot: s, policy: p,
		coversGateway: make([]bool, len(s.gateways)), coversAPIRule: make([]bool, len(s.apirules)), excepted: make([]bool, len(s.apirules)),
	}
	switch p.spec.Require.Mode {
	case v1alpha1.ModeMutual:
		f.required = mutual
	case v1alpha1.ModeOptional:
		f.required = optional
	}
	for i := range s.gateways {
		f.coversGateway[i] = p.Matches(s.gateways[i].Object) && !p.Excepts(s.gateways[i].Object)
	}
	for i, o := range s.apirules {
		f.excepted[i] = p.Excepts(o)
		f.coversAPIRule[i] = p.Matches(o) && !f.excepted[i]
	}
	return f
}

func (f *finder) add(o *Object, reason Reason, field, message string, arguments ...any) {
	f.found = append(f.found, Finding{v1alpha1.ViolatingKind(o.Kind), o.Namespace, o.Name, reason, field, said(message, arguments...)})
}

// gateway finds what weakens one Gateway that the policy is about.
func (f *finder) gateway(g int) {
	f.plainHTTPRoutes(g)
	if f.required == 0 {
		return
	}
	f.hostBypasses(g)
	told := f.policy.mode(f.gateways[g].Object) != nil
	for i := range f.gateways[g].servers {
		f.notMutual(g, i, told)
		borrows := f.borrows(g, i)
		if f.gateways[g].servers[i].strength < optional {
			continue // there is no mutual TLS to be taken away
		}
		f.olderServer(g, i)
		if !borrows {
			f.unmanagedTrust(g, i)
		}
		f.lends(g, i)
	}
}

func path(server int, field string) string { return fmt.Sprintf("spec.servers[%d].%s", server, field) }

// notMutual: a server that asks less than the policy demands. Where the object is not opted in at all, Judge says so;
// then only what looks like mutual TLS and is none is told.
func (f *finder) notMutual(g, i int, told bool) {
	o, s := &f.gateways[g].Object, &f.gateways[g].servers[i]
	tls := object(s.raw["tls"])
	skips, _ := tls["insecureSkipVerify"].(bool)
	mode, _ := o.modeInForce()
	switch {
	case s.strength >= f.required, s.strength == plain, s.strength == sendsOn:
	case skips && s.strength == open:
		f.add(o, ReasonNotMutual, path(i, "tls.insecureSkipVerify"), "found true: a certificate that cannot be verified is accepted all the same, so anybody can make one; remove it")
	case told && (s.strength != optional || mode == string(intent.ModeOptional)):
	default:
		f.add(o, ReasonNotMutual, path(i, "tls.mode"), "found %s: this server %s, and the policy demands %s; write %s, or annotate %s: %s and leave tls out",
			quoted(text(tls["mode"])), s.strength, f.policy.spec.Require.Mode, istioMode(f.required), intent.KeyMode, strings.ToLower(string(f.policy.spec.Require.Mode)))
	}
}

func istioMode(s strength) string {
	if s == optional {
		return "OPTIONAL_MUTUAL"
	}
	return "MUTUAL"
}

// plainHTTPRoutes: a server without TLS that shares a host with one that verifies callers, or one that only seems to
// send callers on. A server that Judge tells of is left to it, and so is a Gateway of plain servers alone.
func (f *finder) plainHTTPRoutes(g int) {
	o, forbidden := &f.gateways[g].Object, f.policy.spec.Require.PlainHTTP == v1alpha1.PlainHTTPForbidden
	overlaps := map[int]overlapping{}
	for _, c := range f.gateways[g].overlaps {
		overlaps[c.server] = c
	}
	for i := range f.gateways[g].servers {
		s := &f.gateways[g].servers[i]
		c, shares := overlaps[i]
		switch redirecting := redirects(s.raw); {
		case s.strength != plain, forbidden && !redirecting:
		case redirecting && f.gateways[g].routed[i] && (forbidden || shares && f.required != 0):
			f.add(o, ReasonPlainHTTPRoute, path(i, "tls.httpsRedirect"), "the gateways believe X-Forwarded-Proto (numTrustedProxies): a caller who sends https there is not redirected, and reaches the routes of this server without TLS; move it to a Gateway of its own that no VirtualService names")
		case !redirecting && shares && f.required != 0:
			f.add(o, ReasonPlainHTTPRoute, path(i, "port.protocol"), "a server without TLS has host %s of spec.servers[%d], which %s: whatever is routed there is served here to everybody, unencrypted; remove it, or move it with httpsRedirect: true to a Gateway of its own that no VirtualService names",
				shown(c.name), c.stronger, f.gateways[g].servers[c.stronger].strength)
		}
	}
}

// hostBypasses: a server with TLS that shares a host with one that demands certificates.
func (f *finder) hostBypasses(g int) {
	for _, c := range f.gateways[g].overlaps {
		weak, strong := &f.gateways[g].servers[c.server], &f.gateways[g].servers[c.stronger]
		if f.required == mutual && strong.strength == mutual && weak.strength != plain {
			f.add(&f.gateways[g].Object, ReasonHostBypass, path(c.server, fmt.Sprintf("hosts[%d]", c.host)),
				"shares host %s with spec.servers[%d], which demands certificates, and this server %s: TLS goes by the name in the handshake and routes by the Host header, so a caller names a host of this server there and the other in Host, and gets in; make all servers of the Gateway mutual, or move this one to another Gateway",
				shown(c.name), c.stronger, weak.strength)
		}
	}
}

// olderServer: another Gateway's server takes the host, or the whole port, away from this one; else a weaker one waits
// for it.
func (f *finder) olderServer(g, i int) {
	o, s := &f.gateways[g].Object, &f.gateways[g].servers[i]
	for _, l := range s.listeners() {
		if plainOne, ok := f.listeners[l]; ok && plainOne.gateway < g {
			f.add(o, ReasonOlderServer, path(i, "port.number"), "the older Gateway %s has a server without TLS on port %s of ingress %s, and Istio drops every younger one with TLS there: callers get no mutual TLS; take one of the two to another port", shown(f.gateways[plainOne.gateway].key), shown(l.port), shown(l.ingress))
			return
		}
	}
	waiting := map[int]bool{}
	for _, h := range s.hosts {
		for _, l := range s.listeners() {
			c := claim{l, h.name}
			field := path(i, fmt.Sprintf("hosts[%d]", h.place))
			if other, older := f.olderAt(c, g); older {
				taker := &f.gateways[other.gateway]
				f.add(o, ReasonOlderServer, field, "host %s on port %s of ingress %s is held by spec.servers[%d] of the older Gateway %s, which %s: Istio drops this server whole, and callers get that one's terms; take the host off one of the two",
					shown(h.name), shown(l.port), shown(l.ingress), other.server, shown(taker.key), taker.servers[other.server].strength)
				return
			}
			if f.required != mutual || s.strength != mutual {
				continue
			}
			if other, ok := f.youngerAt(c, g, s.strength); ok && !waiting[other.gateway] {
				waiting[other.gateway] = true
				waiter := &f.gateways[other.gateway]
				f.add(o, ReasonSharedHost, field, "host %s on port %s of ingress %s is also in spec.servers[%d] of the younger Gateway %s, which %s: Istio drops that server as long as this Gateway is older, and serves it the day this one is deleted or created anew; take the host off it",
					shown(h.name), shown(l.port), shown(l.ingress), other.server, shown(waiter.key), waiter.servers[other.server].strength)
			}
		}
	}
}
