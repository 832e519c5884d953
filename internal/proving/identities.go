package proving

import (
	"crypto/tls"
	"fmt"
	"sync"
	"time"

	"sallyport.dev/sallyport/internal/probe"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// identityLife is how long a certificate of the agent's own handshakes lives. They are
// never stored: another agent makes its own.
const identityLife = time.Hour

// expiredLife is how long the certificate lived that is to be refused because it ended.
const expiredLife = time.Second

// identities are the certificates with which handshakes are tried. Their keys stay in
// memory. Safe for concurrent use.
type identities struct {
	trustDomain string

	mu sync.Mutex
	// sets are by the key id of the generation that issued them.
	sets map[string]set
	// foreign is of a CA that nobody trusts; the same for all.
	foreign   *tls.Certificate
	foreignTo time.Time
}

// set are the certificates of one generation.
type set struct {
	byExpectation map[probe.Expectation]*tls.Certificate
	renewAt       time.Time
}

func newIdentities(trustDomain string) *identities {
	return &identities{trustDomain: trustDomain, sets: map[string]set{}}
}

// of are the certificates to try a Gateway of this generation with, by what is expected
// of them. An expectation of somebody without a certificate has none.
func (i *identities) of(g rotate.Generation, now time.Time) (map[probe.Expectation]*tls.Certificate, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	id := g.Authority.Certificate().SubjectKeyID()
	if known, ok := i.sets[id]; ok && now.Before(known.renewAt) {
		return known.byExpectation, nil
	}
	foreign, err := i.foreigner(now)
	if err != nil {
		return nil, err
	}
	made, err := i.make(g, now)
	if err != nil {
		return nil, err
	}
	made.byExpectation[probe.UnknownAuthorityRefused] = foreign
	for key, s := range i.sets { // of generations that are gone
		if now.After(s.renewAt.Add(identityLife)) {
			delete(i.sets, key)
		}
	}
	i.sets[id] = made
	return made.byExpectation, nil
}

// strangers are the certificates to try a Gateway with of whose callers there is none to try.
func (i *identities) strangers(now time.Time) (map[probe.Expectation]*tls.Certificate, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	foreign, err := i.foreigner(now)
	if err != nil {
		return nil, err
	}
	return map[probe.Expectation]*tls.Certificate{probe.UnknownAuthorityRefused: foreign}, nil
}

// make issues the certificates of a generation. One key serves them all.
func (i *identities) make(g rotate.Generation, now time.Time) (set, error) {
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		return set{}, err
	}
	probeID := intent.ProbeIdentity(i.trustDomain)
	wanted := []struct {
		of       probe.Expectation
		identity string
		lifetime time.Duration
		at       time.Time
	}{
		{probe.ManagedAccepted, probeID, identityLife, now},
		{probe.NotAllowedRefused, probeID + "/stranger", identityLife, now},
		// It ended as long ago as its CA allows, so that a gateway whose clock is behind
		// still finds it ended.
		{probe.ExpiredRefused, probeID, expiredLife, later(g.Authority.Certificate().NotBefore(), now.Add(-identityLife))},
	}
	made := set{byExpectation: map[probe.Expectation]*tls.Certificate{}, renewAt: now.Add(identityLife / 2)}
	for _, w := range wanted {
		pair, err := g.Authority.IssueClient(pki.ClientRequest{CommonName: "sallyport probe", Identity: w.identity, Lifetime: w.lifetime}, key, w.at)
		if err != nil {
			return set{}, fmt.Errorf("issuing the certificate for %s: %w", w.of, err)
		}
		if made.byExpectation[w.of], err = forTLS(pair); err != nil {
			return set{}, err
		}
		if half := w.at.Add(pair.Leaf().NotAfter().Sub(w.at) / 2); w.of == probe.ManagedAccepted && half.Before(made.renewAt) {
			made.renewAt = half // the CA ends sooner
		}
	}
	if !g.Probe.IsZero() {
		if made.byExpectation[probe.RevokedRefused], err = forTLS(g.Probe); err != nil {
			return set{}, err
		}
	}
	return made, nil
}

// foreigner is a certificate with the agent's own identity of a CA that nobody trusts.
func (i *identities) foreigner(now time.Time) (*tls.Certificate, error) {
	if i.foreign != nil && now.Before(i.foreignTo) {
		return i.foreign, nil
	}
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		return nil, err
	}
	root, err := pki.NewRoot(pki.RootRequest{CommonName: "unknown to the edge", Key: key, Lifetime: 2 * identityLife}, now)
	if err != nil {
		return nil, err
	}
	pair, err := root.IssueClient(pki.ClientRequest{CommonName: "sallyport probe", Identity: intent.ProbeIdentity(i.trustDomain), Lifetime: 2 * identityLife}, key, now)
	if err != nil {
		return nil, err
	}
	if i.foreign, err = forTLS(pair); err != nil {
		return nil, err
	}
	i.foreignTo = now.Add(identityLife)
	return i.foreign, nil
}

// forTLS is a pair in the form in which a handshake takes it, parsed once.
func forTLS(pair pki.Pair) (*tls.Certificate, error) {
	certificate, err := tls.X509KeyPair(pair.CertificatePEM(), pair.KeyPEM())
	if err != nil {
		return nil, fmt.Errorf("reading a probe's certificate: %w", err)
	}
	return &certificate, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
