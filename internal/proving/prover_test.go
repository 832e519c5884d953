package proving

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/internal/probe"
	"sallyport.dev/sallyport/internal/testenv"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const trustDomain = "example.com"

// generation makes a CA as an authority has it.
func generation(t testing.TB, id string, now time.Time) rotate.Generation {
	t.Helper()
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	root, err := pki.NewRoot(pki.RootRequest{CommonName: "shop/default " + id, Key: key, Lifetime: 24 * time.Hour}, now)
	if err != nil {
		t.Fatal(err)
	}
	revoked, err := root.IssueClient(pki.ClientRequest{CommonName: "revoked probe", Identity: "spiffe://example.com/sallyport/probe/revoked", Lifetime: time.Hour}, key, now)
	if err != nil {
		t.Fatal(err)
	}
	return rotate.Generation{ID: id, State: rotate.Active, CreatedAt: now, Authority: root, Probe: revoked}
}

// serverPair is a certificate for a host.
func serverPair(t testing.TB, g rotate.Generation, host string, now time.Time) pki.Pair {
	t.Helper()
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := g.Authority.IssueServer(pki.ServerRequest{Hosts: []string{host}, Key: key, Lifetime: time.Hour}, now)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// standIn is a TLS server in the place of a gateway replica. What it does can be
// changed while it runs.
type standIn struct {
	address string
	config  atomic.Pointer[tls.Config]
	hello   atomic.Int64
}

func newStandIn(t testing.TB, address string, config *tls.Config) *standIn {
	t.Helper()
	s := &standIn{}
	s.config.Store(config)
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s.address = listener.Addr().String()
	var open sync.WaitGroup
	open.Go(func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			open.Go(func() { s.serve(connection) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); open.Wait() })
	return s
}

func (s *standIn) serve(connection net.Conn) {
	defer func() { _ = connection.Close() }()
	s.hello.Add(1)
	_ = connection.SetDeadline(time.Now().Add(5 * time.Second))
	session := tls.Server(connection, s.config.Load())
	request := make([]byte, 1024)
	if _, err := session.Read(request); err != nil {
		return
	}
	_, _ = session.Write([]byte("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n"))
}

// mutual asks for certificates of a generation, and heeds its revocations.
func mutual(t testing.TB, g rotate.Generation, pair pki.Pair) *tls.Config {
	t.Helper()
	certificate, err := forTLS(pair)
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(g.Authority.Certificate().X509())
	return &tls.Config{
		Certificates: []tls.Certificate{*certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusted,
		SessionTicketsDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) > 0 && bytes.Equal(state.PeerCertificates[0].Raw, g.Probe.Leaf().X509().Raw) {
				return errors.New("it is revoked")
			}
			return nil
		},
	}
}

// replicas are those of stand-ins.
func replicas(t testing.TB, of ...*standIn) []ingress.Replica {
	t.Helper()
	var all []ingress.Replica
	for i, s := range of {
		address, err := net.ResolveTCPAddr("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, ingress.Replica{
			Ingress: ingress.Ingress{Name: "public", Namespace: "istio-system"}, Pod: fmt.Sprintf("gateway-%d", i),
			IP: address.IP.String(), Port: uint32(address.Port), //nolint:gosec // a port
		})
	}
	return all
}

