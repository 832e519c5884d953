package together

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/internal/install"
)

// Another webhook undoes the write of a managed Gateway before it is stored: what it has stored instead is not served as if it were
// asked for, and it is not written with each pass.
func TestAManagedGatewayThatIsUndoneAtOnceIsToldOf(t *testing.T) {
	undo, tried := false, 0
	w := newWorld(t, withUIDs(interceptor.Funcs{Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
		if u, is := o.(*unstructured.Unstructured); is && u.GetKind() == "Gateway" && undo {
			tried++
			return c.Get(ctx, client.ObjectKeyFromObject(o), o) // another webhook made it what is stored: no-op, answered with what is stored
		}
		return c.Update(ctx, o, opts...)
	}}))
	rules := w.newAPIRules()
	w.servedRule(rules)
	w.after(10 * time.Minute)
	w.editServer(managedName(t), func(s map[string]any) { s["hosts"] = []any{"elsewhere.example.com"} })
	undo = true
	for range 2 { // the event of the edit, and that of the status
		w.settle(rules)
	}
	var e v1alpha1.MutualTLSEndpoint
	w.get(&e, "bank", "apirule-orders")
	stands := w.ready("bank", "apirule-orders")
	if stands.Status == metav1.ConditionTrue {
		t.Errorf("hosts %v, ready %+v, told %q", e.Status.Hosts, stands, w.toldOfFight())
	}
	tried = 0
	for range 120 { // other events, such as those of the rule's own status
		w.after(time.Second)
		w.settle(rules)
	}
	w.get(&e, "bank", "apirule-orders")
	if tried > 4 || w.toldOfFight() == "" {
		t.Errorf("%d writes in two minutes; hosts %v ready %+v told %q", tried, e.Status.Hosts, w.ready("bank", "apirule-orders"), w.toldOfFight())
	}
}

// An admission policy refuses what the APIRule asks for at present: what is stored goes on, is not said to be what is asked for, and it is
// tried again.
func TestAnAPIRuleWhoseGatewayAPolicyRefusesIsNotReady(t *testing.T) {
	refuse := false
	w := newWorld(t, withUIDs(interceptor.Funcs{Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
		if u, is := o.(*unstructured.Unstructured); is && u.GetKind() == "Gateway" && refuse {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "gateways"}, o.GetName(), errors.New("ValidatingAdmissionPolicy 'x' denied request"))
		}
		return c.Update(ctx, o, opts...)
	}}))
	rules := w.newAPIRules()
	w.servedRule(rules)
	w.after(10 * time.Minute)
	refuse = true
	w.editRule(func(r *unstructured.Unstructured) {
		r.Object["spec"].(map[string]any)["hosts"] = []any{"new.example.com"}
	})
	again := w.settle(rules)
	var e v1alpha1.MutualTLSEndpoint
	w.get(&e, "bank", "apirule-orders")
	if stands := w.ready("bank", "apirule-orders"); stands.Status == metav1.ConditionTrue {
		t.Errorf("the rule asks for new.example.com. hosts %v, ready %+v, again %s", e.Status.Hosts, stands, again)
	}
	if again == 0 || again > time.Minute {
		t.Errorf("the policy may change, and it is tried again in %s", again)
	}
}

// The reconciler of Gateways runs at each event that it watches, and at no other time: also then it looks again.
func TestWhatAnAPIRuleNamedBeforeIsCollectedByEvents(t *testing.T) {
	var w *world
	running, on := false, false
	var last time.Duration
	passes := 0
	event := func(o client.Object) {
		if !on || running {
			return
		}
		u, is := o.(*unstructured.Unstructured)
		_, secret := o.(*corev1.Secret)
		if (!is || u.GetKind() != "Gateway") && !secret {
			return
		}
		running = true
		passes++
		last = w.gateway("bank", managedName(t)).RequeueAfter
		running = false
	}
	w = newWorld(t, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if o.GetUID() == "" {
				o.SetUID(types.UID("uid-" + o.GetNamespace() + o.GetName()))
			}
			err := c.Create(ctx, o, opts...)
			event(o)
			return err
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			err := c.Update(ctx, o, opts...)
			event(o)
			return err
		},
	})
	rules := w.newAPIRules()
	_, secrets := w.servedRule(rules)
	on = true
	w.editRule(bringCertificate)
	w.settle(rules)
	_, marked := w.secret("istio-system", secrets.Server).Annotations[cluster.UnreferencedSince]
	if !marked && last == 0 {
		t.Errorf("Secret %s, with its key, is not marked, and nobody looks again", secrets.Server)
	}
}

