package together

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// A caller that waits for a name is looked at again: nothing is when the ClientCertificate goes that holds it.
func TestAClientThatWaitsForANameIsLookedAtAgain(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.newAuthority("shop", "default", func(a *v1alpha1.CertificateAuthority) {
		a.Spec.ClientCertificates.AllowedNames = []v1alpha1.AllowedName{{Namespace: "shop", Name: "a.example.com"}, {Namespace: "bank", Name: "a.example.com"}}
	})
	w.pass(w.authority, "shop", "default")
	name := func(c *v1alpha1.ClientCertificate) { c.Spec.DNSNames = []string{"a.example.com"} }
	first := w.newClient("shop", "first", name)
	w.pass(w.clients, "shop", "first")
	w.newClient("bank", "second", name)
	result := w.pass(w.clients, "bank", "second")
	var c v1alpha1.ClientCertificate
	w.get(&c, "bank", "second")
	if ready := meta.FindStatusCondition(c.Status.Conditions, "Ready"); ready == nil || ready.Reason != "NameInUse" {
		t.Fatalf("it is told %+v", ready)
	}
	if err := w.admin.Delete(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	w.pass(w.clients, "shop", "first") // the only pass that the deletion causes
	if result.RequeueAfter == 0 {
		t.Error("the holder of the name is gone, and the one that waits for it is never looked at again")
	}
}

// An authority serves namespaces with a label. A caller that waits for the label is looked at again: his reconciler watches no
// Namespaces.
func TestAClientThatWaitsForALabelIsLookedAtAgain(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.newAuthority("shop", "default", func(a *v1alpha1.CertificateAuthority) {
		some := v1alpha1.AllowedReferences{Namespaces: v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "bank"}}}}
		a.Spec.AllowedGateways, a.Spec.AllowedClients = some, some
	})
	w.pass(w.authority, "shop", "default")
	w.newClient("bank", "caller", nil)
	caller := w.pass(w.clients, "bank", "caller")
	var c v1alpha1.ClientCertificate
	w.get(&c, "bank", "caller")
	if ready := meta.FindStatusCondition(c.Status.Conditions, "Ready"); ready == nil || ready.Reason != "AuthorityNotAllowed" {
		t.Fatalf("it is told %+v", ready)
	}
	namespace := &corev1.Namespace{}
	w.get(namespace, "", "bank")
	namespace.Labels = map[string]string{"team": "bank"}
	if err := w.admin.Update(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	if caller.RequeueAfter == 0 {
		t.Error("the ClientCertificate is allowed now, and nobody looks at it")
	}
}
