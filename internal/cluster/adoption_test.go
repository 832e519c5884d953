package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/testpki"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/pki"
)

// handMade is a set-up that somebody made by hand.
type handMade struct{ root, leaf testpki.Issued }

func newHandMade(t *testing.T) handMade {
	t.Helper()
	root := testpki.Root(t, "by hand", testpki.Around(start))
	return handMade{root, root.Leaf(t, "orders.example.com", testpki.Around(start))}
}

// secret is one of its Secrets, handed over to a Gateway; to nobody if that is empty.
func (f fixture) handedOver(name, to string, kind corev1.SecretType, data map[string][]byte) *corev1.Secret {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name}, Type: kind, Data: data}
	if to != "" {
		secret.Annotations = map[string]string{intent.KeyAdopt: to}
	}
	return secret
}

func (f fixture) edge(t *testing.T, s EdgeSecrets) StoredEdge {
	t.Helper()
	stored, err := f.Edge(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

// What somebody made by hand is read as Istio reads it, and taken over as it was read.
func TestHandMadeSecretsAreTakenOver(t *testing.T) {
	h := newHandMade(t)
	crl := h.root.CRL(t, 1, testpki.Around(start))
	other := testpki.Root(t, "other", testpki.Around(start))
	pairs := map[string]map[string][]byte{
		"tls":     {"tls.crt": h.leaf.PEM(), "tls.key": h.leaf.KeyPEM(t)},
		"generic": {"cert": h.leaf.PEM(), "key": h.leaf.KeyPEM(t), "tls.crt": []byte("stale"), "tls.key": []byte("stale")},
	}
	with := func(kind string, more map[string][]byte) map[string][]byte {
		data := maps.Clone(pairs[kind])
		maps.Copy(data, more)
		return data
	}
	for name, row := range map[string]struct {
		server, ca map[string][]byte
		kind       corev1.SecretType
		cas, crls  []byte
		provided   bool
	}{
		"two Secrets":                       {server: with("tls", nil), ca: map[string][]byte{"ca.crt": h.root.PEM()}, kind: corev1.SecretTypeTLS, cas: h.root.PEM()},
		"of generic keys, with a CRL":       {server: with("generic", nil), ca: map[string][]byte{"cacert": h.root.PEM(), "crl": crl, "ca.crt": other.PEM()}, kind: corev1.SecretTypeOpaque, cas: h.root.PEM(), crls: crl},
		"one Secret with all":               {server: with("tls", map[string][]byte{"ca.crt": h.root.PEM(), "ca.crl": crl}), kind: corev1.SecretTypeOpaque, cas: h.root.PEM(), crls: crl},
		"a CA of their own beats another":   {server: with("tls", map[string][]byte{"ca.crt": other.PEM()}), ca: map[string][]byte{"ca.crt": h.root.PEM()}, kind: corev1.SecretTypeOpaque, cas: h.root.PEM()},
		"a CRL that Istio ignores":          {server: with("tls", nil), ca: map[string][]byte{"ca.crt": h.root.PEM(), "crl": crl}, kind: corev1.SecretTypeTLS, cas: h.root.PEM()},
		"a server that asked nobody so far": {server: with("tls", nil), kind: corev1.SecretTypeTLS},
		"the CAs of a provided certificate": {server: with("tls", nil), ca: map[string][]byte{"cacert": h.root.PEM()}, kind: corev1.SecretTypeTLS, cas: h.root.PEM(), provided: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			s := f.edgeSecrets("tls")
			to := "shop/edge"
			if row.provided {
				s.CA, s.Provided, to = f.key("own-cacert"), true, ""
			}
			f.put(t, f.handedOver("tls", to, row.kind, row.server))
			if row.ca != nil {
				f.put(t, f.handedOver("tls-cacert", "shop/edge", corev1.SecretTypeOpaque, row.ca))
			}
			byHand := f.read(t, "tls")
			stored := f.edge(t, s)
			if stored.Offer == nil || stored.Offer.Problem != nil {
				t.Fatalf("offer %+v", stored.Offer)
			}
			if a := stored.Offer.Adopted; !slices.Equal(a.CAsPEM(), row.cas) || !slices.Equal(a.CRLsPEM(), row.crls) {
				t.Errorf("read are\n%s%s", a.CAsPEM(), a.CRLsPEM())
			}
			_, bundle := material(t)
			outcome, err := f.WriteEdge(t.Context(), s, stored.Pair, bundle, stored, start)
			if err != nil || !outcome.Adopted {
				t.Fatalf("outcome %+v, error %v", outcome, err)
			}
			ca, server, remembered := f.read(t, s.CA.Name), f.read(t, "tls"), f.read(t, "tls-adopted")
			if !row.provided && (version(t, remembered) >= version(t, ca) || version(t, ca) >= version(t, server)) {
				t.Errorf("remembered at %d, the CAs written at %d, the server at %d: a death in between would lose callers", version(t, remembered), version(t, ca), version(t, server))
			}
			if diff := cmp.Diff(map[string][]byte{"ca.crt": bundle.CertificatesPEM(), "ca.crl": bundle.CRLsPEM()}, ca.Data); diff != "" {
				t.Errorf("CA Secret (-want +stored):\n%s", diff)
			}
			if _, is := remembered.Data["tls.key"]; is || len(remembered.Data) > 3 {
				t.Errorf("remembered is %v", slices.Sorted(maps.Keys(remembered.Data)))
			}
			if row.provided {
				if diff := cmp.Diff(byHand, server); diff != "" || !strings.Contains(f.read(t, "tls-cacert").Annotations[intent.KeyAdopt], "shop/edge") {
					t.Errorf("what stays its owner's was written (-before +after):\n%s", diff)
				}
			} else if want := map[string][]byte{"tls.crt": h.leaf.PEM(), "tls.key": h.leaf.KeyPEM(t)}; !cmp.Equal(server.Data, want) || server.Type != row.kind || server.UID != byHand.UID {
				t.Errorf("the server's Secret has type %s and keys %v, and is another: %t", server.Type, slices.Sorted(maps.Keys(server.Data)), server.UID != byHand.UID)
			}
			if marked, ours := OwnerOf(server); ours == row.provided || !row.provided && (marked != s.Owner || server.Annotations[intent.KeyAdopt] != "") {
				t.Errorf("the server's Secret carries %v", server.Annotations)
			}
			again := f.edge(t, s)
			if again.Offer != nil || !slices.Equal(again.Adopted.CAsPEM(), row.cas) || !slices.Equal(again.Adopted.CRLsPEM(), row.crls) {
				t.Errorf("afterwards offer %+v, remembered\n%s", again.Offer, again.Adopted.CAsPEM())
			}
			if outcome, err := f.WriteEdge(t.Context(), s, again.Pair, bundle, again, start); err != nil || outcome.Changed() || outcome.Adopted {
				t.Errorf("the second time %+v, error %v", outcome, err)
			}
		})
	}
}

// A certificate of the authority's comes in a Secret of the right type: only the hand-made key has no second copy.
func TestTheTypeOfAHandMadeSecretIsPutRightWithTheNextCertificate(t *testing.T) {
	f, h := newFixture(t), newHandMade(t)
	s := f.edgeSecrets("tls")
	f.put(t, f.handedOver("tls", "shop/edge", corev1.SecretTypeOpaque, map[string][]byte{"tls.crt": h.leaf.PEM(), "tls.key": h.leaf.KeyPEM(t)}))
	next, bundle := material(t)
	for _, step := range []struct {
		pair pki.Pair
		want corev1.SecretType
	}{{f.edge(t, s).Pair, corev1.SecretTypeOpaque}, {f.edge(t, s).Pair, corev1.SecretTypeOpaque}, {next, corev1.SecretTypeTLS}} {
		f.writeEdge(t, s, step.pair, bundle)
		if found := f.read(t, "tls").Type; found != step.want {
			t.Errorf("type %s, expected %s", found, step.want)
		}
	}
}

// What is remembered gets its mark back, and is named again like the rest; what its owner deleted stays away.
func TestWhatIsRemembered(t *testing.T) {
	f, h := newFixture(t), newHandMade(t)
	s := f.edgeSecrets("tls")
	f.put(t, f.handedOver("tls", "shop/edge", corev1.SecretTypeOpaque, map[string][]byte{"tls.crt": h.leaf.PEM(), "tls.key": h.leaf.KeyPEM(t), "ca.crt": h.root.PEM()}))
	_, bundle := material(t)
	pair := f.edge(t, s).Pair
	f.writeEdge(t, s, pair, bundle)
	f.change(t, f.read(t, "tls-adopted"), func(o *corev1.Secret) { o.Annotations[UnreferencedSince] = "2026-03-01T12:00:00Z" })
	f.writeEdge(t, s, pair, bundle)
	if _, given := f.read(t, "tls-adopted").Annotations[UnreferencedSince]; given {
		t.Error("it would be collected sooner than the rest")
	}
	if err := f.view.Delete(t.Context(), f.read(t, "tls-adopted")); err != nil {
		t.Fatal(err)
	}
	f.writeEdge(t, s, pair, bundle)
	if again, err := f.LiveSecret(t.Context(), s.Adopted); err != nil || again != nil {
		t.Errorf("it is made again: error %v", err)
	}
}

// Where somebody else has the place of what is to be remembered, nothing is taken over.
func TestThePlaceOfWhatIsRememberedIsTaken(t *testing.T) {
	f, h := newFixture(t), newHandMade(t)
	s := f.edgeSecrets("tls")
	f.put(t, f.handedOver("tls", "shop/edge", corev1.SecretTypeOpaque, map[string][]byte{"tls.crt": h.leaf.PEM(), "tls.key": h.leaf.KeyPEM(t), "ca.crt": h.root.PEM()}))
	f.put(t, f.handedOver("tls-adopted", "", corev1.SecretTypeOpaque, nil))
	before := f.read(t, "tls")
	_, bundle := material(t)
	outcome := f.writeEdge(t, s, f.edge(t, s).Pair, bundle)
	if found, foreign := outcome.Foreign(s); !foreign || found != s.Adopted || outcome.Changed() || outcome.Adopted {
		t.Errorf("outcome %+v", outcome)
	}
	if diff := cmp.Diff(before, f.read(t, "tls")); diff != "" {
		t.Errorf("it was written (-before +after):\n%s", diff)
	}
}

// What nobody hands over, or what somebody else would write back, stays as it is.
func TestWhatIsNotTakenOver(t *testing.T) {
	h := newHandMade(t)
	pair := map[string][]byte{"tls.crt": h.leaf.PEM(), "tls.key": h.leaf.KeyPEM(t)}
	immutable := true
	other, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		server, ca func(*corev1.Secret)
		problem    string // empty: it is nobody's offer
	}{
		"nothing is handed over":          {server: func(s *corev1.Secret) { s.Annotations = nil }, ca: func(s *corev1.Secret) { s.Annotations = nil }},
		"the server's is not":             {server: func(s *corev1.Secret) { s.Annotations = nil }, problem: "is not handed over, as the other Secret of the Gateway is"},
		"the CA's is not":                 {ca: func(s *corev1.Secret) { s.Annotations = nil }, problem: "tls-cacert cannot be taken over: it is not handed over"},
		"it goes to another Gateway":      {server: func(s *corev1.Secret) { s.Annotations[intent.KeyAdopt] = "shop/other" }, problem: "handed over to Gateway shop/other"},
		"it goes to another namespace":    {ca: func(s *corev1.Secret) { s.Annotations[intent.KeyAdopt] = "other/edge" }, problem: "handed over to Gateway other/edge"},
		"it goes to nobody":               {server: func(s *corev1.Secret) { s.Annotations[intent.KeyAdopt] = "edge" }, problem: "expected <namespace>/<name> of the Gateway"},
		"it was made for another Gateway": {server: func(s *corev1.Secret) { s.Annotations[intent.KeyOwner] = owner("other").String() }, problem: "it was made for Gateway/shop/other"},
		"another controller owns it": {server: func(s *corev1.Secret) {
			s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "1"}}
		}, problem: "ConfigMap x owns it"},
		"cert-manager writes it":        {server: func(s *corev1.Secret) { s.Annotations["cert-manager.io/certificate-name"] = "x" }, problem: "cert-manager.io/certificate-name writes it"},
		"Helm writes it":                {ca: func(s *corev1.Secret) { s.Annotations["meta.helm.sh/release-name"] = "x" }, problem: "meta.helm.sh/release-name writes it"},
		"a label tells who writes it":   {ca: func(s *corev1.Secret) { s.Labels = map[string]string{"kustomize.toolkit.fluxcd.io/name": "x"} }, problem: "kustomize.toolkit.fluxcd.io/name writes it"},
		"the server's is immutable":     {server: func(s *corev1.Secret) { s.Immutable = &immutable }, problem: "it is immutable"},
		"the server's has another type": {server: func(s *corev1.Secret) { s.Type = "example.com/pair" }, problem: `its type is "example.com/pair"`},
		"the server's has no key": {server: func(s *corev1.Secret) {
			s.Type, s.Data = corev1.SecretTypeOpaque, map[string][]byte{"tls.crt": h.leaf.PEM()}
		}, problem: "what was made by hand in"},
		"the server's key is another":      {server: func(s *corev1.Secret) { s.Data = map[string][]byte{"tls.crt": h.leaf.PEM(), "tls.key": other.PEM()} }, problem: "what was made by hand in"},
		"the CA's has no CA":               {ca: func(s *corev1.Secret) { s.Data = map[string][]byte{"a": []byte("b")} }, problem: "has no CA under cacert or ca.crt"},
		"the CA's is garbage":              {ca: func(s *corev1.Secret) { s.Data = map[string][]byte{"ca.crt": []byte("garbage")} }, problem: "text outside of a block"},
		"the CA's has a CRL of nobody":     {ca: func(s *corev1.Secret) { s.Data["crl"] = []byte("garbage"); s.Data["cacert"] = h.root.PEM() }, problem: "reading CRL"},
		"the mark has a label and no more": {server: func(s *corev1.Secret) { s.Labels = map[string]string{intent.KeyManaged: "false"}; s.Annotations = nil }, ca: func(s *corev1.Secret) { s.Annotations = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			s := f.edgeSecrets("tls")
			server := f.handedOver("tls", "shop/edge", corev1.SecretTypeTLS, maps.Clone(pair))
			ca := f.handedOver("tls-cacert", "shop/edge", corev1.SecretTypeOpaque, map[string][]byte{"ca.crt": h.root.PEM()})
			for secret, change := range map[*corev1.Secret]func(*corev1.Secret){server: row.server, ca: row.ca} {
				if change != nil {
					change(secret)
				}
				f.put(t, secret)
			}
			before := []*corev1.Secret{f.read(t, "tls"), f.read(t, "tls-cacert")}
			stored := f.edge(t, s)
			if !stored.Pair.IsZero() {
				t.Error("somebody else's key is read")
			}
			switch {
			case row.problem == "" && stored.Offer != nil:
				t.Errorf("it is taken for an offer: %v", stored.Offer.Problem)
			case row.problem != "" && (stored.Offer == nil || stored.Offer.Problem == nil || !strings.Contains(stored.Offer.Problem.Error(), row.problem)):
				t.Errorf("offer %+v, expected a problem that says %q", stored.Offer, row.problem)
			}
			own, bundle := material(t)
			outcome, err := f.WriteEdge(t.Context(), s, own, bundle, stored, start)
			if _, foreign := outcome.Foreign(s); err != nil || !foreign || outcome.Changed() {
				t.Errorf("outcome %+v, error %v", outcome, err)
			}
			if diff := cmp.Diff(before, []*corev1.Secret{f.read(t, "tls"), f.read(t, "tls-cacert")}); diff != "" {
				t.Errorf("it was written (-before +after):\n%s", diff)
			}
		})
	}
}

