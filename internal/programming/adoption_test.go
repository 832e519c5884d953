package programming

import (
	"bytes"
	"context"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/internal/testenv"
	"sallyport.dev/sallyport/internal/testpki"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// teller are Headers that know whether a workload is told who called.
type teller bool

func (d teller) Forget(types.NamespacedName) {}

func (d teller) Tell(context.Context, types.NamespacedName) (does, known bool, err error) {
	return bool(d), true, nil
}

// byHand is what somebody made: his CA, a server certificate that ends after six hours, and his CRL.
type byHand struct {
	root testpki.Issued
	pair pki.Pair
	crl  []byte
}

func newByHand(t *testing.T, now time.Time) byHand {
	t.Helper()
	span := testpki.Span{From: now, To: now.Add(6 * time.Hour)}
	root := testpki.Root(t, "by hand", testpki.Around(now))
	leaf := root.Leaf(t, "shop.example.com", span)
	pair, err := pki.ParsePair(leaf.PEM(), leaf.KeyPEM(t))
	if err != nil {
		t.Fatal(err)
	}
	return byHand{root, pair, root.CRL(t, 1, span)}
}

func (b byHand) made(t *testing.T, crls ...byte) rotate.Adopted {
	t.Helper()
	made, err := rotate.ParseAdopted(b.pair.CertificatePEM(), b.root.PEM(), crls)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// stands are the facts of a Gateway whose own authority has a CA, with a CRL or without.
func (b byHand) stands(t *testing.T, mode v1alpha1.RevocationMode, now time.Time, edges ...cluster.StoredEdge) facts {
	t.Helper()
	own := testpki.Root(t, "own", testpki.Around(now))
	var crl []byte
	if mode == v1alpha1.RevocationCRL {
		crl = own.CRL(t, 1, testpki.Around(now))
	}
	bundle, err := pki.ParseBundle(own.PEM(), crl, now)
	if err != nil {
		t.Fatal(err)
	}
	object := &v1alpha1.CertificateAuthority{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "default"}, Spec: v1alpha1.CertificateAuthoritySpec{
		Source: v1alpha1.AuthoritySource{Type: v1alpha1.SourceSelfSigned}, Revocation: v1alpha1.RevocationSettings{Mode: mode},
	}}
	authority, err := pki.ParseAuthority(own.PEM(), own.KeyPEM(t))
	if err != nil {
		t.Fatal(err)
	}
	is := issuer.Issuer{Object: object, Bundle: bundle, Signer: rotate.SignerOf(authority)}
	is.Signer.Generation.Authority = authority
	f := facts{hosts: []string{"shop.example.com"}, issuer: is, ref: types.NamespacedName{Namespace: "shop", Name: "default"}, authorities: []accepted{{Issuer: is}}}
	for _, stored := range edges {
		f.edges = append(f.edges, edge{stored: stored, secrets: cluster.EdgeSecrets{
			Server: types.NamespacedName{Namespace: "istio-system", Name: "hand"}, Adopted: types.NamespacedName{Namespace: "istio-system", Name: "shop.edge.mtls-adopted"},
		}})
	}
	return f
}

// All is judged before anything is taken over: nobody who is accepted by what was made by hand is refused afterwards.
func TestWhatStandsAgainstTakingOver(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	b, other := newByHand(t, now), newByHand(t, now)
	offered := func(a rotate.Adopted) cluster.StoredEdge {
		return cluster.StoredEdge{Pair: b.pair, Offer: &cluster.Offer{Adopted: a}}
	}
	plain := map[string]any{}
	const none, crl = v1alpha1.RevocationNone, v1alpha1.RevocationCRL
	for name, row := range map[string]struct {
		mode    v1alpha1.RevocationMode
		edges   []cluster.StoredEdge
		gateway map[string]any
		headers Headers
		reason  string // empty: nothing
		says    string
	}{
		"nothing":                                {none, []cluster.StoredEdge{offered(b.made(t))}, plain, teller(false), "", ""},
		"nothing, with its CRL":                  {crl, []cluster.StoredEdge{offered(b.made(t, b.crl...))}, plain, teller(false), "", ""},
		"it has no CRL":                          {crl, []cluster.StoredEdge{offered(b.made(t))}, plain, teller(false), v1alpha1.ReasonAdoptionNeedsCRL, `CA "by hand": it states no CRL`},
		"its CRL would not be heeded":            {none, []cluster.StoredEdge{offered(b.made(t, b.crl...))}, plain, teller(false), v1alpha1.ReasonLeftOut, "gateways check none, as the condition RevocationCurrent of the authority tells"},
		"callers are told apart by name":         {none, []cluster.StoredEdge{offered(b.made(t))}, map[string]any{"spec": map[string]any{"servers": []any{map[string]any{"tls": map[string]any{"subjectAltNames": []any{"a"}}}}}}, teller(false), v1alpha1.ReasonForeignAuthorityNotAllowed, "can mint any name"},
		"a workload is told who called":          {none, []cluster.StoredEdge{offered(b.made(t))}, plain, teller(true), v1alpha1.ReasonForeignAuthorityNotAllowed, intent.KeyClientHeaders},
		"nobody knows whether one is":            {none, []cluster.StoredEdge{offered(b.made(t))}, plain, speechless{}, v1alpha1.ReasonPending, "APIRules cannot be read"},
		"it cannot be read":                      {none, []cluster.StoredEdge{{Offer: &cluster.Offer{Problem: errors.New("garbage")}}}, plain, teller(false), v1alpha1.ReasonForeignSecret, "garbage"},
		"another certificate somewhere else":     {none, []cluster.StoredEdge{offered(b.made(t)), {Pair: other.pair}}, plain, teller(false), v1alpha1.ReasonForeignSecret, "another server certificate"},
		"the same certificate everywhere":        {none, []cluster.StoredEdge{offered(b.made(t)), offered(b.made(t))}, plain, teller(false), "", ""},
		"nothing, with nobody's CA":              {crl, []cluster.StoredEdge{offered(rotate.Adopted{})}, plain, speechless{}, "", ""},
		"nothing, though another was taken over": {crl, []cluster.StoredEdge{{Pair: b.pair, Adopted: b.made(t, b.crl...)}}, plain, teller(false), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := b.stands(t, row.mode, now, row.edges...)
			p := &Programmer{Headers: row.headers}
			_ = p.patience.waits(false, now.Add(-headersPatience))
			f.gatherAdoption(now)
			if err := p.gatherTrust(t.Context(), Target{Gateway: row.gateway}, &f, now); err != nil || f.waiting {
				t.Fatalf("waiting: %t, error %v", f.waiting, err)
			}
			if row.reason == "" {
				if f.adoption.problem != nil || f.adoption.leftOut != "" {
					t.Errorf("problem %v, left out %q", f.adoption.problem, f.adoption.leftOut)
				}
				if made := len(f.adoption.made) > 0; made != bytes.Contains(f.trust.Bundle.CertificatesPEM(), b.root.PEM()) {
					t.Errorf("something was made: %t, and its CA is among the trusted: %t", made, !made)
				}
				return
			}
			if f.adoption.problem == nil || f.adoption.problem.Reason != row.reason || !strings.Contains(f.adoption.problem.Message, row.says) || !strings.Contains(f.adoption.problem.Message, "stays as it is") {
				t.Errorf("problem %+v, expected %s: %s", f.adoption.problem, row.reason, row.says)
			}
			if c, any := f.adopted(f.storedPair()); !any || c.Status != metav1.ConditionFalse || c.Reason != row.reason {
				t.Errorf("it tells %+v", c)
			}
			if f.waitsWithAdoption() != f.adoption.problem {
				t.Error("something is written all the same")
			}
			for _, e := range f.edges {
				if e.stored.Offer != nil || bytes.Contains(f.trust.Bundle.CertificatesPEM(), b.root.PEM()) || f.trust.Bundle.IsZero() || len(f.adoption.stands) > 0 {
					t.Error("a part of it is taken over")
				}
			}
		})
	}
}