// started is a Prover that runs until the test ends.
func started(t testing.TB, every time.Duration, addresses Addresses) (prover *Prover, changed *atomic.Int64) {
	t.Helper()
	changed = &atomic.Int64{}
	prover = New(Config{
		Period: every, TrustDomain: trustDomain, Addresses: addresses, Clock: clock.RealClock{},
		Changed: func(types.NamespacedName) { changed.Add(1) }, Tried: func(probe.Outcome, time.Duration) {},
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = prover.Start(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return prover, changed
}

var local = Addresses{Local: true}

// eventuallyProof waits until what is known is as wanted.
func eventuallyProof(t *testing.T, p *Prover, endpoint types.NamespacedName, want Proof) {
	t.Helper()
	testenv.Eventually(t, 20*time.Second, fmt.Sprintf("%s is %s", endpoint, want.State), func(context.Context) error {
		if got := knownOf(p, endpoint); got != want {
			return fmt.Errorf("proof %s", cmp.Diff(want, got))
		}
		return nil
	})
}

func TestEveryReplicaIsHeldToWhatIsExpected(t *testing.T) {
	now := time.Now()
	g1 := generation(t, "g1", now)
	pair := serverPair(t, g1, "a.example.com", now)
	first := newStandIn(t, "127.0.0.1:0", mutual(t, g1, pair))
	second := newStandIn(t, "127.0.0.1:0", mutual(t, g1, pair))
	prover, changed := started(t, 300*time.Millisecond, local)
	subject := Subject{
		Endpoint: types.NamespacedName{Namespace: "shop", Name: "gateway-edge"}, Gateway: types.NamespacedName{Namespace: "shop", Name: "edge"},
		Servers:    []Server{{Hosts: []string{"a.example.com"}, Replicas: replicas(t, first, second)}},
		Revocation: true, Issuer: g1, Held: []pki.Certificate{g1.Authority.Certificate()}, Leaf: pair.Leaf(),
	}
	if proof := prover.Prove(subject, now); proof.State != Underway || proof.Unknown != 2 {
		t.Errorf("at first %+v", proof)
	}
	eventuallyProof(t, prover, subject.Endpoint, Proof{State: Proven, Proven: 2})
	if view, tried := prover.Of(subject.Endpoint, subject.Authority); !tried || view.Accepted != "g1" {
		t.Errorf("what is known with callers of the authority is %+v, tried: %t", view, tried)
	}
	if changed.Load() == 0 {
		t.Error("nobody was told")
	}
	const of = "Gateway shop/edge: "
	refuted := func(worst probe.Expectation, message string) Proof {
		return Proof{State: Refuted, Proven: 1, Failed: 1, Worst: worst, Message: of + message}
	}
	certain := func(pair pki.Pair, change func(*tls.Config)) *tls.Config {
		config := mutual(t, g1, pair)
		change(config)
		return config
	}
	for name, test := range map[string]struct {
		config *tls.Config
		want   Proof
	}{
		"it lets strangers in": {
			certain(pair, func(c *tls.Config) { c.ClientAuth = tls.VerifyClientCertIfGiven }),
			refuted(probe.AnonymousRefused, "AnonymousRefused of replica istio-system/gateway-1 for host a.example.com: a caller without a certificate was accepted"),
		},
		"it no longer heeds the CRL": {
			certain(pair, func(c *tls.Config) { c.VerifyConnection = nil }),
			refuted(probe.RevokedRefused, "RevokedRefused of replica istio-system/gateway-1 for host a.example.com: a revoked certificate was accepted"),
		},
		"it trusts another CA": {
			certain(pair, func(c *tls.Config) { c.ClientCAs = x509.NewCertPool() }),
			refuted(probe.ManagedAccepted, "ManagedAccepted of replica istio-system/gateway-1 for host a.example.com: the gateway refused the managed certificate: unknown_ca"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			second.config.Store(test.config)
			eventuallyProof(t, prover, subject.Endpoint, test.want)
			second.config.Store(mutual(t, g1, pair))
			eventuallyProof(t, prover, subject.Endpoint, Proof{State: Proven, Proven: 2})
		})
	}
	t.Run("what somebody else changed is looked at at once", func(t *testing.T) {
		patient, _ := started(t, time.Hour, local)
		subject := subject
		subject.Seen = "1"
		patient.Prove(subject, time.Now())
		eventuallyProof(t, patient, subject.Endpoint, Proof{State: Proven, Proven: 2})
		second.config.Store(certain(pair, func(c *tls.Config) { c.ClientAuth = tls.VerifyClientCertIfGiven }))
		if _, tried := patient.Last(subject.Endpoint, subject.Servers, "2", time.Now()); !tried {
			t.Fatal("it is not tried")
		}
		eventuallyState(t, patient, subject.Endpoint, Refuted, probe.AnonymousRefused)
		second.config.Store(mutual(t, g1, pair))
	})
	t.Run("a renewed leaf is proven once it is served", func(t *testing.T) {
		renewed := serverPair(t, g1, "a.example.com", now)
		subject.Leaf = renewed.Leaf()
		prover.Prove(subject, time.Now())
		eventuallyState(t, prover, subject.Endpoint, Refuted, probe.ServedLeafCurrent)
		first.config.Store(mutual(t, g1, renewed))
		second.config.Store(mutual(t, g1, renewed))
		eventuallyProof(t, prover, subject.Endpoint, Proof{State: Proven, Proven: 2})
	})
	t.Run("callers of a further authority are tried as well", func(t *testing.T) {
		g2 := generation(t, "g2", now)
		further := subject
		further.Authority, further.Issuer, further.Held = types.NamespacedName{Namespace: "shop", Name: "next"}, g2, nil
		prover.Prove(subject, time.Now(), further)
		eventuallyProof(t, prover, subject.Endpoint, Proof{State: Refuted, Failed: 2, Worst: probe.ManagedAccepted, Message: of +
			"ManagedAccepted of replica istio-system/gateway-0 for host a.example.com with callers of shop/next: the gateway refused the managed certificate: unknown_ca; " +
			"ManagedAccepted of replica istio-system/gateway-1 for host a.example.com with callers of shop/next: the gateway refused the managed certificate: unknown_ca"})
		if view, tried := prover.Of(subject.Endpoint, further.Authority); !tried || view.Active != "g2" || view.Accepted != "" {
			t.Errorf("with its callers %+v is known, tried: %t", view, tried)
		}
		if n := len(prover.Snapshot()); n != 2 {
			t.Errorf("%d replicas are told of, expected two", n)
		}
		prover.Prove(subject, time.Now())
		eventuallyProof(t, prover, subject.Endpoint, Proof{State: Proven, Proven: 2})
		if _, tried := prover.Of(subject.Endpoint, further.Authority); tried || prover.targets != 2 {
			t.Errorf("it is still tried, %d targets", prover.targets)
		}
	})
	t.Run("what is forgotten is not tried any more", func(t *testing.T) {
		prover.Forget(subject.Endpoint)
		if left := prover.Snapshot(); len(left) != 0 {
			t.Errorf("%d replicas are left", len(left))
		}
		if _, known := prover.Last(subject.Endpoint, subject.Servers, "", now); known || prover.targets != 0 {
			t.Error("it is still known")
		}
	})
}

// known is what is known of an endpoint.
func knownOf(p *Prover, endpoint types.NamespacedName) Proof {
	p.mu.Lock()
	defer p.mu.Unlock()
	return proofOf(p.subjects[endpoint])
}

func eventuallyState(t *testing.T, p *Prover, endpoint types.NamespacedName, state State, worst probe.Expectation) {
	t.Helper()
	testenv.Eventually(t, 20*time.Second, fmt.Sprintf("%s is %s by %s", endpoint, state, worst), func(context.Context) error {
		if got := knownOf(p, endpoint); got.State != state || got.Worst != worst {
			return fmt.Errorf("proof %+v", got)
		}
		return nil
	})
}

func TestWhatCannotBeJudgedIsNotTakenForRefused(t *testing.T) {
	now := time.Now()
	g1 := generation(t, "g1", now)
	next := generation(t, "g2", now)
	pair := serverPair(t, g1, "a.example.com", now)
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := &standIn{address: nobody.Addr().String()}
	_ = nobody.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // its backlog takes connections, and nobody answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	for name, test := range map[string]struct {
		replica   *standIn
		addresses Addresses
		want      probe.Reason
		reachable bool
		untried   bool
	}{
		"nobody listens":          {gone, local, probe.Unreachable, false, false},
		"nobody answers":          {&standIn{address: silent.Addr().String()}, local, probe.Silent, true, false},
		"it may not be dialled":   {newStandIn(t, "127.0.0.1:0", mutual(t, g1, pair)), Addresses{}, probe.AddressRefused, true, true},
		"it serves no such thing": {newStandIn(t, "127.0.0.1:0", &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("none") }}), local, probe.OtherAlert, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prover, _ := started(t, 300*time.Millisecond, test.addresses)
			endpoint := types.NamespacedName{Namespace: "shop", Name: "gateway-edge"}
			prover.Prove(Subject{
				Endpoint: endpoint, Servers: []Server{{Hosts: []string{"*.example.com"}, Replicas: replicas(t, test.replica)}},
				Revocation: true, AllowList: true, Issuer: g1, Next: next, Withdrawn: next, Held: []pki.Certificate{g1.Authority.Certificate()}, Leaf: pair.Leaf(),
			}, now)
			eventuallyState(t, prover, endpoint, Unproven, probe.ManagedAccepted)
			for _, r := range prover.Snapshot() {
				if r.Tried == test.untried || r.Reachable != test.reachable || len(r.Findings) != len(probe.Expectations()) {
					t.Errorf("result %+v", r)
				}
				for e, f := range r.Findings {
					if f.Verdict != probe.Unknown || f.Reason != test.want {
						t.Errorf("%s: %+v", e, f)
					}
				}
			}
			if test.want == probe.AddressRefused && test.replica.hello.Load() != 0 {
				t.Error("it was dialled")
			}
		})
	}
}

