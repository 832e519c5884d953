package together

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/controller/authority"
	"sallyport.dev/sallyport/internal/controller/clientcertificate"
	"sallyport.dev/sallyport/internal/controller/gateway"
	"sallyport.dev/sallyport/internal/endpoint"
	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/internal/install"
	"sallyport.dev/sallyport/internal/metrics"
	"sallyport.dev/sallyport/internal/mounted"
	"sallyport.dev/sallyport/internal/programming"
	"sallyport.dev/sallyport/internal/testenv"
	"sallyport.dev/sallyport/pkg/mutate"
)

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const agentNS = "sallyport-system"

// world is the agent's reconcilers over a fake API server, seen as the agent's cache shows it.
type world struct {
	t       *testing.T
	admin   client.Client
	view    *testenv.View
	cluster *cluster.Cluster
	index   *ingress.Index
	synced  bool
	clock   *clocktesting.FakePassiveClock

	authority *authority.Reconciler
	clients   *clientcertificate.Reconciler
	gateways  *gateway.Reconciler
	bell      *authority.Bell
}

type told struct{}

func (told) Tell(context.Context, types.NamespacedName) (bool, bool, error) { return false, true, nil }
func (told) Forget(types.NamespacedName)                                    {}

func newWorld(t *testing.T, funcs interceptor.Funcs) *world {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	gw := ingress.NewGatewayObject()
	s.AddKnownTypeWithName(gw.GroupVersionKind(), &unstructured.Unstructured{})
	listKind := gw.GroupVersionKind()
	listKind.Kind += "List"
	s.AddKnownTypeWithName(listKind, &unstructured.UnstructuredList{})
	w := &world{t: t, synced: true, clock: clocktesting.NewFakePassiveClock(began)}
	w.admin = fake.NewClientBuilder().WithScheme(s).
		WithStatusSubresource(&v1alpha1.MutualTLSEndpoint{}, &v1alpha1.CertificateAuthority{}, &v1alpha1.ClientCertificate{}).
		WithInterceptorFuncs(funcs).Build()
	w.view = testenv.NewView(w.admin)
	for _, index := range []func(context.Context, client.FieldIndexer) error{cluster.IndexSecrets, endpoint.Index, authority.Index} {
		if err := index(t.Context(), w.view); err != nil {
			t.Fatal(err)
		}
	}
	settings, err := install.Parse([]byte("trustDomain: example.com\n"))
	if err != nil {
		t.Fatal(err)
	}
	w.index = ingress.NewIndex(settings.Ingresses())
	w.cluster = cluster.New(w.view, w.admin, agentNS)
	w.bell = authority.NewBell()
	sa := types.NamespacedName{Namespace: agentNS, Name: "sallyport-agent"}
	w.authority = &authority.Reconciler{Cluster: w.cluster, Mounted: mounted.New(nil, clocktesting.NewFakeClock(began)), TrustDomain: "example.com",
		ServiceAccount: sa, Clock: w.clock, Recorder: events.NewFakeRecorder(10000), Counters: metrics.NewCounters(), Bell: w.bell, LookEvery: time.Second}
	w.clients = &clientcertificate.Reconciler{Cluster: w.cluster, TrustDomain: "example.com", ServiceAccount: sa, Clock: w.clock,
		Recorder: events.NewFakeRecorder(10000), Counters: metrics.NewCounters(), Bell: w.bell}
	w.gateways = w.agent(settings)
	for _, name := range []string{agentNS, "istio-system", "shop", "mallory", "bank"} {
		w.put(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name)}})
	}
	return w
}

// agent is a Gateway reconciler as one that has just begun has it.
func (w *world) agent(settings install.Settings) *gateway.Reconciler {
	return &gateway.Reconciler{Cluster: w.cluster, Interests: programming.NewInterests(), Changes: programming.NewChanges(w.index), Install: settings,
		Clock: w.clock, Recorder: events.NewFakeRecorder(10000), Counters: metrics.NewCounters(),
		Programmer: &programming.Programmer{Cluster: w.cluster, Edge: w.index, Synced: func() bool { return w.synced }, Install: settings,
			Capabilities: func() mutate.Capabilities { return mutate.Capabilities{} }, Headers: told{}}}
}

func (w *world) put(o client.Object) {
	w.t.Helper()
	if err := w.admin.Create(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) get(o client.Object, namespace, name string) {
	w.t.Helper()
	if err := w.admin.Get(w.t.Context(), types.NamespacedName{Namespace: namespace, Name: name}, o); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) secret(namespace, name string) *corev1.Secret {
	w.t.Helper()
	s := &corev1.Secret{}
	w.get(s, namespace, name)
	return s
}

// newAuthority makes an authority that serves everybody.
func (w *world) newAuthority(namespace, name string, change func(*v1alpha1.CertificateAuthority)) *v1alpha1.CertificateAuthority {
	w.t.Helper()
	all := v1alpha1.AllowedReferences{Namespaces: v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesAll}}
	a := &v1alpha1.CertificateAuthority{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("ca-" + name), Generation: 1, CreationTimestamp: metav1.NewTime(began.Add(-time.Hour))},
		Spec: v1alpha1.CertificateAuthoritySpec{Source: v1alpha1.AuthoritySource{Type: v1alpha1.SourceSelfSigned}, AllowedGateways: all, AllowedClients: all}}
	if change != nil {
		change(a)
	}
	w.put(a)
	return a
}

