package together

import (
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/controller/apirule"
	"sallyport.dev/sallyport/internal/ingress"
)

// editServer changes the first server of a Gateway of bank.
func (w *world) editServer(name string, edit func(server map[string]any)) {
	w.t.Helper()
	g := ingress.NewGatewayObject()
	w.get(g, "bank", name)
	servers, _, _ := unstructured.NestedSlice(g.Object, "spec", "servers")
	edit(servers[0].(map[string]any))
	if err := unstructured.SetNestedSlice(g.Object, servers, "spec", "servers"); err != nil {
		w.t.Fatal(err)
	}
	if err := w.admin.Update(w.t.Context(), g); err != nil {
		w.t.Fatal(err)
	}
}

// editRule changes the APIRule bank/orders.
func (w *world) editRule(edit func(rule *unstructured.Unstructured)) {
	w.t.Helper()
	rule := apirule.NewObject()
	w.get(rule, "bank", "orders")
	edit(rule)
	if err := w.admin.Update(w.t.Context(), rule); err != nil {
		w.t.Fatal(err)
	}
}

// A Gateway that is left as somebody else wrote it serves other hosts than the APIRule's.
func TestAnAPIRuleIsNotReadyWhileItsGatewayIsHeld(t *testing.T) {
	w := newWorld(t, withUIDs(interceptor.Funcs{}))
	rules := w.newAPIRules()
	w.servedRule(rules)
	w.after(10 * time.Minute)
	for range 4 {
		w.editServer(managedName(t), func(s map[string]any) { s["hosts"] = []any{"elsewhere.example.com"} })
		w.settle(rules)
		w.after(time.Second)
	}
	var e v1alpha1.MutualTLSEndpoint
	w.get(&e, "bank", "apirule-orders")
	if stands := w.ready("bank", "apirule-orders"); stands.Status == metav1.ConditionTrue {
		t.Errorf("hosts %v, ready %+v", e.Status.Hosts, stands)
	}
}

// What somebody else writes is not programmed: it would cost the APIRule the certificates that it may have in a minute.
func TestWhoFightsUsesNothingUpOfAnAPIRule(t *testing.T) {
	w := newWorld(t, withUIDs(interceptor.Funcs{}))
	rules := w.newAPIRules()
	w.servedRule(rules)
	w.after(10 * time.Minute)
	for n := range 59 {
		w.editServer(managedName(t), func(s map[string]any) { s["hosts"] = []any{fmt.Sprintf("h%d.example.com", n)} })
		w.settle(rules)
		w.after(time.Second)
	}
	w.after(2 * time.Second) // the minute is over, and nobody writes any more
	again := w.settle(rules)
	var e v1alpha1.MutualTLSEndpoint
	w.get(&e, "bank", "apirule-orders")
	if stands := w.ready("bank", "apirule-orders"); stands.Status != metav1.ConditionTrue {
		t.Errorf("hosts %v, again %s, ready %+v", e.Status.Hosts, again, stands)
	}
}

// Nor are Secrets made that somebody else names.
func TestWhoFightsHasNoSecretsMade(t *testing.T) {
	w := newWorld(t, withUIDs(interceptor.Funcs{}))
	rules := w.newAPIRules()
	_, secrets := w.servedRule(rules)
	w.after(10 * time.Minute)
	for n := range 60 {
		w.editServer(managedName(t), func(s map[string]any) {
			s["tls"].(map[string]any)["credentialName"] = fmt.Sprintf("c%d", n)
		})
		w.settle(rules)
		w.gateway("bank", managedName(t))
		w.after(time.Second)
	}
	found := 0
	for n := range 60 {
		if w.secretIfAny("istio-system", fmt.Sprintf("c%d", n)) != nil {
			found++
		}
	}
	if found > 5 {
		t.Errorf("%d server Secrets were made in a minute of what the APIRule never asked for; %+v", found, w.ready("bank", "apirule-orders"))
	}
	if _, marked := w.secret("istio-system", secrets.Server).Annotations[cluster.UnreferencedSince]; marked {
		t.Error("the one of the APIRule counts as named by nothing")
	}
}

// A managed Gateway that has a server of somebody else beside the one that asks for certificates.
func TestAServerOfAnotherMakesAnAPIRuleNotReady(t *testing.T) {
	for name, extra := range map[string]map[string]any{
		"http":      {"port": map[string]any{"number": int64(80), "protocol": "HTTP", "name": "http"}, "hosts": []any{"orders.example.com"}},
		"simple":    {"port": map[string]any{"number": int64(8443), "protocol": "HTTPS", "name": "open"}, "hosts": []any{"orders.example.com"}, "tls": map[string]any{"mode": "SIMPLE", "credentialName": "theirs"}},
		"wildcard":  {"port": map[string]any{"number": int64(443), "protocol": "HTTPS", "name": "open"}, "hosts": []any{"*.example.com"}, "tls": map[string]any{"mode": "PASSTHROUGH"}},
		"noservers": nil,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withUIDs(interceptor.Funcs{}))
			rules := w.newAPIRules()
			w.servedRule(rules)
			w.after(10 * time.Minute)
			for range 4 {
				g := ingress.NewGatewayObject()
				w.get(g, "bank", managedName(t))
				servers, _, _ := unstructured.NestedSlice(g.Object, "spec", "servers")
				if extra == nil {
					servers = []any{}
				} else {
					servers = append(servers, extra)
				}
				if err := unstructured.SetNestedSlice(g.Object, servers, "spec", "servers"); err != nil {
					t.Fatal(err)
				}
				if err := w.admin.Update(t.Context(), g); err != nil {
					t.Fatal(err)
				}
				w.settle(rules)
				w.after(time.Second)
			}
			stands := w.ready("bank", "apirule-orders")
			if stands.Status == metav1.ConditionTrue {
				t.Errorf("it stands as %+v, told %q", stands, w.toldOfFight())
			}
		})
	}
}

