package together

import (
	"context"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/controller/apirule"
	"sallyport.dev/sallyport/internal/metrics"
	"sallyport.dev/sallyport/internal/programming"
)

// newAPIRules is a reconciler of APIRules as one that has just begun has it.
func (w *world) newAPIRules() *apirule.Reconciler {
	if !w.admin.Scheme().Recognizes(apirule.GVK) {
		w.admin.Scheme().AddKnownTypeWithName(apirule.GVK, &unstructured.Unstructured{})
		w.admin.Scheme().AddKnownTypeWithName(apirule.GVK.GroupVersion().WithKind("APIRuleList"), &unstructured.UnstructuredList{})
	}
	headers := apirule.NewHeaders(w.view, w.gateways.Install)
	headers.None()
	return &apirule.Reconciler{Cluster: w.cluster, Programmer: w.gateways.Programmer, Interests: programming.NewInterests(), Changes: w.gateways.Changes,
		Headers: headers, Install: w.gateways.Install, Clock: w.clock, Recorder: events.NewFakeRecorder(1000), Counters: metrics.NewCounters()}
}

// withUIDs gives each object that is created one, as an API server does.
func withUIDs(funcs interceptor.Funcs) interceptor.Funcs {
	funcs.Create = func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
		if o.GetUID() == "" {
			o.SetUID(types.UID("uid-" + o.GetNamespace() + o.GetName()))
		}
		return c.Create(ctx, o, opts...)
	}
	return funcs
}

// servedRule makes the authority shop/default and the APIRule bank/orders, which is served behind a Gateway of its own.
func (w *world) servedRule(rules *apirule.Reconciler) (*unstructured.Unstructured, v1alpha1.EndpointSecrets) {
	w.t.Helper()
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	rule := apirule.NewObject()
	rule.SetNamespace("bank")
	rule.SetName("orders")
	rule.SetUID("rule-orders")
	rule.SetAnnotations(shared)
	rule.Object["spec"] = map[string]any{"hosts": []any{"orders.example.com"}, "service": map[string]any{"name": "orders", "port": int64(8080)},
		"rules": []any{map[string]any{"path": "/*", "methods": []any{"GET"}, "noAuth": true}}}
	w.put(rule)
	for range 4 {
		w.pass(rules, "bank", "orders")
	}
	var e v1alpha1.MutualTLSEndpoint
	w.get(&e, "bank", "apirule-orders")
	if len(e.Status.Secrets) != 1 {
		w.t.Fatalf("it is not served: %+v", e.Status)
	}
	return rule, e.Status.Secrets[0]
}

// What stands behind an APIRule whose annotations cannot be read any more is kept current, also by an agent that has just begun.
func TestACompromisedCAIsTrustedNowhereBehindAnAPIRule(t *testing.T) {
	w := newWorld(t, withUIDs(interceptor.Funcs{}))
	rules := w.newAPIRules()
	rule, secrets := w.servedRule(rules)
	ca, stolen := secrets.CA, w.active("shop", "default")
	if !w.trusts(ca, stolen) {
		t.Fatal("its Gateway does not trust the CA to begin with")
	}
	w.get(rule, "bank", "orders")
	rule.SetAnnotations(map[string]string{"mtls.sallyport.dev/mode": "mutual", "mtls.sallyport.dev/authorities": "shop/default", "mtls.sallyport.dev/of-a-newer-version": "yes"})
	if err := w.admin.Update(t.Context(), rule); err != nil {
		t.Fatal(err)
	}
	rules = w.newAPIRules()
	w.pass(rules, "bank", "orders")
	if requests := rules.Interests.Of(requestFor("shop", "default").NamespacedName); len(requests) != 1 {
		t.Errorf("a change of the authority has %d APIRules looked at, expected 1", len(requests))
	}
	w.change("shop", "default", compromise(stolen))
	for range 2 {
		w.after(time.Minute)
		w.pass(w.authority, "shop", "default")
		w.pass(rules, "bank", "orders")
	}
	if w.trusts(ca, stolen) {
		t.Error("its Gateway still trusts the compromised CA")
	}
	if ready := w.ready("bank", "apirule-orders"); ready.Reason != v1alpha1.ReasonInvalidAnnotations {
		t.Errorf("it tells %+v", ready)
	}
	if w.secretIfAny("istio-system", secrets.Server) == nil {
		t.Error("its server certificate is gone")
	}
}