// newClient makes a ClientCertificate of an authority.
func (w *world) newClient(namespace, name string, change func(*v1alpha1.ClientCertificate)) *v1alpha1.ClientCertificate {
	w.t.Helper()
	c := &v1alpha1.ClientCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("cc-" + namespace + name), Generation: 1, CreationTimestamp: metav1.NewTime(began)},
		Spec: v1alpha1.ClientCertificateSpec{AuthorityRef: v1alpha1.AuthorityReference{Namespace: "shop", Name: "default"}, SecretName: name + "-mtls"}}
	if change != nil {
		change(c)
	}
	w.put(c)
	return c
}

// newGateway makes a Gateway that opted in.
func (w *world) newGateway(namespace, name, host, credential string, annotations map[string]string) *unstructured.Unstructured {
	w.t.Helper()
	tls := map[string]any{"mode": "MUTUAL", "credentialName": credential}
	if credential == "" {
		delete(tls, "credentialName")
		tls["mode"] = "SIMPLE"
	}
	g := ingress.NewGatewayObject()
	g.SetNamespace(namespace)
	g.SetName(name)
	g.SetUID(types.UID("gw-" + namespace + name))
	g.SetAnnotations(annotations)
	g.Object["spec"] = map[string]any{"selector": map[string]any{"istio": "ingressgateway"}, "servers": []any{map[string]any{
		"port": map[string]any{"number": int64(443), "protocol": "HTTPS", "name": "https"}, "hosts": []any{host}, "tls": tls,
	}}}
	w.put(g)
	return g
}

func (w *world) try(r reconcile.Reconciler, namespace, name string) (reconcile.Result, error) {
	return r.Reconcile(w.t.Context(), requestFor(namespace, name))
}

func (w *world) pass(r reconcile.Reconciler, namespace, name string) reconcile.Result {
	w.t.Helper()
	result, err := w.try(r, namespace, name)
	if err != nil {
		w.t.Fatal(err)
	}
	return result
}

// gateway has a Gateway reconciled until it does not ask for an immediate next pass.
func (w *world) gateway(namespace, name string) reconcile.Result {
	w.t.Helper()
	var result reconcile.Result
	for range 10 {
		g := ingress.NewGatewayObject()
		w.get(g, namespace, name)
		w.index.SetGateway(g.Object)
		if result = w.pass(w.gateways, namespace, name); result.RequeueAfter == 0 || result.RequeueAfter > time.Second {
			return result
		}
	}
	return result
}

func (w *world) after(d time.Duration) { w.clock.SetTime(w.clock.Now().Add(d)) }

func (w *world) serials() []string {
	w.t.Helper()
	var all corev1.SecretList
	if err := w.admin.List(w.t.Context(), &all, client.InNamespace(agentNS)); err != nil {
		w.t.Fatal(err)
	}
	var lines []string
	for _, s := range all.Items {
		for _, b := range s.Data["serials"] {
			if b == '\n' {
				lines = append(lines, s.Name)
			}
		}
	}
	return lines
}

func requestFor(namespace, name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}
}

func (w *world) secretIfAny(namespace, name string) *corev1.Secret {
	w.t.Helper()
	s := &corev1.Secret{}
	if err := w.admin.Get(w.t.Context(), types.NamespacedName{Namespace: namespace, Name: name}, s); err != nil {
		return nil
	}
	return s
}

// change writes another spec of an authority.
func (w *world) change(namespace, name string, change func(*v1alpha1.CertificateAuthority)) {
	w.t.Helper()
	a := &v1alpha1.CertificateAuthority{}
	w.get(a, namespace, name)
	change(a)
	a.Generation++
	if err := w.admin.Update(w.t.Context(), a); err != nil {
		w.t.Fatal(err)
	}
}

// active is the key id of the generation that issues, by the status.
func (w *world) active(namespace, name string) string {
	w.t.Helper()
	a := &v1alpha1.CertificateAuthority{}
	w.get(a, namespace, name)
	for _, g := range a.Status.Generations {
		if g.State == v1alpha1.GenerationActive {
			return g.SubjectKeyID
		}
	}
	w.t.Fatalf("no generation is active: %+v", a.Status)
	return ""
}

// compromise tells that a key is in somebody else's hands.
func compromise(id string) func(*v1alpha1.CertificateAuthority) {
	return func(a *v1alpha1.CertificateAuthority) { a.Spec.Rotation.Compromised = []string{id} }
}

// issued makes the authority shop/default and a caller, shop/caller, who has a certificate of it. The record is that of an authority
// whose status tells nothing yet.
func (w *world) issued() (*v1alpha1.CertificateAuthority, cluster.AuthorityRecord) {
	w.t.Helper()
	a := w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.newClient("shop", "caller", nil)
	w.pass(w.clients, "shop", "caller")
	record, err := w.cluster.Record(w.t.Context(), a)
	if err != nil {
		w.t.Fatal(err)
	}
	return a, record
}