// newStore is what stores Secrets at a real API server, and where those of one Gateway are.
func newStore(t *testing.T) (*cluster.Cluster, *testenv.View, cluster.EdgeSecrets) {
	t.Helper()
	view := testenv.NewView(environment.Admin(t))
	namespace := environment.Namespace(t, "programming").Name
	name := func(name string) types.NamespacedName { return types.NamespacedName{Namespace: namespace, Name: name} }
	return cluster.New(view, view.Client, namespace), view, cluster.EdgeSecrets{
		Server: name("hand"), CA: name("hand-cacert"), Adopted: name("adopted"), Owner: intent.Owner{Kind: "Gateway", Namespace: "shop", Name: "edge", UID: "1"},
	}
}

// A Secret of CAs that is ours already is kept current, whatever stands against what is offered beside it.
func TestWhatIsOursIsKeptCurrentThoughSomethingStandsAgainstAnOffer(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	b := newByHand(t, now)
	f := b.stands(t, v1alpha1.RevocationCRL, now, cluster.StoredEdge{Pair: b.pair, Offer: &cluster.Offer{Adopted: b.made(t)}})
	store, _, secrets := newStore(t)
	secrets.Provided = true
	if _, err := store.WriteEdge(t.Context(), secrets, pki.Pair{}, f.issuer.Bundle, cluster.StoredEdge{}, now); err != nil {
		t.Fatal(err)
	}
	stored, err := store.Edge(t.Context(), secrets)
	if err != nil {
		t.Fatal(err)
	}
	stored.Offer = f.edges[0].stored.Offer
	f.edges[0] = edge{secrets: secrets, stored: stored}
	f.gatherAdoption(now)
	if err := (&Programmer{Headers: teller(false)}).gatherTrust(t.Context(), Target{Gateway: map[string]any{}}, &f, now); err != nil {
		t.Fatal(err)
	}
	if f.adoption.problem == nil || f.waitsWithAdoption() != nil || len(f.trust.Bundle.Entries()) != 1 {
		t.Errorf("problem %v, and %v is waited for; %d CAs are trusted", f.adoption.problem, f.waitsWithAdoption(), len(f.trust.Bundle.Entries()))
	}
	if c, any := f.adopted(b.pair); !any || c.Reason != v1alpha1.ReasonAdoptionNeedsCRL {
		t.Errorf("it tells %+v", c)
	}
}

