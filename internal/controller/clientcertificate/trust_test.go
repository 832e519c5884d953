package clientcertificate

import (
	"bytes"
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/controller/authority"
	"sallyport.dev/sallyport/internal/endpoint"
	"sallyport.dev/sallyport/internal/metrics"
	"sallyport.dev/sallyport/internal/mounted"
	"sallyport.dev/sallyport/internal/testenv"
)

// A generation is compromised within ten minutes after another agent was elected. Callers whose certificate is of another generation
// have to stop trusting it as well, and not when it is their Secret's turn to be looked at.
func TestAnElectionKeepsNoCompromisedCAInACallersTrust(t *testing.T) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	admin := fake.NewClientBuilder().WithScheme(s).WithStatusSubresource(&v1alpha1.MutualTLSEndpoint{}, &v1alpha1.CertificateAuthority{}, &v1alpha1.ClientCertificate{}).Build()
	view := testenv.NewView(admin)
	for _, index := range []func(context.Context, client.FieldIndexer) error{cluster.IndexSecrets, endpoint.Index, authority.Index} {
		if err := index(t.Context(), view); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clock := clocktesting.NewFakePassiveClock(began)
	store := cluster.New(view, admin, "agent")
	bell := authority.NewBell()
	cas := &authority.Reconciler{Cluster: store, Mounted: mounted.New(nil, clocktesting.NewFakeClock(began)), TrustDomain: "example.com", Clock: clock, Recorder: events.NewFakeRecorder(1000), Counters: metrics.NewCounters(), Bell: bell, LookEvery: time.Second}
	callers := func() *Reconciler {
		return &Reconciler{Cluster: store, TrustDomain: "example.com", Clock: clock, Recorder: events.NewFakeRecorder(1000), Counters: metrics.NewCounters(), Bell: bell}
	}
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", UID: "1"}}, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "agent", UID: "2"}},
		&v1alpha1.CertificateAuthority{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "default", UID: "3"}, Spec: v1alpha1.CertificateAuthoritySpec{Source: v1alpha1.AuthoritySource{Type: v1alpha1.SourceSelfSigned}}},
		&v1alpha1.ClientCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "caller", UID: "4"}, Spec: v1alpha1.ClientCertificateSpec{AuthorityRef: v1alpha1.AuthorityReference{Name: "default"}, SecretName: "caller"}},
	} {
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	pass := func(r reconcile.Reconciler, name string) {
		t.Helper()
		if _, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	ca := &v1alpha1.CertificateAuthority{}
	change := func(f func(*v1alpha1.CertificateAuthority)) {
		t.Helper()
		if err := admin.Get(t.Context(), types.NamespacedName{Namespace: "shop", Name: "default"}, ca); err != nil {
			t.Fatal(err)
		}
		f(ca)
		if err := admin.Update(t.Context(), ca); err != nil {
			t.Fatal(err)
		}
	}
	first := callers()
	pass(cas, "default")
	pass(first, "caller")
	change(func(a *v1alpha1.CertificateAuthority) { // the next generation is trusted
		after := metav1.NewTime(began)
		a.Spec.Rotation.RotateAfter, a.Spec.Rotation.CallersUpdated = &metav1.Time{Time: after.Add(time.Second)}, a.Status.Generations[0].SubjectKeyID
	})
	clock.SetTime(began.Add(time.Minute))
	for range 3 {
		pass(cas, "default")
	}
	pass(first, "caller")
	stored := func() []byte {
		secret := &corev1.Secret{}
		if err := admin.Get(t.Context(), types.NamespacedName{Namespace: "shop", Name: "caller"}, secret); err != nil {
			t.Fatal(err)
		}
		return secret.Data["ca.crt"]
	}
	if bytes.Count(stored(), []byte("BEGIN")) != 2 {
		t.Fatalf("the caller trusts\n%s", stored())
	}
	second := callers() // another agent is elected
	second.memory.begin(clock.Now())
	change(func(a *v1alpha1.CertificateAuthority) {
		for _, g := range a.Status.Generations {
			if g.State == v1alpha1.GenerationTrusted {
				a.Spec.Rotation.Compromised = []string{g.SubjectKeyID}
			}
		}
	})
	clock.SetTime(began.Add(61 * time.Second))
	pass(cas, "default")
	pass(second, "caller") // the ledger has changed
	if bytes.Count(stored(), []byte("BEGIN")) != 1 {
		t.Error("the caller's ca.crt still has the compromised CA, until it is its Secret's turn, within ten minutes")
	}
}
