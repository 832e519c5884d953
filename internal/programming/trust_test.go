package programming

import (
	"context"
	"os"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/internal/testenv"
	"sallyport.dev/sallyport/internal/testpki"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/pki"
)

var environment testenv.Environment

func TestMain(m *testing.M) { os.Exit(testenv.Run(m, &environment)) }

// speechless Headers never get to know anything, as with APIRules that cannot be listed.
type speechless struct{}

func (speechless) Forget(types.NamespacedName) {}

func (speechless) Tell(context.Context, types.NamespacedName) (does, known bool, err error) {
	return false, false, nil
}

// Where it cannot be found out whether a workload is told who called, CAs of others are not let in, nor thrown out, and
// what else gateways trust is kept current.
func TestCAsOfOthersWhereAPIRulesCannotBeRead(t *testing.T) {
	now := time.Now()
	view := testenv.NewView(environment.Admin(t))
	namespace := environment.Namespace(t, "programming").Name
	store := cluster.New(view, view.Client, namespace)
	old, added, own := testpki.Root(t, "old", testpki.Around(now)), testpki.Root(t, "added", testpki.Around(now)), testpki.Root(t, "own", testpki.Around(now))
	secrets := cluster.EdgeSecrets{
		Server: types.NamespacedName{Namespace: namespace, Name: "shop"}, CA: types.NamespacedName{Namespace: namespace, Name: "shop-cacert"}, Adopted: types.NamespacedName{Namespace: namespace, Name: "shop-adopted"},
		Owner: intent.Owner{Kind: "Gateway", Namespace: namespace, Name: "edge", UID: "1"}, Provided: true,
	}
	bundle := func(of ...testpki.Issued) pki.Bundle {
		t.Helper()
		var pem []byte
		for _, ca := range of {
			pem = append(pem, ca.PEM()...)
		}
		b, err := pki.ParseBundle(pem, nil, now)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if _, err := store.WriteEdge(t.Context(), secrets, pki.Pair{}, bundle(own, old), cluster.StoredEdge{}, now); err != nil {
		t.Fatal(err)
	}
	stored, err := store.Edge(t.Context(), secrets)
	if err != nil {
		t.Fatal(err)
	}
	authority := &v1alpha1.CertificateAuthority{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "default", UID: "2", Generation: 1},
		Spec: v1alpha1.CertificateAuthoritySpec{Revocation: v1alpha1.RevocationSettings{Mode: v1alpha1.RevocationNone}, TrustedCertificates: []v1alpha1.TrustedCertificate{
			{Name: "old", Certificate: string(old.PEM())}, {Name: "added", Certificate: string(added.PEM())},
		}}}
	p := &Programmer{Cluster: store, Headers: speechless{}}
	gather := func(now time.Time) facts {
		t.Helper()
		f := facts{authorities: []accepted{{Issuer: issuer.Issuer{Object: authority, Bundle: bundle(own)}}}, edges: []edge{{secrets: secrets, stored: stored}}}
		if err := p.gatherTrust(t.Context(), Target{Gateway: map[string]any{}}, &f, now); err != nil {
			t.Fatal(err)
		}
		return f
	}
	if f := gather(now); !f.waiting {
		t.Error("it does not wait for a moment")
	}
	f := gather(now.Add(headersPatience))
	if f.waiting || string(f.trust.Bundle.CertificatesPEM()) != string(bundle(own, old).CertificatesPEM()) {
		t.Errorf("waiting: %t, %d CAs are trusted, expected the authority's own and the one that is stored", f.waiting, len(f.trust.Bundle.Entries()))
	}
	if c, any := f.trust.condition(); !any || c.Status != metav1.ConditionUnknown {
		t.Errorf("it tells %+v", c)
	}
}

// What is not known is waited for once, and not for ever.
func TestPatience(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	var p patience
	for _, step := range []struct {
		after time.Duration
		known bool
		waits bool
	}{
		{0, false, true},
		{headersPatience - 1, false, true},
		{headersPatience, false, false},
		{headersPatience + time.Hour, false, false},
		{headersPatience + time.Hour, true, false},
		{headersPatience + 2*time.Hour, false, true},
	} {
		if got := p.waits(step.known, now.Add(step.after)); got != step.waits {
			t.Errorf("after %s, known: %t, it waits: %t", step.after, step.known, got)
		}
	}
}

// The bundle of nobody is the same for all, and no caller satisfies it.
func TestNobodyIsTrusted(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	var n, other nobody
	bundle, err := n.bundle(now)
	if err != nil {
		t.Fatal(err)
	}
	again, err := n.bundle(now.Add(time.Hour))
	if err != nil || string(again.CertificatesPEM()) != string(bundle.CertificatesPEM()) || again.CRLsPEM() != nil {
		t.Errorf("another one an hour later, error %v", err)
	}
	if apart, err := other.bundle(now); err != nil || string(apart.CertificatesPEM()) == string(bundle.CertificatesPEM()) {
		t.Errorf("two agents share a key, error %v", err)
	}
	stranger := testpki.Root(t, bundle.Certificates()[0].X509().Subject.CommonName, testpki.Around(now)).Leaf(t, "stranger", testpki.Around(now))
	chain, err := pki.ParseChain(stranger.PEM())
	if err != nil {
		t.Fatal(err)
	}
	if err := chain.VerifyClient(bundle, now); err == nil {
		t.Error("a stranger satisfies it")
	}
	if later, err := n.bundle(now.Add(11 * 8766 * time.Hour)); err != nil || string(later.CertificatesPEM()) == string(bundle.CertificatesPEM()) {
		t.Errorf("it is not made anew when it has ended, error %v", err)
	}
}