// Somebody writes back the Gateway, and somebody spec.gateway: each has its own minute.
func TestOfTwoFightsTheNextTurnIsTaken(t *testing.T) {
	w := newWorld(t, withUIDs(interceptor.Funcs{}))
	rules := w.newAPIRules()
	w.servedRule(rules)
	w.after(10 * time.Minute)
	simple := func() {
		w.editServer(managedName(t), func(s map[string]any) { s["tls"] = map[string]any{"mode": "SIMPLE", "credentialName": "theirs"} })
	}
	for range 3 { // Gateway: repaired at 0 and 1, held from 2 on, due at 61
		simple()
		w.settle(rules)
		w.after(time.Second)
	}
	w.after(40 * time.Second) // 43
	for range 3 {             // moved at 43, 44, held at 45, due at 104
		w.nameKymaGateway()
		w.settle(rules)
		w.after(time.Second)
	}
	again := w.settle(rules)
	w.after(again)
	if again > 20*time.Second {
		t.Errorf("the open Gateway could be put right in 15 s, and is looked at in %s", again)
	}
}

// Another webhook undoes a write before it is stored: the version of the object stays as it was.
func TestAMoveThatIsUndoneAtOnceIsToldOf(t *testing.T) {
	tried := 0
	w := newWorld(t, withUIDs(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if u, is := o.(*unstructured.Unstructured); is && u.GetKind() == "APIRule" && u.GetAnnotations()["x"] == "y" {
				tried++
				return nil // another mutating webhook wrote it back: nothing is stored, the version stays
			}
			return c.Patch(ctx, o, p, opts...)
		},
	}))
	rules := w.newAPIRules()
	w.servedRule(rules)
	w.after(10 * time.Minute)
	w.editRule(func(r *unstructured.Unstructured) {
		a := r.GetAnnotations()
		a["x"] = "y"
		r.SetAnnotations(a)
		r.Object["spec"].(map[string]any)["gateway"] = "kyma-system/kyma-gateway"
	})
	hot := 0
	for range 6000 { // ten minutes of passes each 100 ms
		again := w.pass(rules, "bank", "orders").RequeueAfter
		if again > time.Second || again == 0 {
			break
		}
		hot++
		w.after(again)
	}
	if hot > 150 || tried > 3 || w.toldOfFight() == "" {
		t.Errorf("%d passes each 100 ms, %d writes tried; it stands as %+v, told %q", hot, tried, w.ready("bank", "apirule-orders"), w.toldOfFight())
	}
}

// It is tried again, once that webhook is gone.
func TestAMoveThatWasUndoneIsTriedAgain(t *testing.T) {
	undone := true
	w := newWorld(t, withUIDs(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if u, is := o.(*unstructured.Unstructured); is && u.GetKind() == "APIRule" && undone {
				return nil
			}
			return c.Patch(ctx, o, p, opts...)
		},
	}))
	rules := w.newAPIRules()
	undone = false
	w.servedRule(rules)
	undone = true
	w.after(10 * time.Minute)
	w.editRule(func(r *unstructured.Unstructured) {
		r.Object["spec"].(map[string]any)["gateway"] = "kyma-system/kyma-gateway"
	})
	w.pass(rules, "bank", "orders")
	undone = false
	w.after(time.Hour)
	w.settle(rules)
	rule := apirule.NewObject()
	w.get(rule, "bank", "orders")
	if named := rule.Object["spec"].(map[string]any)["gateway"]; named == "kyma-system/kyma-gateway" {
		t.Errorf("an hour later the APIRule still names %v, and stands as %+v", named, w.ready("bank", "apirule-orders"))
	}
}

// So is the repair of a Gateway that opted in by itself.
func TestARepairThatWasUndoneIsTriedAgain(t *testing.T) {
	undone := true
	w := newWorld(t, withUIDs(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if u, is := o.(*unstructured.Unstructured); is && u.GetKind() == "Gateway" && undone {
				return nil
			}
			return c.Patch(ctx, o, p, opts...)
		},
	}))
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.newGateway("bank", "edge", "a.example.com", "", shared)
	w.pass(w.gateways, "bank", "edge")
	undone = false
	w.after(time.Hour)
	w.gateway("bank", "edge")
	g := ingress.NewGatewayObject()
	w.get(g, "bank", "edge")
	servers, _, _ := unstructured.NestedSlice(g.Object, "spec", "servers")
	if mode := servers[0].(map[string]any)["tls"].(map[string]any)["mode"]; mode == "SIMPLE" {
		t.Errorf("an hour later the Gateway is %v", mode)
	}
}

// Whoever opts out and in again is not at war with anybody.
func TestOptingOutAndInIsNoFight(t *testing.T) {
	w := newWorld(t, withUIDs(interceptor.Funcs{}))
	rules := w.newAPIRules()
	w.servedRule(rules)
	w.after(10 * time.Minute)
	for range 3 {
		w.editRule(func(r *unstructured.Unstructured) {
			r.SetAnnotations(nil)
			r.Object["spec"].(map[string]any)["gateway"] = "kyma-system/kyma-gateway"
		})
		w.settle(rules)
		w.after(5 * time.Second)
		w.editRule(func(r *unstructured.Unstructured) { r.SetAnnotations(shared) })
		w.settle(rules)
		w.after(5 * time.Second)
	}
	if stands := w.ready("bank", "apirule-orders"); stands.Status != metav1.ConditionTrue {
		t.Errorf("it stands as %+v, told %q", stands, w.toldOfFight())
	}
}
