package proving

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/internal/probe"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// Subject is one Gateway and what is expected of its replicas.
type Subject struct {
	// Endpoint is under which name the findings are told.
	Endpoint types.NamespacedName
	// Authority is whose callers it is tried with. A Gateway that trusts several has a Subject for each.
	Authority types.NamespacedName
	// Further is whether the Gateway's other Subject tries strangers, and what servers serve.
	Further bool
	// Gateway is what is tried.
	Gateway types.NamespacedName
	// Servers are its servers with the replicas that serve them.
	Servers []Server
	// Optional is whether callers without a certificate are let in on purpose.
	Optional bool
	// AllowList is whether only named callers are let in.
	AllowList bool
	// Revocation is whether the gateways were given CRLs.
	Revocation bool
	// Issuer is the generation whose callers are to be accepted; zero if nobody has a certificate to try
	// that with, and then only strangers are tried.
	Issuer rotate.Generation
	// Next is the generation whose callers are to be accepted as well, because it is about to
	// issue, and Withdrawn one whose callers are to be refused because it left the trust; zero if
	// there is none.
	Next, Withdrawn rotate.Generation
	// Held are the roots that callers may know, each alone; none if that is not known.
	Held []pki.Certificate
	// Leaf is the server certificate that is stored.
	Leaf pki.Certificate
	// Changed is whether a Secret of the Gateway was written just now.
	Changed bool
	// Known is whether an agent before this one has told how the Gateway stands: then what it
	// told stays, and the targets are tried each at its own moment, behind what is new.
	Known bool
	// Seen stands for the versions in which the Gateway and its Secrets were seen: what
	// somebody else changes is looked at at once.
	Seen string
}

// Server is one server of a Gateway.
type Server struct {
	// Hosts are canonical; the first label may be `*`.
	Hosts []string
	// Opaque is whether what arrives is led on as bytes, and not understood as HTTP.
	Opaque bool
	// Replicas are the Ready pods that serve it, with the port.
	Replicas []ingress.Replica
}

// differs reports whether gateways have something to learn that they did not have to
// learn for the Subject before.
func (s Subject) differs(before Subject) bool {
	return s.Changed || !s.Leaf.Equal(before.Leaf) || s.Issuer.ID != before.Issuer.ID ||
		s.Next.ID != before.Next.ID || s.Withdrawn.ID != before.Withdrawn.ID ||
		s.Optional != before.Optional || s.AllowList != before.AllowList || s.Revocation != before.Revocation
}

// about is what an expectation is about. What was found out about something else says nothing.
func (s Subject) about(e probe.Expectation) string {
	switch e {
	case probe.ManagedAccepted, probe.RevokedRefused, probe.ExpiredRefused, probe.NotAllowedRefused:
		return s.Issuer.ID
	case probe.NextAccepted:
		return s.Next.ID
	case probe.WithdrawnRefused:
		return s.Withdrawn.ID
	case probe.ServedLeafCurrent:
		return s.Leaf.Serial().String()
	}
	return ""
}

// expectations are what has to be met, in the order in which it is tried.
func (s Subject) expectations() []probe.Expectation {
	return slices.DeleteFunc(probe.Expectations(), func(e probe.Expectation) bool {
		switch e {
		case probe.ManagedAccepted, probe.ExpiredRefused:
			return s.Issuer.ID == ""
		case probe.AnonymousRefused:
			return s.Optional || s.Further
		case probe.UnknownAuthorityRefused:
			return s.Further
		case probe.RevokedRefused:
			return !s.Revocation || s.Issuer.ID == ""
		case probe.NotAllowedRefused:
			return !s.AllowList || s.Issuer.ID == ""
		case probe.NextAccepted:
			return s.Next.ID == ""
		case probe.WithdrawnRefused:
			return s.Withdrawn.ID == ""
		case probe.ServedChainTrusted:
			return len(s.Held) == 0
		}
		return false
	})
}

// place is one host on one port of one replica: what one handshake can be made with.
type place struct {
	// replica is <namespace>/<pod>.
	replica string
	port    uint32
	host    string
}

// compare orders places by replica, host and port.
func (p place) compare(other place) int {
	return cmp.Or(cmp.Compare(p.replica, other.replica), cmp.Compare(p.host, other.host), cmp.Compare(p.port, other.port))
}

// spot is a place with how to get there.
type spot struct {
	place
	ip            string
	proxyProtocol bool
	opaque        bool
}

// spots are all places of a Gateway, ordered.
func (s Subject) spots() []spot {
	var spots []spot
	for _, server := range s.Servers {
		for _, replica := range server.Replicas {
			for _, host := range server.Hosts {
				spots = append(spots, spot{
					place:         place{replica: replica.Ingress.Namespace + "/" + replica.Pod, port: replica.Port, host: host},
					ip:            replica.IP,
					proxyProtocol: replica.Ingress.ProxyProtocol,
					opaque:        server.Opaque,
				})
			}
		}
	}
	slices.SortFunc(spots, func(a, b spot) int { return a.compare(b.place) })
	return slices.CompactFunc(spots, func(a, b spot) bool { return a.place == b.place })
}