// What was taken over is judged in each pass: what changes later leaves it out and holds up nothing else.
func TestWhatWasTakenOverGoesOnAsLongAsItCan(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	b := newByHand(t, now)
	const none, crl = v1alpha1.RevocationNone, v1alpha1.RevocationCRL
	for name, row := range map[string]struct {
		mode    v1alpha1.RevocationMode
		crl     []byte
		at      time.Duration
		headers Headers
		trusted bool
		tells   string
	}{
		"it goes on":                          {none, nil, 0, teller(false), true, "the server certificate until 2026-09-01T17:00:00Z, or until spec.rotation.callersUpdated of CertificateAuthority shop/default names its active key; callers of CA \"by hand\" as long as Secret istio-system/shop.edge.mtls-adopted is there"},
		"its CRL ends":                        {crl, b.crl, 6 * time.Hour, teller(false), false, "False LeftOut: callers of what was made by hand are refused: CA \"by hand\""},
		"its CA ends":                         {none, nil, 25 * time.Hour, teller(false), false, "False LeftOut"},
		"revocation is asked for":             {crl, nil, 0, teller(false), false, "False AdoptionNeedsCRL"},
		"a workload is told who called":       {none, nil, 0, teller(true), false, "False ForeignAuthorityNotAllowed"},
		"APIRules cannot be read for a while": {none, nil, 0, speechless{}, false, "True Adopted"},
	} {
		t.Run(name, func(t *testing.T) {
			at := now.Add(row.at)
			f := b.stands(t, row.mode, at, cluster.StoredEdge{Pair: b.pair, Adopted: b.made(t, row.crl...)})
			p := &Programmer{Headers: row.headers}
			_ = p.patience.waits(false, at.Add(-headersPatience))
			f.gatherAdoption(at)
			if err := p.gatherTrust(t.Context(), Target{Gateway: map[string]any{}}, &f, at); err != nil || f.waiting || f.adoption.problem != nil {
				t.Fatalf("waiting: %t, problem %v, error %v", f.waiting, f.adoption.problem, err)
			}
			if n := len(f.trust.Bundle.Entries()); bytes.Contains(f.trust.Bundle.CertificatesPEM(), b.root.PEM()) != row.trusted || n < 1 {
				t.Errorf("%d CAs are trusted, and the hand-made one is among them: %t", n, !row.trusted)
			}
			c, any := f.adopted(b.pair)
			if said := string(c.Status) + " " + c.Reason + ": " + c.Message; !any || !strings.Contains(said, row.tells) {
				t.Errorf("it tells %s", said)
			}
		})
	}
}

