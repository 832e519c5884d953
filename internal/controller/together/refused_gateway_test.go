package together

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// A Gateway that waits for a host that another namespace holds has to be looked at again: no watch of the Gateway's reconciler
// shows that the other's endpoint let go of it.
func TestAGatewayThatWaitsForANameIsLookedAtAgain(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	first := w.newGateway("shop", "first", "a.example.com", "", shared)
	w.gateway("shop", "first")
	second := w.newGateway("bank", "second", "a.example.com", "", shared)
	spec, _ := second.Object["spec"].(map[string]any)
	servers, _ := spec["servers"].([]any)
	servers[0].(map[string]any)["port"] = map[string]any{"number": int64(9443), "protocol": "HTTPS", "name": "https"} // no conflict
	if err := w.admin.Update(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	result := w.gateway("bank", "second")
	if ready := w.ready("bank", "gateway-second"); ready.Reason != v1alpha1.ReasonNameInUse {
		t.Fatalf("it is told %+v", ready)
	}
	if result.RequeueAfter == 0 {
		t.Fatal("it is told NameInUse and never looked at again, whatever becomes of the holder's endpoint")
	}
	e := &v1alpha1.MutualTLSEndpoint{}
	w.get(e, "shop", "gateway-first")
	if err := w.admin.Delete(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if err := w.admin.Delete(t.Context(), e); err != nil { // as the garbage collector does
		t.Fatal(err)
	}
	w.index.DeleteGateway(requestFor("shop", "first").NamespacedName)
	w.after(result.RequeueAfter)
	w.gateway("bank", "second")
	if ready := w.ready("bank", "gateway-second"); ready.Status != metav1.ConditionTrue {
		t.Errorf("the holder is gone, and it is told %+v", ready)
	}
}

// An authority serves namespaces with a label. A Gateway that waits for the label is looked at again: no reconciler of Gateways
// watches Namespaces.
func TestAGatewayThatWaitsForALabelOfItsNamespaceIsLookedAtAgain(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.newAuthority("shop", "default", func(a *v1alpha1.CertificateAuthority) {
		a.Spec.AllowedGateways = v1alpha1.AllowedReferences{Namespaces: v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "bank"}}}}
	})
	w.pass(w.authority, "shop", "default")
	w.newGateway("bank", "edge", "a.example.com", "", shared)
	result := w.gateway("bank", "edge")
	if ready := w.ready("bank", "gateway-edge"); ready.Reason != v1alpha1.ReasonAuthorityNotAllowed {
		t.Fatalf("it is told %+v", ready)
	}
	namespace := &corev1.Namespace{}
	w.get(namespace, "", "bank")
	namespace.Labels = map[string]string{"team": "bank"}
	if err := w.admin.Update(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	if result.RequeueAfter == 0 {
		t.Fatal("the Gateway is allowed now, and nobody looks at it")
	}
	w.after(result.RequeueAfter)
	w.gateway("bank", "edge")
	if ready := w.ready("bank", "gateway-edge"); ready.Status != metav1.ConditionTrue {
		t.Errorf("it is allowed, and told %+v", ready)
	}
}