// dying is a client whose owner dies before or after a write.
type dying struct {
	client.Client
	left  int // writes until then
	after bool
}

var errDead = errors.New("the agent is dead")

func (d *dying) write(do func() error) error {
	d.left--
	switch {
	case d.left < 0, d.left == 0 && !d.after:
		return errDead
	case d.left == 0:
		return errors.Join(do(), errDead)
	}
	return do()
}

func (d *dying) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	return d.write(func() error { return d.Client.Create(ctx, o, opts...) })
}

func (d *dying) Update(ctx context.Context, o client.Object, opts ...client.UpdateOption) error {
	return d.write(func() error { return d.Client.Update(ctx, o, opts...) })
}

func (d *dying) Delete(ctx context.Context, o client.Object, opts ...client.DeleteOption) error {
	return d.write(func() error { return d.Client.Delete(ctx, o, opts...) })
}

// An agent that dies before or after any of the writes has lost nothing: whoever comes after it goes on where it stood, and at
// no time is a CA or the server's certificate neither stored where gateways read it nor remembered.
func TestADeathWhileHandMadeSecretsAreTakenOver(t *testing.T) {
	h := newHandMade(t)
	for kind, most := range map[string]int{"two Secrets": 3, "one Secret": 3, "CAs that cannot be changed": 4} {
		for writes := 1; writes <= most; writes++ {
			for _, after := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, write %d, after it %t", kind, writes, after), func(t *testing.T) {
					f := newFixture(t)
					s := f.edgeSecrets("tls")
					data := map[string][]byte{"tls.crt": h.leaf.PEM(), "tls.key": h.leaf.KeyPEM(t)}
					if kind == "one Secret" {
						data["ca.crt"] = h.root.PEM()
					} else {
						ca := f.handedOver("tls-cacert", "shop/edge", corev1.SecretTypeOpaque, map[string][]byte{"cacert": h.root.PEM()})
						immutable := kind == "CAs that cannot be changed"
						ca.Immutable = &immutable
						f.put(t, ca)
					}
					f.put(t, f.handedOver("tls", "shop/edge", corev1.SecretTypeOpaque, data))
					own, err := pki.ParseBundle(testpki.Root(t, "own", testpki.Around(start)).PEM(), nil, start)
					if err != nil {
						t.Fatal(err)
					}
					pass := func(c *Cluster) error { // as the agent makes it
						stored, err := c.Edge(t.Context(), s)
						if err != nil {
							return err
						}
						adopted := stored.Adopted
						if stored.Offer != nil {
							if stored.Offer.Problem != nil {
								t.Fatal(stored.Offer.Problem)
							}
							adopted = stored.Offer.Adopted
						}
						bundle := own
						for _, group := range adopted.CAs(start) {
							if bundle, err = bundle.With(group.Entries, start); err != nil {
								t.Fatal(err)
							}
						}
						if len(bundle.Entries()) != 2 || stored.Pair.IsZero() {
							t.Fatalf("%d CAs would be trusted, and there is a pair: %t", len(bundle.Entries()), !stored.Pair.IsZero())
						}
						_, err = c.WriteEdge(t.Context(), s, stored.Pair, bundle, stored, start)
						return err
					}
					if err := pass(New(&dying{Client: f.view, left: writes, after: after}, f.view.Client, f.namespace)); !errors.Is(err, errDead) {
						t.Fatalf("error %v: there is no write number %d", err, writes)
					}
					next := New(f.view, f.view.Client, f.namespace)
					for range 2 {
						if err := pass(next); err != nil {
							t.Fatal(err)
						}
					}
					stored := f.edge(t, s)
					if stored.Offer != nil || !slices.Equal(stored.Pair.CertificatePEM(), h.leaf.PEM()) || !strings.Contains(string(f.read(t, "tls-cacert").Data["ca.crt"]), string(h.root.PEM())) {
						t.Errorf("in the end offer %+v, serving %v", stored.Offer, stored.Pair.Leaf())
					}
				})
			}
		}
	}
}