func TestTheIdentitiesOfAGeneration(t *testing.T) {
	now := time.Now()
	g1, g2 := generation(t, "g1", now), generation(t, "g2", now)
	made := newIdentities(trustDomain)
	first, err := made.of(g1, now)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(g1.Authority.Certificate().X509())
	for e, want := range map[probe.Expectation]struct {
		identity string
		trusted  bool
	}{
		probe.ManagedAccepted:         {"spiffe://example.com/sallyport/probe", true},
		probe.NotAllowedRefused:       {"spiffe://example.com/sallyport/probe/stranger", true},
		probe.RevokedRefused:          {"spiffe://example.com/sallyport/probe/revoked", true},
		probe.ExpiredRefused:          {"spiffe://example.com/sallyport/probe", false},
		probe.UnknownAuthorityRefused: {"spiffe://example.com/sallyport/probe", false},
	} {
		certificate := first[e]
		if certificate == nil {
			t.Errorf("%s has no certificate", e)
			continue
		}
		if got := certificate.Leaf.URIs[0].String(); got != want.identity {
			t.Errorf("%s is %s", e, got)
		}
		_, err := certificate.Leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		if (err == nil) != want.trusted {
			t.Errorf("%s: verified with %v", e, err)
		}
		if life := certificate.Leaf.NotAfter.Sub(now); life > 2*identityLife {
			t.Errorf("%s lives for another %s", e, life)
		}
	}
	if ended := now.Sub(first[probe.ExpiredRefused].Leaf.NotAfter); ended < 5*time.Minute {
		t.Errorf("the expired one ended %s ago: a gateway whose clock is behind would take it", ended)
	}
	if _, err := first[probe.ExpiredRefused].Leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: first[probe.ExpiredRefused].Leaf.NotBefore, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Errorf("the expired one was never valid: %v", err)
	}
	if _, leaf := first[probe.AnonymousRefused], first[probe.ServedLeafCurrent]; leaf != nil {
		t.Error("what needs no certificate has one")
	}
	again, err := made.of(g1, now.Add(time.Minute))
	if err != nil || again[probe.ManagedAccepted] != first[probe.ManagedAccepted] {
		t.Errorf("it was made again (error %v)", err)
	}
	renewed, err := made.of(g1, now.Add(identityLife/2))
	if err != nil || renewed[probe.ManagedAccepted] == first[probe.ManagedAccepted] {
		t.Errorf("it was not renewed (error %v)", err)
	}
	if other, err := made.of(g2, now); err != nil || other[probe.ManagedAccepted] == renewed[probe.ManagedAccepted] {
		t.Errorf("two generations share one (error %v)", err)
	}
	if _, err := made.of(g1, now.Add(48*time.Hour)); err == nil {
		t.Error("a CA that has ended issued")
	}
}