// The hand-made server certificate serves until a sixth of its life is left, or until its callers are said to know the
// authority's; another one in its place is nobody's.
func TestTheHandMadeServerCertificateGivesWay(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	b, other := newByHand(t, now), newByHand(t, now)
	for name, row := range map[string]struct {
		stored  pki.Pair
		at      time.Duration
		known   bool
		hosts   []string
		serves  bool
		trouble string
	}{
		"it serves":                         {stored: b.pair, serves: true},
		"until a sixth of its life is left": {stored: b.pair, at: 5*time.Hour - time.Second, serves: true},
		"and then no more":                  {stored: b.pair, at: 5 * time.Hour},
		"nor when it has ended":             {stored: b.pair, at: 7 * time.Hour},
		"nor when callers know the next":    {stored: b.pair, known: true},
		"another in its place does not":     {stored: other.pair},
		"nor does none":                     {},
		"a host that it is not for":         {stored: b.pair, hosts: []string{"shop.example.com", "new.example.com"}, serves: true, trouble: "the server certificate that was made by hand is not for host new.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			f := b.stands(t, v1alpha1.RevocationNone, now, cluster.StoredEdge{Pair: row.stored, Adopted: b.made(t)})
			if row.hosts != nil {
				f.hosts = row.hosts
			}
			if row.known {
				f.authorities[0].Object.Spec.Rotation.CallersUpdated = f.issuer.Signer.Generation.Authority.Certificate().SubjectKeyID()
			}
			f.gatherAdoption(now)
			m, serves := f.handMaterial(now.Add(row.at))
			if serves != row.serves || !strings.Contains(m.trouble, row.trouble) || (row.trouble == "") != (m.trouble == "") {
				t.Errorf("it serves: %t, trouble %q", serves, m.trouble)
			}
			if serves && (!m.pair.Equal(b.pair) || !m.next.Equal(now.Add(5*time.Hour))) {
				t.Errorf("looked at again at %s", m.next)
			}
		})
	}
}

// What is remembered and cannot be read is told, and holds up nothing.
func TestAMemoryThatCannotBeRead(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	b := newByHand(t, now)
	f := b.stands(t, v1alpha1.RevocationNone, now, cluster.StoredEdge{Pair: b.pair, Forgotten: errors.New("garbage")})
	f.gatherAdoption(now)
	if len(f.trouble) != 1 || !strings.Contains(f.trouble[0], "istio-system/shop.edge.mtls-adopted") || f.adoption.problem != nil {
		t.Errorf("trouble %q, problem %v", f.trouble, f.adoption.problem)
	}
}

// What would be replaced in the pass that takes it over is not taken over: its key has no second copy, and its callers may know
// nobody else.
func TestACertificateThatWouldBeReplacedAtOnceIsNotTakenOver(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	b := newByHand(t, now)
	for name, row := range map[string]struct {
		at       time.Duration
		known    bool
		provided bool
		says     string
	}{
		"one that has its life before it":               {at: time.Hour},
		"one in the last sixth of it":                   {at: 5*time.Hour + time.Second, says: "less than a sixth of its life is left since 2026-09-01T17:00:00Z"},
		"one whose callers are said to know another CA": {at: time.Hour, known: true, says: "spec.rotation.callersUpdated of CertificateAuthority shop/default"},
		"one that stays its owner's":                    {at: 5*time.Hour + time.Second, known: true, provided: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := b.stands(t, v1alpha1.RevocationNone, now, cluster.StoredEdge{Pair: b.pair, Offer: &cluster.Offer{Adopted: b.made(t)}})
			f.provided = row.provided
			if row.known {
				f.issuer.Object.Spec.Rotation.CallersUpdated = f.issuer.Signer.Authority.Certificate().SubjectKeyID()
			}
			f.gatherAdoption(now.Add(row.at))
			if err := (&Programmer{Headers: teller(false)}).gatherTrust(t.Context(), Target{Gateway: map[string]any{}}, &f, now.Add(row.at)); err != nil {
				t.Fatal(err)
			}
			problem := f.waitsWithAdoption()
			if row.says == "" {
				if problem != nil {
					t.Errorf("problem %v", problem)
				}
				return
			}
			if problem == nil || problem.Reason != v1alpha1.ReasonCallersMustUpdate || !strings.Contains(problem.Message, row.says) {
				t.Errorf("problem %v, expected %q", problem, row.says)
			}
		})
	}
}

