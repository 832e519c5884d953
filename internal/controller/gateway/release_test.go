package gateway

import (
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/internal/install"
	"sallyport.dev/sallyport/internal/programming"
	"sallyport.dev/sallyport/internal/testenv"
	"sallyport.dev/sallyport/pkg/intent"
)

var environment testenv.Environment

func TestMain(m *testing.M) { os.Exit(testenv.Run(m, &environment)) }

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A Secret goes ten minutes after nothing names it. One that its Gateway still names stays, whatever became of the endpoint: it may
// hold the only copy of a key.
func TestASecretGoesOnceNothingNamesIt(t *testing.T) {
	admin := environment.Admin(t)
	view := testenv.NewView(admin)
	if err := cluster.IndexSecrets(t.Context(), view); err != nil {
		t.Fatal(err)
	}
	if err := admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "istio-system"}}); client.IgnoreAlreadyExists(err) != nil {
		t.Fatal(err)
	}
	settings, problems := install.Parse([]byte("trustDomain: example.com\n"))
	if problems != nil {
		t.Fatal(problems)
	}
	for name, row := range map[string]struct {
		named, other string // by the Gateway it was made for, by another
		stays        bool
	}{
		"its Gateway names it":        {named: "edge-credential", stays: true},
		"another Gateway names it":    {named: "another", other: "edge-credential", stays: true},
		"nothing names it":            {named: "another"},
		"no Gateway names any Secret": {},
	} {
		t.Run(name, func(t *testing.T) {
			namespace := environment.Namespace(t, "release").Name
			made := func(name, credential string) client.Object {
				t.Helper()
				tls := map[string]any{"mode": "MUTUAL", "credentialName": credential}
				if credential == "" {
					tls = map[string]any{"mode": "ISTIO_MUTUAL"}
				}
				gateway := ingress.NewGatewayObject()
				gateway.SetNamespace(namespace)
				gateway.SetName(name)
				gateway.Object["spec"] = map[string]any{"selector": map[string]any{"istio": "ingressgateway"}, "servers": []any{map[string]any{
					"port": map[string]any{"number": int64(443), "protocol": "HTTPS", "name": "https"}, "hosts": []any{name + ".example.com"}, "tls": tls,
				}}}
				if err := admin.Create(t.Context(), gateway); err != nil {
					t.Fatal(err)
				}
				return gateway
			}
			index := ingress.NewIndex(settings.Ingresses())
			gateway := made("edge", row.named)
			for _, object := range []client.Object{gateway, made("other", row.other)} {
				stored := ingress.NewGatewayObject()
				if err := admin.Get(t.Context(), client.ObjectKeyFromObject(object), stored); err != nil {
					t.Fatal(err)
				}
				index.SetGateway(stored.Object)
			}
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: "edge-credential"}}
			cluster.Mark(secret, intent.Owner{Kind: "Gateway", Namespace: namespace, Name: "edge", UID: string(gateway.GetUID())})
			if err := admin.Create(t.Context(), secret); err != nil {
				t.Fatal(err)
			}
			clock := clocktesting.NewFakePassiveClock(began)
			store := cluster.New(view, admin, namespace)
			r := &Reconciler{Cluster: store, Programmer: &programming.Programmer{Cluster: store, Edge: index, Synced: func() bool { return true }}, Interests: programming.NewInterests(), Install: settings, Clock: clock}
			for range 3 {
				if _, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: "edge"}}); err != nil {
					t.Fatal(err)
				}
				clock.SetTime(clock.Now().Add(collectAfter + time.Second))
			}
			err := admin.Get(t.Context(), client.ObjectKeyFromObject(secret), secret)
			if stays := err == nil; stays != row.stays || client.IgnoreNotFound(err) != nil {
				t.Errorf("it is there: %t, expected %t (%v)", stays, row.stays, err)
			}
			if err := admin.Delete(t.Context(), secret); client.IgnoreNotFound(err) != nil {
				t.Fatal(err)
			}
		})
	}
}