// behind is a client to which the cache does not show some Secrets yet.
type behind struct {
	client.Client
	hidden string
}

func (b behind) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if key.Name == b.hidden {
		return apierrors.NewNotFound(corev1.Resource("secrets"), key.Name)
	}
	return b.Client.Get(ctx, key, o, opts...)
}

// A pass that sees what is remembered and not yet what was written after it, or that lost it, forgets nothing.
func TestWhatIsRememberedIsNeverWrittenWithLess(t *testing.T) {
	h := newHandMade(t)
	for name, meanwhile := range map[string]func(*testing.T, fixture) *Cluster{
		"the cache does not show the CAs": func(_ *testing.T, f fixture) *Cluster {
			return New(behind{f.view, "tls-cacert"}, f.view.Client, f.namespace)
		},
		"somebody deleted the CAs": func(t *testing.T, f fixture) *Cluster {
			t.Helper()
			if err := f.view.Delete(t.Context(), f.read(t, "tls-cacert")); err != nil {
				t.Fatal(err)
			}
			return f.Cluster
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			s := f.edgeSecrets("tls")
			f.put(t, f.handedOver("tls-cacert", "shop/edge", corev1.SecretTypeOpaque, map[string][]byte{"ca.crt": h.root.PEM()}))
			f.put(t, f.handedOver("tls", "shop/edge", corev1.SecretTypeTLS, map[string][]byte{"tls.crt": h.leaf.PEM(), "tls.key": h.leaf.KeyPEM(t)}))
			_, bundle := material(t)
			stored := f.edge(t, s)
			if _, err := New(&dying{Client: f.view, left: 3}, f.view.Client, f.namespace).WriteEdge(t.Context(), s, stored.Pair, bundle, stored, start); !errors.Is(err, errDead) {
				t.Fatal(err)
			}
			of := meanwhile(t, f)
			stored, err := of.Edge(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			if stored.Offer == nil || stored.Offer.Problem != nil || !slices.Equal(stored.Offer.Adopted.CAsPEM(), h.root.PEM()) {
				t.Errorf("offered is %+v", stored.Offer)
			}
			_, err = of.WriteEdge(t.Context(), s, stored.Pair, bundle, stored, start)
			t.Logf("the write afterwards: %v", err)
			if remembered := f.read(t, "tls-adopted"); !slices.Equal(remembered.Data["ca.crt"], h.root.PEM()) {
				t.Errorf("remembered is %q", remembered.Data["ca.crt"])
			}
		})
	}
}