// The certificate of a Secret that is declined is not what is served elsewhere.
func TestWhatIsDeclinedIsNotStored(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	b, other := newByHand(t, now), newByHand(t, now)
	f := b.stands(t, v1alpha1.RevocationNone, now, cluster.StoredEdge{Pair: b.pair, Offer: &cluster.Offer{Adopted: b.made(t)}}, cluster.StoredEdge{Pair: other.pair})
	f.gatherAdoption(now)
	if err := (&Programmer{Headers: teller(false)}).gatherTrust(t.Context(), Target{Gateway: map[string]any{}}, &f, now); err != nil {
		t.Fatal(err)
	}
	if f.adoption.problem == nil || !f.storedPair().Equal(other.pair) {
		t.Errorf("problem %v, and stored is the one that is declined", f.adoption.problem)
	}
}

// What is taken over already goes on, though something stands against the rest of it.
func TestWhatIsRememberedGoesOnThoughTheRestIsDeclined(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	b := newByHand(t, now)
	f := b.stands(t, v1alpha1.RevocationNone, now, cluster.StoredEdge{Pair: b.pair, Adopted: b.made(t), Offer: &cluster.Offer{Problem: errors.New("garbage")}})
	f.gatherAdoption(now)
	if err := (&Programmer{Headers: teller(false)}).gatherTrust(t.Context(), Target{Gateway: map[string]any{}}, &f, now); err != nil {
		t.Fatal(err)
	}
	if f.adoption.problem == nil || !bytes.Contains(f.trust.Bundle.CertificatesPEM(), b.root.PEM()) {
		t.Errorf("problem %v, and its CA is not trusted any more", f.adoption.problem)
	}
}

// What is remembered and cannot be read any more leaves everything as it was: what is served, and who is let in.
func TestWhatCannotBeRememberedStays(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	b := newByHand(t, now)
	f := b.stands(t, v1alpha1.RevocationNone, now)
	store, view, secrets := newStore(t)
	before, err := f.issuer.Bundle.With([]pki.BundleEntry{b.made(t).CAs(now)[0].Entries[0]}, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.WriteEdge(t.Context(), secrets, b.pair, before, cluster.StoredEdge{}, now); err != nil {
		t.Fatal(err)
	}
	memory := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: secrets.Adopted.Namespace, Name: secrets.Adopted.Name}, Data: map[string][]byte{"ca.crt": []byte("garbage")}}
	cluster.Mark(memory, secrets.Owner)
	if err := view.Create(t.Context(), memory); err != nil {
		t.Fatal(err)
	}
	stored, err := store.Edge(t.Context(), secrets)
	if err != nil {
		t.Fatal(err)
	}
	f.edges = []edge{{secrets: secrets, stored: stored}}
	f.issuer.Published, f.settings = f.issuer.Bundle, rotate.LeafSettings{Lifetime: time.Hour, RenewBefore: 33, Algorithm: pki.ECDSAP256, Object: "x"}
	f.gatherAdoption(now)
	p := &Programmer{Headers: teller(false), Cluster: store}
	if err := p.gatherTrust(t.Context(), Target{Gateway: map[string]any{}}, &f, now); err != nil {
		t.Fatal(err)
	}
	m, err := p.materialize(t.Context(), Target{}, f, now)
	if err != nil || !m.pair.Equal(b.pair) || m.issued != "" {
		t.Errorf("issued for reason %q, error %v", m.issued, err)
	}
	if !bytes.Equal(f.trust.Bundle.CertificatesPEM(), before.CertificatesPEM()) {
		t.Errorf("trusted are %d CAs, expected the 2 of before", len(f.trust.Bundle.Entries()))
	}
	if len(f.trouble) != 1 || !strings.Contains(f.trouble[0], "restore it, or delete it") {
		t.Errorf("it tells %q", f.trouble)
	}
}

