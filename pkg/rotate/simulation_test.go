package rotate

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
)

// world is an authority with gateways and callers, in which time passes. The agent's clock may
// be wrong, what is written reaches the gateways late, and the agent may die at any write.
type world struct {
	t        *testing.T
	chance   *rand.Rand
	settings AuthoritySettings
	leaves   LeafSettings
	now      time.Time
	skew     time.Duration
	ledger   Ledger
	serials  Serials
	gateways []*edge
	callers  []*caller
	// activations count how often another generation began to issue.
	activations int
}

// edge is a gateway: what is stored for it, and what it serves by now.
type edge struct {
	stored, served state
	due            time.Time
	ready          bool
}

type state struct {
	pair   pki.Pair
	bundle pki.Bundle
}

// caller holds a certificate and the trust that it took with it.
type caller struct {
	name  string
	pair  pki.Pair
	trust []pki.Certificate
	// newest is what is at hand for it.
	newest pki.Pair
	kind   string
}

func (w *world) agent() time.Time { return w.now.Add(w.skew) }

// reconcile makes one pass of the authority. A pass that dies leaves nothing.
func (w *world) reconcile(dies bool) {
	now := w.agent()
	plan := PlanAuthority(w.ledger, w.settings, w.evidence(), now)
	after, err := MaterializeAuthority(w.ledger, plan, w.settings, now)
	if err != nil {
		w.t.Fatalf("%s: %v", w.now, err)
	}
	if dies {
		return
	}
	data, err := after.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	if w.ledger, err = DecodeLedger(data); err != nil {
		w.t.Fatal(err)
	}
	for _, step := range plan.Steps {
		if step.Action == Activate {
			w.activations++
		}
	}
}

// evidence is what handshakes with the ready gateways show.
func (w *world) evidence() Evidence {
	e := Evidence{ClientsEnd: w.serials.Ends(), InUse: map[string]bool{}}
	for i, g := range w.gateways {
		for _, generation := range w.ledger.Generations() {
			if !g.stored.pair.IsZero() && g.stored.pair.Leaf().AuthorityKeyID() == generation.keyID() {
				e.InUse[generation.ID] = true
			}
		}
		if !g.ready {
			continue
		}
		f := Finding{Gateway: fmt.Sprintf("shop/g%d", i), Replica: "istio-system/pod", Counted: true}
		if next, is := w.ledger.Next(); is {
			f.Answer = w.accepted(next, g, Yes, No)
			e.Accepts = append(e.Accepts, f)
		}
		if withdrawn, is := w.ledger.Withdrawn(); is {
			f.Answer = w.accepted(withdrawn, g, No, Yes)
			e.Refuses = append(e.Refuses, f)
		}
		f.Answer = Unknown
		if bytes.Equal(g.served.pair.CertificatePEM(), g.stored.pair.CertificatePEM()) {
			f.Answer = Yes
		}
		e.Serves = append(e.Serves, f)
	}
	return e
}

// accepted tries a handshake with a fresh certificate of a generation.
func (w *world) accepted(g Generation, at *edge, yes, no Answer) Answer {
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		w.t.Fatal(err)
	}
	pair, err := g.Authority.IssueClient(pki.ClientRequest{CommonName: "probe", Identity: "spiffe://example.com/probe", Lifetime: time.Hour}, key, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	if pair.Chain().VerifyClient(at.served.bundle, w.now) == nil {
		return yes
	}
	return no
}

func (w *world) signer() (Signer, pki.Bundle) {
	signer, ok, err := w.ledger.Signer(w.agent())
	if err != nil || !ok {
		w.t.Fatalf("%s: no signer: %v", w.now, err)
	}
	bundle, err := w.ledger.Bundle(true, w.agent())
	if err != nil {
		w.t.Fatalf("%s: %v", w.now, err)
	}
	return signer, bundle
}

// program brings what is stored for the gateways and what is at hand for the callers up to date.
func (w *world) program() {
	signer, bundle := w.signer()
	hosts := []string{"shop.example.com"}
	for i, g := range w.gateways {
		s := w.leaves
		s.Object = fmt.Sprint("gateway", i)
		next := state{pair: g.stored.pair, bundle: bundle}
		if PlanServer(g.stored.pair, hosts, s, signer, w.agent()).Issue {
			pair, err := MaterializeServer(signer, bundle, hosts, s, w.agent())
			if err != nil {
				w.t.Fatalf("%s: %v", w.now, err)
			}
			next.pair = pair
		}
		if !bytes.Equal(next.pair.CertificatePEM(), g.stored.pair.CertificatePEM()) || !bytes.Equal(next.bundle.CertificatesPEM(), g.stored.bundle.CertificatesPEM()) ||
			!bytes.Equal(next.bundle.CRLsPEM(), g.stored.bundle.CRLsPEM()) {
			g.stored, g.due = next, w.now.Add(w.between(0, time.Minute))
		}
	}
	for _, c := range w.callers {
		s := w.leaves
		s.Object = c.name
		names := ClientNames{CommonName: c.name, Identity: "spiffe://example.com/" + c.name}
		if !PlanClient(c.newest, names, s, signer, w.agent()).Issue {
			continue
		}
		pair, err := MaterializeClient(signer, bundle, names, s, w.agent())
		if err != nil {
			w.t.Fatalf("%s: %v", w.now, err)
		}
		c.newest = pair
		w.serials, _ = w.serials.Add(w.agent(), IssuedSerial{Serial: pair.Leaf().Serial(), NotAfter: pair.Leaf().NotAfter(), Generation: signer.Generation.ID, Caller: "ns/" + c.name})
	}
}