// An agent that begins tries what another one has told of in its turn, behind what is new.
func TestWhatWasToldBeforeWaitsForItsTurn(t *testing.T) {
	now := time.Now()
	g1 := generation(t, "g1", now)
	hosts := make([]string, 100)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("h%d.example.com", i)
	}
	subject := func(name string, known bool) Subject {
		return Subject{
			Endpoint: types.NamespacedName{Namespace: "shop", Name: name}, Issuer: g1, Known: known,
			Servers: []Server{{Hosts: hosts, Replicas: []ingress.Replica{{Pod: "gateway-0", IP: "10.0.0.1", Port: 443}}}},
		}
	}
	prover := New(Config{Period: 15 * time.Second})
	late := func(name string) (late int) {
		for _, target := range prover.subjects[types.NamespacedName{Namespace: "shop", Name: name}][0].targets {
			wait := target.next.Sub(now)
			if wait > 15*time.Second || wait < 0 {
				t.Errorf("%s waits %s", target.spot.host, wait)
			}
			if wait > firstLook {
				late++
			}
		}
		return late
	}
	prover.Prove(subject("known", true), now)
	prover.Prove(subject("new", false), now)
	if got := late("known"); got < 80 {
		t.Errorf("%d of 100 that are known wait for their turn", got)
	}
	if got := late("new"); got != 0 {
		t.Errorf("%d of 100 that are new have to wait", got)
	}
	changed := subject("known", true)
	changed.Changed = true
	prover.Prove(changed, now)
	if got := late("known"); got != 0 {
		t.Errorf("%d of 100 that changed have to wait", got)
	}
}