// Who brings the CA that he made by hand before can take the rest over as well: its callers are accepted as the authority's own. Whom
// only the hand-made CRL lists must not be let in by that.
func TestTheAuthoritysOwnCAByHand(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	b := newByHand(t, now)
	const none, crl = v1alpha1.RevocationNone, v1alpha1.RevocationCRL
	for name, row := range map[string]struct {
		mode v1alpha1.RevocationMode
		crl  []byte
		own  []byte
		says string
	}{
		"without revocation":                       {mode: none},
		"without a CRL of its own":                 {mode: crl, own: b.root.CRL(t, 7, testpki.Around(now))},
		"with a CRL that lists nobody":             {mode: crl, own: b.root.CRL(t, 7, testpki.Around(now)), crl: b.crl},
		"with one that the authority's CRL covers": {mode: crl, own: b.root.CRL(t, 7, testpki.Around(now), big.NewInt(99)), crl: b.root.CRL(t, 1, testpki.Around(now), big.NewInt(99))},
		"with one that it does not":                {mode: crl, own: b.root.CRL(t, 7, testpki.Around(now)), crl: b.root.CRL(t, 1, testpki.Around(now), big.NewInt(99)), says: "would let 1 callers in again"},
		"with one that nobody heeds":               {mode: none, crl: b.root.CRL(t, 1, testpki.Around(now), big.NewInt(99)), says: "would let 1 callers in again"},
	} {
		t.Run(name, func(t *testing.T) {
			f := b.stands(t, none, now, cluster.StoredEdge{Pair: b.pair, Offer: &cluster.Offer{Adopted: b.made(t, row.crl...)}})
			f.issuer.Object.Spec.Revocation.Mode = row.mode
			var err error
			if f.issuer.Bundle, err = pki.ParseBundle(b.root.PEM(), row.own, now); err != nil {
				t.Fatal(err)
			}
			f.authorities[0].Issuer = f.issuer
			f.gatherAdoption(now)
			if err := (&Programmer{Headers: teller(false)}).gatherTrust(t.Context(), Target{Gateway: map[string]any{}}, &f, now); err != nil {
				t.Fatal(err)
			}
			if problem := f.waitsWithAdoption(); (problem != nil) != (row.says != "") || problem != nil && !strings.Contains(problem.Message, row.says) {
				t.Errorf("problem %v, expected %q", problem, row.says)
			}
		})
	}
}

// An authority that only verifies is known to nobody by a key.
func TestWhoKnowsAnAuthorityWithoutACA(t *testing.T) {
	if (accepted{Issuer: issuer.Issuer{Object: &v1alpha1.CertificateAuthority{}}}).known() {
		t.Error("it is known")
	}
}

// Secrets that two Gateways name are taken over for none.
func TestASecretThatTwoGatewaysName(t *testing.T) {
	index := ingress.NewIndex(nil)
	index.SetGateway(map[string]any{
		"metadata": map[string]any{"namespace": "pay", "name": "edge"},
		"spec":     map[string]any{"servers": []any{map[string]any{"tls": map[string]any{"credentialName": "wildcard"}}}},
	})
	p := &Programmer{Edge: index}
	name := func(name string) types.NamespacedName {
		return types.NamespacedName{Namespace: "istio-system", Name: name}
	}
	for server, says := range map[string]string{"wildcard": "another Gateway, pay/edge, names Secret istio-system/wildcard too", "own": ""} {
		offer := &cluster.Offer{}
		p.sharedOffer(offer, cluster.EdgeSecrets{Server: name(server), CA: name(server + "-cacert")}, types.NamespacedName{Namespace: "shop", Name: "edge"})
		if (offer.Problem != nil) != (says != "") || says != "" && !strings.Contains(offer.Problem.Error(), says) {
			t.Errorf("%s: problem %v, expected %q", server, offer.Problem, says)
		}
	}
}
