package proving

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"net"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/probe"
	"sallyport.dev/sallyport/pkg/rotate"
)

// timeout bounds one handshake. Nearly all of it is for a replica that accepts a
// connection and says nothing.
const timeout = 2 * time.Second

// try makes one handshake for each expectation that needs one of its own. What the
// gateway serves is judged by the first that showed it.
func (p *Prover) try(ctx context.Context, j job) observation {
	if err := p.config.Addresses.Check(j.spot.ip); err != nil {
		return j.unknown(probe.AddressRefused, err.Error())
	}
	now := p.config.Clock.Now()
	certificates, err := p.certificates(j.wanted, now)
	wanted := probe.Wanted{Leaf: j.wanted.Leaf.X509().Raw, Trusted: j.trusted(), Host: j.hostName(), Now: now}
	at := probe.Target{
		Address:    net.JoinHostPort(j.spot.ip, strconv.FormatUint(uint64(j.spot.port), 10)),
		ServerName: wanted.Host, ProxyProtocol: j.spot.proxyProtocol, Opaque: j.spot.opaque,
	}
	seen := observation{}
	var shown probe.Facts
	for _, e := range j.expectations {
		facts := shown
		switch certificate := certificates[e]; {
		case e == probe.ServedLeafCurrent, e == probe.ServedChainTrusted, nobodyThere(shown):
		case certificate == nil && e != probe.AnonymousRefused:
			seen[e] = probe.Finding{Verdict: probe.Unknown, Reason: probe.NoIdentity, Message: noIdentity(err)}
			continue
		default:
			end := p.begin(j.spot.place, certificate == nil)
			facts = p.handshake(ctx, at, certificate)
			end(facts.Outcome)
		}
		if shown.Chain == nil {
			shown = facts
		}
		seen[e] = probe.Check(e, facts, wanted)
	}
	return seen
}

// nobodyThere reports whether no handshake could end otherwise: there was no connection,
// or nothing came of it.
func nobodyThere(f probe.Facts) bool {
	return f.Reason == probe.Unreachable || f.Reason == probe.Silent && f.Chain == nil
}

func noIdentity(err error) string {
	if err != nil {
		return "no certificate to try it with: " + err.Error()
	}
	return "no certificate to try it with"
}

// unknown is a round in which nothing was tried.
func (j job) unknown(reason probe.Reason, message string) observation {
	seen := observation{}
	for _, e := range j.expectations {
		seen[e] = probe.Finding{Verdict: probe.Unknown, Reason: reason, Message: message}
	}
	return seen
}

// handshake tries one handshake and tells how long it took.
func (p *Prover) handshake(ctx context.Context, at probe.Target, present *tls.Certificate) probe.Facts {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	begun := p.config.Clock.Now()
	facts := probe.Handshake(ctx, at, present)
	p.config.Tried(facts.Outcome, p.config.Clock.Since(begun))
	return facts
}

// hostName is the server name to ask for: under a wildcard one that nobody asked for
// before.
func (j job) hostName() string {
	if rest, wild := strings.CutPrefix(j.spot.host, "*."); wild {
		return "probe-" + strings.ToLower(rand.Text()) + "." + rest
	}
	return j.spot.host
}

// trusted are the bundles that callers may hold.
func (j job) trusted() []*x509.CertPool {
	pools := make([]*x509.CertPool, len(j.wanted.Held))
	for i, root := range j.wanted.Held {
		pools[i] = x509.NewCertPool()
		pools[i].AddCert(root.X509())
	}
	return pools
}

// certificates are what each expectation is tried with.
func (p *Prover) certificates(s Subject, now time.Time) (map[probe.Expectation]*tls.Certificate, error) {
	if s.Issuer.ID == "" {
		return p.identities.strangers(now)
	}
	issued, err := p.identities.of(s.Issuer, now)
	certificates := maps.Clone(issued)
	if certificates == nil {
		certificates = map[probe.Expectation]*tls.Certificate{}
	}
	for e, g := range map[probe.Expectation]rotate.Generation{probe.NextAccepted: s.Next, probe.WithdrawnRefused: s.Withdrawn} {
		if g.ID == "" {
			continue
		}
		of, ofErr := p.identities.of(g, now)
		if ofErr != nil {
			err = errors.Join(err, ofErr)
			continue
		}
		certificates[e] = of[probe.ManagedAccepted]
	}
	return certificates, err
}
