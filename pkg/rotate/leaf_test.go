package rotate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/pkg/pki"
)

const day = 24 * time.Hour

var hosts = []string{"a.example.com", "b.example.com"}

// leaves are settings of certificates that live 90 days and are renewed when a
// third of that is left.
func leaves() LeafSettings {
	return LeafSettings{Lifetime: 90 * day, RenewBefore: 33, Algorithm: pki.ECDSAP256, Object: "Gateway/shop/edge"}
}

// root is a CA that begins at start.
func root(t testing.TB, lifetime time.Duration) pki.Authority {
	t.Helper()
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := pki.NewRoot(pki.RootRequest{CommonName: "root", Key: key, Lifetime: lifetime}, start)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func trust(t testing.TB, ca pki.Authority, now time.Time) pki.Bundle {
	t.Helper()
	bundle, err := pki.NewBundle([]pki.BundleEntry{{CA: ca.Certificate()}}, now)
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

func server(t testing.TB, ca pki.Authority, s LeafSettings, now time.Time) pki.Pair {
	t.Helper()
	pair, err := MaterializeServer(SignerOf(ca), trust(t, ca, now), hosts, s, now)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func TestPlanServer(t *testing.T) {
	ca, other := root(t, 3650*day), root(t, 3650*day)
	s := leaves()
	pair := server(t, ca, s, start)
	due := RenewalTime(pair.Leaf(), s)
	tests := map[string]struct {
		stored   pki.Pair
		hosts    []string
		settings func(*LeafSettings)
		issuer   pki.Authority
		now      time.Time
		want     LeafPlan
	}{
		"a missing one is issued":                         {stored: pki.Pair{}, hosts: hosts, want: LeafPlan{Issue: true, Reason: ReasonMissing}},
		"a fresh one is looked at when it becomes due":    {hosts: hosts, want: LeafPlan{Next: due}},
		"the order of names does not matter":              {hosts: []string{"b.example.com", "a.example.com"}, want: LeafPlan{Next: due}},
		"a name more":                                     {hosts: append([]string{"c.example.com"}, hosts...), want: LeafPlan{Issue: true, Reason: ReasonNames}},
		"a name less":                                     {hosts: hosts[:1], want: LeafPlan{Issue: true, Reason: ReasonNames}},
		"another key algorithm":                           {hosts: hosts, settings: func(s *LeafSettings) { s.Algorithm = pki.ECDSAP384 }, want: LeafPlan{Issue: true, Reason: ReasonKey}},
		"another issuer":                                  {hosts: hosts, issuer: other, want: LeafPlan{Issue: true, Reason: ReasonIssuer}},
		"a shorter lifetime":                              {hosts: hosts, settings: func(s *LeafSettings) { s.Lifetime = 30 * day }, want: LeafPlan{Issue: true, Reason: ReasonLifetime}},
		"a longer lifetime":                               {hosts: hosts, settings: func(s *LeafSettings) { s.Lifetime = 91 * day }, want: LeafPlan{Issue: true, Reason: ReasonLifetime}},
		"a second before it is due":                       {hosts: hosts, now: due.Add(-time.Second), want: LeafPlan{Next: due}},
		"when it is due":                                  {hosts: hosts, now: due, want: LeafPlan{Issue: true, Reason: ReasonDue, PutOff: validity{pair.Leaf().NotBefore(), pair.Leaf().NotAfter()}.putOff()}},
		"when it has ended":                               {hosts: hosts, now: pair.Leaf().NotAfter().Add(time.Second), want: LeafPlan{Issue: true, Reason: ReasonDue}},
		"names are judged before the key and the issuer":  {hosts: hosts[:1], issuer: other, settings: func(s *LeafSettings) { s.Algorithm = pki.RSA2048 }, want: LeafPlan{Issue: true, Reason: ReasonNames}},
		"a share that leaves no tenth to gain is put off": {hosts: hosts, settings: func(s *LeafSettings) { s.RenewBefore = 99 }, want: LeafPlan{Next: pair.Leaf().NotAfter().Add(-81 * day)}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, issuer, now, stored := leaves(), ca, start, pair
			if test.settings != nil {
				test.settings(&s)
			}
			if !test.issuer.IsZero() {
				issuer = test.issuer
			}
			if !test.now.IsZero() {
				now = test.now
			}
			if test.want.Reason == ReasonMissing {
				stored = test.stored
			}
			if diff := cmp.Diff(test.want, PlanServer(stored, test.hosts, s, SignerOf(issuer), now)); diff != "" {
				t.Errorf("plan (-want +found):\n%s", diff)
			}
		})
	}
}

func TestPlanClient(t *testing.T) {
	ca, other := root(t, 3650*day), root(t, 3650*day)
	s := leaves()
	names := ClientNames{CommonName: "billing", Identity: "spiffe://example.com/ns/shop/client/billing", DNSNames: []string{"billing.example.com"}}
	pair, err := MaterializeClient(SignerOf(ca), trust(t, ca, start), names, s, start)
	if err != nil {
		t.Fatal(err)
	}
	due := RenewalTime(pair.Leaf(), s)
	issue := func(r Reason) LeafPlan { return LeafPlan{Issue: true, Reason: r} }
	tests := map[string]struct {
		change func(*pki.Pair, *ClientNames, *LeafSettings, *pki.Authority)
		want   LeafPlan
	}{
		"as stored":             {func(*pki.Pair, *ClientNames, *LeafSettings, *pki.Authority) {}, LeafPlan{Next: due}},
		"missing":               {func(p *pki.Pair, _ *ClientNames, _ *LeafSettings, _ *pki.Authority) { *p = pki.Pair{} }, issue(ReasonMissing)},
		"another common name":   {func(_ *pki.Pair, n *ClientNames, _ *LeafSettings, _ *pki.Authority) { n.CommonName = "orders" }, issue(ReasonNames)},
		"another identity":      {func(_ *pki.Pair, n *ClientNames, _ *LeafSettings, _ *pki.Authority) { n.Identity += "2" }, issue(ReasonNames)},
		"no DNS name any more":  {func(_ *pki.Pair, n *ClientNames, _ *LeafSettings, _ *pki.Authority) { n.DNSNames = nil }, issue(ReasonNames)},
		"another key algorithm": {func(_ *pki.Pair, _ *ClientNames, s *LeafSettings, _ *pki.Authority) { s.Algorithm = pki.ECDSAP384 }, issue(ReasonKey)},
		"another issuer":        {func(_ *pki.Pair, _ *ClientNames, _ *LeafSettings, a *pki.Authority) { *a = other }, issue(ReasonIssuer)},
		"another lifetime":      {func(_ *pki.Pair, _ *ClientNames, s *LeafSettings, _ *pki.Authority) { s.Lifetime = day }, issue(ReasonLifetime)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p, n, s, a := pair, names, leaves(), ca
			test.change(&p, &n, &s, &a)
			if diff := cmp.Diff(test.want, PlanClient(p, n, s, SignerOf(a), start)); diff != "" {
				t.Errorf("plan (-want +found):\n%s", diff)
			}
		})
	}
}

// request is a certificate request for a new key.
func request(t testing.TB) pki.CertificateRequest {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.ParseCertificateRequest(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func TestPlanClientFor(t *testing.T) {
	ca, csr := root(t, 3650*day), request(t)
	s := leaves()
	names := ClientNames{CommonName: "billing", Identity: "spiffe://example.com/ns/shop/client/billing"}
	chain, err := MaterializeClientFor(SignerOf(ca), trust(t, ca, start), csr, names, s, start)
	if err != nil {
		t.Fatal(err)
	}
	renamed := names
	renamed.CommonName = "orders"
	anotherAlgorithm := s
	anotherAlgorithm.Algorithm = pki.RSA4096
	tests := map[string]struct {
		stored   pki.Chain
		csr      pki.CertificateRequest
		names    ClientNames
		settings LeafSettings
		want     LeafPlan
	}{
		"as stored":                 {chain, csr, names, s, LeafPlan{Next: RenewalTime(chain.Leaf(), s)}},
		"missing":                   {pki.Chain{}, csr, names, s, LeafPlan{Issue: true, Reason: ReasonMissing}},
		"a request for another key": {chain, request(t), names, s, LeafPlan{Issue: true, Reason: ReasonKey}},
		"another common name":       {chain, csr, renamed, s, LeafPlan{Issue: true, Reason: ReasonNames}},
		"the key's algorithm is the caller's own":        {chain, csr, names, anotherAlgorithm, LeafPlan{Next: RenewalTime(chain.Leaf(), s)}},
		"another key is told before other names even so": {chain, request(t), renamed, s, LeafPlan{Issue: true, Reason: ReasonKey}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, PlanClientFor(test.stored, test.csr, test.names, test.settings, SignerOf(ca), start)); diff != "" {
				t.Errorf("plan (-want +found):\n%s", diff)
			}
		})
	}
}

func TestJitterIsStableAndDiffersByObject(t *testing.T) {
	s := leaves()
	leaf := server(t, root(t, 3650*day), s, start).Leaf()
	first := RenewalTime(leaf, s)
	for range 100 {
		if again := RenewalTime(leaf, s); !again.Equal(first) {
			t.Fatalf("renewal at %s, then at %s", first, again)
		}
	}
	life := leaf.NotAfter().Sub(leaf.NotBefore())
	latest := leaf.NotAfter().Add(-time.Duration(float64(life) * 0.33))
	if first.After(latest) || first.Before(latest.Add(-life/20)) {
		t.Errorf("renewal at %s, expected at most a twentieth of %s before %s", first, life, latest)
	}
	seen := map[time.Time]bool{}
	for _, object := range []string{"Gateway/shop/a", "Gateway/shop/b", "Gateway/shop/c", "Gateway/shop/d"} {
		s.Object = object
		seen[RenewalTime(leaf, s)] = true
	}
	if len(seen) != 4 {
		t.Errorf("4 objects are renewed at %d different times", len(seen))
	}
}

// TestNearTheEndOfTheIssuer shows the last certificates of a CA.
func TestNearTheEndOfTheIssuer(t *testing.T) {
	s := leaves()
	const life = 1000 * day
	ca := root(t, life)
	end := ca.Certificate().NotAfter()
	cut := server(t, ca, s, end.Add(-40*day))
	if got := cut.Leaf().NotAfter(); !got.Equal(end) {
		t.Fatalf("the leaf ends at %s, its CA at %s", got, end)
	}
	for _, left := range []time.Duration{40 * day, 10 * day, time.Hour, 0} {
		if diff := cmp.Diff(LeafPlan{}, PlanServer(cut, hosts, s, SignerOf(ca), end.Add(-left))); diff != "" {
			t.Errorf("one cut to its CA's end, %s before that (-want +found):\n%s", left, diff)
		}
	}
	// This one ends five days before its CA. Renewing it gains less than a tenth, and
	// yet it must not end while its CA could go on.
	short := server(t, ca, s, end.Add(-95*day))
	plan := PlanServer(short, hosts, s, SignerOf(ca), end.Add(-95*day))
	if plan.Issue || plan.Next.IsZero() || plan.Next.After(short.Leaf().NotAfter()) {
		t.Errorf("one that ends before its CA: plan is %+v, expected a look before %s", plan, short.Leaf().NotAfter())
	}
}