// With a provided server certificate the hand-made CAs stay their owner's, handed over as they are. Who deletes what is remembered
// of them ends it all the same; who makes them anew hands them over again.
func TestWhatIsRememberedOfAProvidedServersCAsIsTheSwitch(t *testing.T) {
	f, h := newFixture(t), newHandMade(t)
	s := f.edgeSecrets("tls")
	s.CA, s.Provided = f.key("own-cacert"), true
	f.put(t, f.handedOver("tls", "", corev1.SecretTypeTLS, map[string][]byte{"tls.crt": h.leaf.PEM(), "tls.key": h.leaf.KeyPEM(t)}))
	byHand := func() *corev1.Secret {
		return f.handedOver("tls-cacert", "shop/edge", corev1.SecretTypeOpaque, map[string][]byte{"ca.crt": h.root.PEM()})
	}
	f.put(t, byHand())
	_, bundle := material(t)
	write := func() {
		t.Helper()
		if _, err := f.WriteEdge(t.Context(), s, pki.Pair{}, bundle, f.edge(t, s), start); err != nil {
			t.Fatal(err)
		}
	}
	write()
	write() // what is ours is written with the mark also by who only sees what is remembered
	if f.edge(t, s).Adopted.IsZero() {
		t.Fatal("nothing was taken over")
	}
	if err := f.view.Delete(t.Context(), f.read(t, "tls-adopted")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if stored := f.edge(t, s); stored.Offer != nil || !stored.Adopted.IsZero() {
			t.Fatalf("it is taken over again: %+v", stored.Offer)
		}
		write()
		if secret, err := f.LiveSecret(t.Context(), s.Adopted); err != nil || secret != nil {
			t.Fatalf("it is remembered again, error %v", err)
		}
	}
	if err := f.view.Delete(t.Context(), f.read(t, "tls-cacert")); err != nil {
		t.Fatal(err)
	}
	f.put(t, byHand())
	if stored := f.edge(t, s); stored.Offer == nil || stored.Offer.Problem != nil {
		t.Errorf("made anew it is not taken for an offer: %+v", stored.Offer)
	}
}

