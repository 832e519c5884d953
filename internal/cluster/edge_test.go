package cluster

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

var hosts = []string{"orders.example.com"}

// material is a pair and the bundle that verifies it.
func material(t *testing.T) (pki.Pair, pki.Bundle) {
	t.Helper()
	ledger := ledgerOf(t)
	bundle, err := ledger.Bundle(true, start)
	if err != nil {
		t.Fatal(err)
	}
	active, _ := ledger.Active()
	pair, err := rotate.MaterializeServer(rotate.SignerOf(active.Authority), bundle, hosts, rotate.LeafSettings{Lifetime: time.Hour, Algorithm: pki.ECDSAP256}, start)
	if err != nil {
		t.Fatal(err)
	}
	return pair, bundle
}

func (f fixture) edgeSecrets(name string) EdgeSecrets {
	return EdgeSecrets{Server: f.key(name), CA: f.key(name + "-cacert"), Adopted: f.key(name + "-adopted"), Owner: owner("edge")}
}

func (f fixture) writeEdge(t *testing.T, s EdgeSecrets, pair pki.Pair, bundle pki.Bundle) EdgeOutcome {
	t.Helper()
	stored, err := f.Edge(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	outcome, err := f.WriteEdge(t.Context(), s, pair, bundle, stored, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return outcome
}

func version(t *testing.T, o metav1.Object) int {
	t.Helper()
	n, err := strconv.Atoi(o.GetResourceVersion())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestWriteEdge(t *testing.T) {
	f := newFixture(t)
	pair, bundle := material(t)
	s := f.edgeSecrets("tls")
	if diff := cmp.Diff(EdgeOutcome{CA: Created, Server: Created}, f.writeEdge(t, s, pair, bundle)); diff != "" {
		t.Errorf("the first time (-want +found):\n%s", diff)
	}
	ca, server := f.read(t, "tls-cacert"), f.read(t, "tls")
	if version(t, ca) >= version(t, server) {
		t.Errorf("the server was written first: an edge would refuse everybody until it knows whom to trust")
	}
	wanted := map[string][]byte{"ca.crt": bundle.CertificatesPEM(), "ca.crl": bundle.CRLsPEM()}
	if diff := cmp.Diff(wanted, ca.Data); diff != "" {
		t.Errorf("CA Secret (-want +stored):\n%s", diff)
	}
	if server.Type != corev1.SecretTypeTLS || len(server.Data) != 2 {
		t.Errorf("server Secret has type %s and %d keys, expected %s and 2: Istio prefers others", server.Type, len(server.Data), corev1.SecretTypeTLS)
	}
	stored, err := f.Edge(t.Context(), s)
	if err != nil || !stored.Pair.Equal(pair) {
		t.Errorf("read back: %v, error %v", stored.Pair.Leaf(), err)
	}
	if diff := cmp.Diff(EdgeOutcome{CA: Unchanged, Server: Unchanged}, f.writeEdge(t, s, pair, bundle)); diff != "" {
		t.Errorf("the second time (-want +found):\n%s", diff)
	}
	if version(t, f.read(t, "tls")) != version(t, server) || version(t, f.read(t, "tls-cacert")) != version(t, ca) {
		t.Errorf("what was equal was written again")
	}
}

// TestWriteEdgeNeverWritesOneOfTwo: with one of the names ours and the other somebody
// else's, Istio would trust what somebody else wrote, or serve his key.
func TestWriteEdgeNeverWritesOneOfTwo(t *testing.T) {
	f := newFixture(t)
	pair, bundle := material(t)
	of := map[string]func(key string) *corev1.Secret{
		"of nobody": func(name string) *corev1.Secret {
			return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name}, Data: map[string][]byte{"a": []byte("theirs")}}
		},
		"made for another Gateway": func(name string) *corev1.Secret {
			w := f.wanted(name, "theirs")
			w.Owner = owner("other")
			return w.object()
		},
		"made for another Gateway, without its label": func(name string) *corev1.Secret {
			w := f.wanted(name, "theirs")
			w.Owner = owner("other")
			o := w.object()
			delete(o.Labels, intent.KeyManaged)
			return o
		},
	}
	n := 0
	for who, make := range of {
		for _, which := range []string{"server", "CA"} {
			n++
			s := f.edgeSecrets("t" + strconv.Itoa(n))
			t.Run(which+" "+who, func(t *testing.T) {
				taken, other := s.Server, s.CA
				if which == "CA" {
					taken, other = s.CA, s.Server
				}
				f.put(t, make(taken.Name))
				before := f.read(t, taken.Name)
				outcome := f.writeEdge(t, s, pair, bundle)
				if found, foreign := outcome.Foreign(s); !foreign || found != taken {
					t.Errorf("foreign is %v, found %t, expected %v", found, foreign, taken)
				}
				if diff := cmp.Diff(before, f.read(t, taken.Name)); diff != "" {
					t.Errorf("it was written (-before +after):\n%s", diff)
				}
				if written, err := f.LiveSecret(t.Context(), other); err != nil || written != nil {
					t.Errorf("the other of the two was written: %v, error %v", written, err)
				}
				if outcome.Changed() {
					t.Errorf("the outcome %+v says that something was written", outcome)
				}
			})
		}
	}
}

func TestEdgeReadsOnlyWhatItMayServe(t *testing.T) {
	f := newFixture(t)
	pair, bundle := material(t)
	s := f.edgeSecrets("read")
	f.writeEdge(t, s, pair, bundle)
	f.change(t, f.read(t, "read"), func(o *corev1.Secret) { o.Data[corev1.TLSPrivateKeyKey] = []byte("x") })
	stored, err := f.Edge(t.Context(), s)
	if err != nil || stored.Unreadable == nil || !stored.Pair.IsZero() {
		t.Errorf("a key that cannot be read: pair %v, why %v, error %v", stored.Pair.Leaf(), stored.Unreadable, err)
	}
	if outcome := f.writeEdge(t, s, pair, bundle); outcome.Server != Updated {
		t.Errorf("it is healed with outcome %+v", outcome)
	}
	others := s
	others.Owner = owner("other")
	if stored, err = f.Edge(t.Context(), others); err != nil || !stored.Pair.IsZero() {
		t.Errorf("another Gateway is given this one's key: %v, error %v", stored.Pair.Leaf(), err)
	}
}

func TestEdgeSecretsOf(t *testing.T) {
	f := newFixture(t)
	pair, bundle := material(t)
	f.writeEdge(t, f.edgeSecrets("mine"), pair, bundle)
	others := f.edgeSecrets("others")
	others.Owner = owner("other")
	f.writeEdge(t, others, pair, bundle)
	successor := owner("edge")
	successor.UID = "another"
	found, err := f.EdgeSecretsOf(t.Context(), successor, []string{f.namespace})
	var names []string
	for _, secret := range found {
		names = append(names, secret.Name)
	}
	if diff := cmp.Diff([]string{"mine", "mine-cacert"}, names); diff != "" || err != nil {
		t.Errorf("error %v, Secrets (-want +found):\n%s", err, diff)
	}
}
