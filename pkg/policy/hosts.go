package policy

import (
	"slices"
	"strings"
)

// maxHost is the longest host that is looked at: a DNS name, after a wildcard. No handshake names a longer one.
const maxHost = 253 + len("*.")

// scopedHost is a host of a server, and whose VirtualServices may take it.
type scopedHost struct {
	// namespace of the VirtualServices; empty for all.
	namespace string
	// name in canonical form, with its wildcard.
	name string
	// server and place are its indexes in the Gateway.
	server, place int
}

// scoped reads a host as a Gateway spells it: <namespace>/<host>, in which . is the Gateway's own and * is every
// namespace (istio/istio:pilot/pkg/model/gateway.go, sanitizeServerHostNamespace).
func scoped(spelled, own string) scopedHost {
	namespace, _, found := strings.Cut(spelled, "/")
	switch {
	case !found, namespace == "*":
		namespace = ""
	case namespace == ".":
		namespace = own
	}
	return scopedHost{namespace: namespace, name: canonical(spelled)}
}

// meets reports whether one VirtualService could take both hosts.
func (h scopedHost) meets(other scopedHost) bool {
	return (h.namespace == "" || other.namespace == "" || h.namespace == other.namespace) && overlap(h.name, other.name)
}

// overlap reports whether two canonical hosts have a name in common, with wildcards as Istio reads them: by the
// text after the star (istio/istio:pkg/config/host/name.go, Matches).
func overlap(a, b string) bool {
	suffixA, wildA := strings.CutPrefix(a, "*")
	suffixB, wildB := strings.CutPrefix(b, "*")
	switch {
	case wildA && wildB:
		return strings.HasSuffix(suffixA, suffixB) || strings.HasSuffix(suffixB, suffixA)
	case wildA:
		return strings.HasSuffix(b, suffixA)
	case wildB:
		return strings.HasSuffix(a, suffixB)
	}
	return a == b
}

// fewHosts is up to how many hosts of a Gateway are compared one by one.
const fewHosts = 16

// hostIndex finds the hosts of one Gateway that overlap with another one.
type hostIndex struct {
	all []scopedHost
	// named are the places in all of hosts without a wildcard, covering of those with one, by what is after the star.
	named, covering map[string][]int
	// reversed are the places in all, in order of the name from behind: what a wildcard covers stands together.
	reversed []reversedHost
}

type reversedHost struct {
	text string
	at   int
}

func newHostIndex(hosts []scopedHost) hostIndex {
	x := hostIndex{all: hosts}
	if len(hosts) <= fewHosts {
		return x
	}
	x.named, x.covering = map[string][]int{}, map[string][]int{}
	for i, h := range hosts {
		suffix, wild := strings.CutPrefix(h.name, "*")
		if wild {
			x.covering[suffix] = append(x.covering[suffix], i)
		} else {
			x.named[h.name] = append(x.named[h.name], i)
		}
		x.reversed = append(x.reversed, reversedHost{reverse(suffix), i})
	}
	slices.SortFunc(x.reversed, func(a, b reversedHost) int { return strings.Compare(a.text, b.text) })
	return x
}

func reverse(s string) string {
	b := []byte(s)
	slices.Reverse(b)
	return string(b)
}

// overlapping tells each host that overlaps with a canonical one, maybe more than once, until it is told to stop.
func (x *hostIndex) overlapping(name string, tell func(scopedHost) bool) {
	if name == "" || len(name) > maxHost {
		return
	}
	if x.named == nil {
		for _, h := range x.all {
			if overlap(h.name, name) && !tell(h) {
				return
			}
		}
		return
	}
	suffix, wild := strings.CutPrefix(name, "*")
	if !wild && !x.tellAll(x.named[name], tell) {
		return
	}
	for i := range len(suffix) + 1 {
		if !x.tellAll(x.covering[suffix[i:]], tell) {
			return
		}
	}
	if wild {
		x.below(reverse(suffix), tell)
	}
}

// below tells the hosts that a wildcard covers.
func (x *hostIndex) below(reversed string, tell func(scopedHost) bool) {
	first, _ := slices.BinarySearchFunc(x.reversed, reversed, func(h reversedHost, text string) int { return strings.Compare(h.text, text) })
	for _, h := range x.reversed[first:] {
		if !strings.HasPrefix(h.text, reversed) || !tell(x.all[h.at]) {
			return
		}
	}
}

func (x *hostIndex) tellAll(places []int, tell func(scopedHost) bool) bool {
	for _, i := range places {
		if !tell(x.all[i]) {
			return false
		}
	}
	return true
}