// serve has the gateways take what has reached them.
func (w *world) serve() {
	for _, g := range w.gateways {
		if !w.now.Before(g.due) {
			g.served = g.stored
		}
	}
}

// onboard has callers take what is at hand, each when it is its way to.
func (w *world) onboard() {
	_, bundle := w.signer()
	for _, c := range w.callers {
		ends := c.pair.IsZero() || !w.now.Before(c.pair.Leaf().NotAfter().Add(-5*time.Minute))
		rootsEnd := true
		for _, root := range c.trust {
			rootsEnd = rootsEnd && !w.now.Before(root.NotAfter().Add(-5*time.Minute))
		}
		switch {
		case c.kind == "prompt", ends && c.kind == "thrifty", rootsEnd:
			c.pair, c.trust = c.newest, bundle.Certificates()
		case ends: // it keeps its roots
			c.pair = c.newest
		}
	}
}

// call has every caller call every gateway.
func (w *world) call() {
	for _, c := range w.callers {
		var entries []pki.BundleEntry
		for _, root := range c.trust {
			if !w.now.After(root.NotAfter()) {
				entries = append(entries, pki.BundleEntry{CA: root})
			}
		}
		trust, err := pki.NewBundle(entries, w.now)
		if err != nil {
			w.t.Fatalf("%s: the trust of %s: %v", w.now, c.name, err)
		}
		for i, g := range w.gateways {
			if !g.ready {
				continue
			}
			if err := g.served.pair.Chain().VerifyServer(trust, []string{"shop.example.com"}, w.now); err != nil {
				w.t.Fatalf("%s: caller %s refuses gateway %d: %v\n%s", w.now, c.name, i, err, w.tell(c, g))
			}
			if err := c.pair.Chain().VerifyClient(g.served.bundle, w.now); err != nil {
				w.t.Fatalf("%s: gateway %d refuses caller %s: %v\n%s", w.now, i, c.name, err, w.tell(c, g))
			}
		}
	}
}

// tell says what everybody has.
func (w *world) tell(c *caller, g *edge) string {
	text := ""
	say := func(what string, certificates ...pki.Certificate) {
		for _, c := range certificates {
			p := c.X509()
			text += fmt.Sprintf("%s: %q by %q, %s to %s\n", what, p.Subject.CommonName, p.Issuer.CommonName, p.NotBefore, p.NotAfter)
		}
	}
	for _, generation := range w.ledger.Generations() {
		say(fmt.Sprintf("%s %s since %s", generation.ID, generation.State, generation.Since), generation.Authority.Certificate())
	}
	say("the caller trusts", c.trust...)
	say("the caller has", append([]pki.Certificate{c.pair.Leaf()}, c.pair.Chain().Above()...)...)
	say("the gateway trusts", g.served.bundle.Certificates()...)
	say("the gateway has", append([]pki.Certificate{g.served.pair.Leaf()}, g.served.pair.Chain().Above()...)...)
	return text
}

// between is a random span of time.
func (w *world) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.chance.Int64N(int64(most-least)))
}

// newWorld has an authority of two months, certificates of ten days, and CRLs of ten.
func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, chance: rand.New(rand.NewPCG(seed, seed)), now: start, settings: settings(), //nolint:gosec // to be repeated
		leaves: LeafSettings{Lifetime: 10 * day, RenewBefore: 33, Algorithm: pki.ECDSAP256},
	}
	s := &w.settings
	s.Name = fmt.Sprintf("shop/a%d", seed)
	s.RootLifetime, s.LongestLeaf, s.CRLValidity, s.CRLRefresh = 60*day, 10*day, 10*day, 40*time.Hour
	w.skew = w.between(-10*time.Minute, 10*time.Minute)
	for range 2 {
		w.gateways = append(w.gateways, &edge{ready: true})
	}
	for _, kind := range []string{"prompt", "thrifty", "stubborn"} {
		w.callers = append(w.callers, &caller{name: kind, kind: kind})
	}
	return w
}

// pass lets a while go by: the agent works or dies, changes arrive, callers call, gateways come
// and go, and now and then somebody asks for a rotation.
func (w *world) pass() {
	w.reconcile(w.chance.IntN(10) == 0)
	if w.chance.IntN(10) > 0 {
		w.program()
	}
	w.serve()
	w.onboard()
	w.call()
	if w.chance.IntN(20) == 0 {
		g := w.gateways[w.chance.IntN(len(w.gateways))]
		g.ready = !g.ready
		g.served = g.stored // it begins with what is stored
	}
	if w.chance.IntN(30) == 0 {
		w.settings.Rotation.RotateAfter = w.agent()
	}
	w.now = w.now.Add(w.between(time.Minute, 8*time.Hour))
}

func TestNoCallerIsRefusedByARotation(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, seed)
			w.reconcile(false)
			w.program()
			for _, g := range w.gateways {
				g.served = g.stored
			}
			for end := w.now.Add(150 * day); w.now.Before(end); {
				w.pass()
			}
			if w.activations < 2 {
				t.Errorf("%d generations began to issue in 150 days, expected two at least", w.activations)
			}
		})
	}
}
