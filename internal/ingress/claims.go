package ingress

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// Conflict is one host on which two Gateways meet: on the same port of the pods of
// an ingress both belong to. Of two such servers istiod keeps the one of the older
// Gateway and drops the other whole, with no trace on either object.
type Conflict struct {
	// Host is the canonical host.
	Host string
	// Port is the port of the asking Gateway's server, Target what it becomes.
	Port   uint32
	Target TargetPort
	// Ingress is where they meet.
	Ingress string
	// Other is the Gateway that has the host as well.
	Other types.NamespacedName
	// OtherIsOlder is whether the other one wins, and the asking one loses its server.
	OtherIsOlder bool
}

// Claims are the hosts of all Gateways. They are kept by host alone, so that a
// change of pods or Services invalidates nothing; few Gateways share a host, and
// where they meet is worked out when somebody asks. Claims are not safe for
// concurrent use.
type Claims struct {
	gateways map[types.NamespacedName]*Gateway
	byHost   map[string][]*Gateway
}

// NewClaims returns claims without any Gateway.
func NewClaims() *Claims {
	return &Claims{gateways: map[types.NamespacedName]*Gateway{}, byHost: map[string][]*Gateway{}}
}

// Set adds a Gateway or replaces what was known of it.
func (c *Claims) Set(g Gateway) {
	c.Delete(g.Ref())
	c.gateways[g.Ref()] = &g
	for _, host := range g.hosts() {
		c.byHost[host] = append(c.byHost[host], &g)
	}
}

// Delete forgets a Gateway.
func (c *Claims) Delete(ref types.NamespacedName) {
	g, ok := c.gateways[ref]
	if !ok {
		return
	}
	delete(c.gateways, ref)
	for _, host := range g.hosts() {
		left := slices.DeleteFunc(c.byHost[host], func(other *Gateway) bool { return other == g })
		if len(left) == 0 {
			delete(c.byHost, host)
			continue
		}
		c.byHost[host] = left
	}
}

// Sharing are the other Gateways that have a host in common with this one,
// wherever they land, in order of their names.
func (c *Claims) Sharing(g Gateway) []types.NamespacedName {
	var refs []types.NamespacedName
	for _, host := range g.hosts() {
		for _, other := range c.byHost[host] {
			if other.Ref() != g.Ref() {
				refs = append(refs, other.Ref())
			}
		}
	}
	return distinct(refs)
}

// Conflicts are the hosts of g that another Gateway has on the same target port of
// a common ingress, ordered by host, ingress, port and age of the other. A host
// under another Gateway's wildcard is none: the longer match wins in Envoy. Two
// servers without TLS are none either: istiod merges them.
//
// Every older Gateway counts as a holder, even one whose own server is dropped
// because of a third: it takes the host the moment that third one goes.
func (c *Claims) Conflicts(t Topology, g Gateway) []Conflict {
	var conflicts []Conflict
	for i := range g.Servers {
		mine := &g.Servers[i]
		for _, host := range mine.Hosts {
			for _, other := range c.byHost[host] {
				if other.Ref() != g.Ref() {
					conflicts = append(conflicts, meetingsOn(t, host, &g, mine, other)...)
				}
			}
		}
	}
	slices.SortFunc(conflicts, func(a, b Conflict) int {
		return cmp.Or(
			strings.Compare(a.Host, b.Host),
			strings.Compare(a.Ingress, b.Ingress),
			cmp.Compare(a.Port, b.Port),
			c.compareAge(a.Other, b.Other),
			cmp.Compare(a.Target.Number, b.Target.Number),
			strings.Compare(a.Target.Name, b.Target.Name),
		)
	})
	return slices.Compact(conflicts)
}

// Anonymous are the other Gateways with a server on a port of g's that lets in who has no certificate, in order of their names.
// Most have the same selector and port, and where those land is worked out once.
func (c *Claims) Anonymous(t Topology, g Gateway) []types.NamespacedName {
	type landing struct {
		selector string
		port     uint32
	}
	known := map[landing]bool{}
	var refs []types.NamespacedName
	for ref, other := range c.gateways {
		if ref == g.Ref() || !slices.ContainsFunc(other.Servers, func(s Server) bool { return s.Anonymous }) {
			continue
		}
		selector := labels.FormatLabels(other.Selector)
		meets := func(theirs Server) bool {
			if !theirs.Anonymous {
				return false
			}
			at := landing{selector, theirs.Port}
			meet, found := known[at]
			if !found {
				meet = slices.ContainsFunc(g.Servers, func(mine Server) bool {
					return mine.TLS && len(t.sharedTargets(g.Selector, mine.Port, other.Selector, theirs.Port)) > 0
				})
				known[at] = meet
			}
			return meet
		}
		if slices.ContainsFunc(other.Servers, meets) {
			refs = append(refs, ref)
		}
	}
	return distinct(refs)
}

func (c *Claims) compareAge(a, b types.NamespacedName) int {
	return older(c.gateways[a], c.gateways[b])
}

// meetingsOn are the conflicts between one server of g and the servers of other
// that have the host.
func meetingsOn(t Topology, host string, g *Gateway, mine *Server, other *Gateway) []Conflict {
	var conflicts []Conflict
	for i := range other.Servers {
		theirs := &other.Servers[i]
		if !slices.Contains(theirs.Hosts, host) || mine.Bind != theirs.Bind || (!mine.TLS && !theirs.TLS) {
			continue
		}
		for _, m := range t.sharedTargets(g.Selector, mine.Port, other.Selector, theirs.Port) {
			conflicts = append(conflicts, Conflict{
				Host: host, Port: mine.Port, Target: m.target, Ingress: m.ingress.Name,
				Other: other.Ref(), OtherIsOlder: older(other, g) < 0,
			})
		}
	}
	return conflicts
}

// hosts are the Gateway's canonical hosts, each once.
func (g *Gateway) hosts() []string {
	var hosts []string
	for i := range g.Servers {
		hosts = append(hosts, g.Servers[i].Hosts...)
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

func compareRefs(a, b types.NamespacedName) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

// distinct sorts references and drops repetitions.
func distinct(refs []types.NamespacedName) []types.NamespacedName {
	slices.SortFunc(refs, compareRefs)
	return slices.Compact(refs)
}