// What was made for another Gateway is no memory of this one, whatever its name.
func TestTheMemoryOfAnotherGateway(t *testing.T) {
	f, h := newFixture(t), newHandMade(t)
	s := f.edgeSecrets("tls")
	squatted := f.handedOver("tls-adopted", "", corev1.SecretTypeTLS, map[string][]byte{"tls.crt": h.leaf.PEM(), "tls.key": h.leaf.KeyPEM(t), "ca.crt": h.root.PEM()})
	Mark(squatted, owner("another"))
	f.put(t, squatted)
	if stored := f.edge(t, s); !stored.Adopted.IsZero() || stored.Forgotten != nil {
		t.Errorf("it is taken for one: %+v", stored)
	}
	f.put(t, f.handedOver("tls", "shop/edge", corev1.SecretTypeTLS, map[string][]byte{"tls.crt": h.leaf.PEM(), "tls.key": h.leaf.KeyPEM(t)}))
	_, bundle := material(t)
	stored := f.edge(t, s)
	outcome, err := f.WriteEdge(t.Context(), s, stored.Pair, bundle, stored, start)
	if at, foreign := outcome.Foreign(s); err != nil || !foreign || at != s.Adopted || outcome.Adopted {
		t.Errorf("outcome %+v at %s, error %v", outcome, at, err)
	}
}