// What was stored in one of two ingress namespaces counts as issued, though the other one refuses it.
func TestAnIngressThatCannotBeWrittenToLiftsNoBound(t *testing.T) {
	fail := false
	w := newWorld(t, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if _, is := o.(*corev1.Secret); is && o.GetNamespace() == "zz-ingress" && fail {
				return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, o.GetName(), errors.New("exceeded quota"))
			}
			return c.Create(ctx, o, opts...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			if _, is := o.(*corev1.Secret); is && o.GetNamespace() == "zz-ingress" && fail {
				return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, o.GetName(), errors.New("exceeded quota"))
			}
			return c.Update(ctx, o, opts...)
		},
	})
	settings, err := install.Parse([]byte("trustDomain: example.com\ningresses:\n- {name: a, namespace: istio-system, selector: {istio: ingressgateway}}\n- {name: b, namespace: zz-ingress, selector: {istio: ingressgateway}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	w.put(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "zz-ingress", UID: "uid-zz"}})
	w.index = ingress.NewIndex(settings.Ingresses())
	w.gateways = w.agent(settings)
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.newGateway("bank", "edge", "a.example.com", "", shared)
	w.gateway("bank", "edge")
	var e v1alpha1.MutualTLSEndpoint
	w.get(&e, "bank", "gateway-edge")
	name := e.Status.Secrets[0].Server
	fail = true
	served := map[string]bool{}
	for n := range 60 {
		w.editServer("edge", func(s map[string]any) { s["hosts"] = []any{fmt.Sprintf("h%d.example.com", n)} })
		g := ingress.NewGatewayObject()
		w.get(g, "bank", "edge")
		w.index.SetGateway(g.Object)
		if _, err := w.try(w.gateways, "bank", "edge"); err == nil {
			t.Fatal("nothing was refused")
		}
		served[string(w.secret("istio-system", name).Data["tls.crt"])] = true
		w.after(time.Second)
	}
	if len(served) > 18 {
		t.Errorf("%d certificates were served in a minute", len(served))
	}
}

// Somebody keeps adding an owner reference to a managed Gateway.
func TestWhatChangesNothingServedKeepsAnAPIRuleReady(t *testing.T) {
	w := newWorld(t, withUIDs(interceptor.Funcs{}))
	rules := w.newAPIRules()
	w.servedRule(rules)
	w.after(10 * time.Minute)
	for range 4 {
		g := ingress.NewGatewayObject()
		w.get(g, "bank", managedName(t))
		g.SetOwnerReferences(append(g.GetOwnerReferences(), metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "x"}))
		if err := w.admin.Update(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		w.settle(rules)
		w.after(time.Second)
	}
	if stands := w.ready("bank", "apirule-orders"); stands.Status != metav1.ConditionTrue {
		t.Errorf("what is served is what is asked for, and it stands as %+v", stands)
	}
}

// Somebody strips all our marks of a managed Gateway: it is still the APIRule's, and a compromised CA goes from behind it.
func TestAManagedGatewayIsKnownByItsOwnerReferences(t *testing.T) {
	w := newWorld(t, withUIDs(interceptor.Funcs{}))
	rules := w.newAPIRules()
	_, secrets := w.servedRule(rules)
	ca, stolen := secrets.CA, w.active("shop", "default")
	w.gateway("bank", managedName(t))
	w.after(10 * time.Minute)
	g := ingress.NewGatewayObject()
	w.get(g, "bank", managedName(t))
	g.SetAnnotations(nil)
	g.SetLabels(nil)
	if err := w.admin.Update(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	w.settle(rules)
	w.gateway("bank", managedName(t))
	w.change("shop", "default", compromise(stolen))
	for range 30 {
		w.after(time.Minute)
		w.pass(w.authority, "shop", "default")
		w.pass(rules, "bank", "orders")
		w.gateway("bank", managedName(t))
	}
	if w.secretIfAny("istio-system", ca) != nil && w.trusts(ca, stolen) {
		t.Errorf("its Gateway still trusts the compromised CA; %+v", w.ready("bank", "apirule-orders"))
	}
}
