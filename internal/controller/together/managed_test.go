package together

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/controller/apirule"
	"sallyport.dev/sallyport/pkg/intent"
)

// managedName is the Gateway of the APIRule bank/orders.
func managedName(t *testing.T) string {
	t.Helper()
	name, err := intent.ManagedGatewayName("orders")
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// written counts the writes that change what is stored of one kind of object.
type written struct{ count int }

func (w *written) funcs(kind string) interceptor.Funcs {
	return withUIDs(interceptor.Funcs{
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			if u, is := o.(*unstructured.Unstructured); is && u.GetKind() == kind {
				w.count++
			}
			return c.Update(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if u, is := o.(*unstructured.Unstructured); is && u.GetKind() == kind {
				w.count++
			}
			return c.Patch(ctx, o, p, opts...)
		},
	})
}

// toldOfFight says what an APIRule tells of one who keeps writing something back.
func (w *world) toldOfFight() string {
	w.t.Helper()
	var e v1alpha1.MutualTLSEndpoint
	w.get(&e, "bank", "apirule-orders")
	fought := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionConflictingWriter)
	if fought == nil || fought.Status != metav1.ConditionTrue {
		return ""
	}
	return fought.Message
}

// settle has the APIRule reconciled until it does not ask for an immediate next pass.
func (w *world) settle(rules *apirule.Reconciler) (again time.Duration) {
	w.t.Helper()
	for range 10 {
		if again = w.pass(rules, "bank", "orders").RequeueAfter; again == 0 || again > time.Second {
			break
		}
	}
	return again
}

// Somebody writes the Gateway of an APIRule to what asks nobody for a certificate, again and again. He is told of, and it is put right
// once a minute. What the APIRule itself asks for does not wait.
func TestAManagedGatewayThatIsWrittenBackIsRepairedOnceAMinute(t *testing.T) {
	var writes written
	w := newWorld(t, writes.funcs("Gateway"))
	rules := w.newAPIRules()
	w.servedRule(rules)
	writes.count = 0
	theirs := 0
	for range 30 {
		w.editServer(managedName(t), func(s map[string]any) { s["tls"] = map[string]any{"mode": "SIMPLE", "credentialName": "theirs"} })
		theirs++
		w.settle(rules)
		w.after(time.Second)
	}
	if repairs := writes.count - theirs; repairs > 2 {
		t.Errorf("in 30 seconds it was repaired %d times", repairs)
	}
	again := w.settle(rules)
	if message := w.toldOfFight(); !strings.Contains(message, "Gateway of this APIRule") {
		t.Errorf("it is told %q", message)
	}
	if stands := w.ready("bank", "apirule-orders"); stands.Status == metav1.ConditionTrue {
		t.Errorf("it stands as %+v", stands)
	}
	w.after(again)
	w.settle(rules)
	if stands := w.ready("bank", "apirule-orders"); stands.Status != metav1.ConditionTrue {
		t.Errorf("a minute later it stands as %+v", stands)
	}
	w.editRule(func(r *unstructured.Unstructured) {
		r.Object["spec"].(map[string]any)["hosts"] = []any{"other.example.com"}
	})
	w.settle(rules)
	var e v1alpha1.MutualTLSEndpoint
	if w.get(&e, "bank", "apirule-orders"); len(e.Status.Hosts) != 1 || e.Status.Hosts[0] != "other.example.com" {
		t.Errorf("another host waits: %v", e.Status.Hosts)
	}
}

// Somebody writes back which Gateway an APIRule names.
func TestAnAPIRuleThatIsWrittenBackIsMovedOnceAMinute(t *testing.T) {
	var writes written
	w := newWorld(t, writes.funcs("APIRule"))
	rules := w.newAPIRules()
	w.servedRule(rules)
	writes.count = 0
	theirs := 0
	for range 30 {
		w.nameKymaGateway()
		theirs++
		w.settle(rules)
		w.after(time.Second)
	}
	if repairs := writes.count - theirs; repairs > 2 {
		t.Errorf("in 30 seconds it was moved %d times", repairs)
	}
	again := w.settle(rules)
	if message := w.toldOfFight(); !strings.Contains(message, "spec.gateway of this APIRule") {
		t.Errorf("it is told %q", message)
	}
	if stands := w.ready("bank", "apirule-orders"); stands.Reason != v1alpha1.ReasonNotMutual {
		t.Errorf("it stands as %+v", stands)
	}
	w.after(again)
	w.settle(rules)
	if stands := w.ready("bank", "apirule-orders"); stands.Status != metav1.ConditionTrue {
		t.Errorf("a minute later it stands as %+v", stands)
	}
}

// nameKymaGateway has the APIRule bank/orders name the Gateway that everybody has.
func (w *world) nameKymaGateway() {
	w.t.Helper()
	w.editRule(func(r *unstructured.Unstructured) {
		r.Object["spec"].(map[string]any)["gateway"] = "kyma-system/kyma-gateway"
	})
}

// bringCertificate has an APIRule bring its own server certificate.
func bringCertificate(rule *unstructured.Unstructured) {
	annotations := map[string]string{"mtls.sallyport.dev/server-certificate": "provided", "mtls.sallyport.dev/server-credential-name": "own-tls"}
	maps.Copy(annotations, shared)
	rule.SetAnnotations(annotations)
}

// An APIRule that brings its own server certificate leaves the one behind that was made for it, with its key: it is collected.
func TestWhatAnAPIRuleNamedBeforeIsCollected(t *testing.T) {
	w := newWorld(t, withUIDs(interceptor.Funcs{}))
	rules := w.newAPIRules()
	_, secrets := w.servedRule(rules)
	w.editRule(bringCertificate)
	w.settle(rules)
	for range 3 {
		w.gateway("bank", managedName(t))
		if w.secretIfAny("istio-system", secrets.Server) == nil {
			t.Fatal("it is collected at once: a Gateway that is pushed late still names it")
		}
		w.after(4 * time.Minute)
		w.settle(rules)
	}
	w.gateway("bank", managedName(t))
	for _, name := range []string{secrets.Server, secrets.CA} {
		if w.secretIfAny("istio-system", name) != nil {
			t.Errorf("Secret %s is still there", name)
		}
	}
	if w.secretIfAny("istio-system", "own-tls-cacert") == nil {
		t.Error("what it names now is not there")
	}
}
