package together

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/pkg/intent"
)

// An agent that has just begun has not heard of all Gateways yet (Synced is false). A Secret that was marked before, and that another
// Gateway names by now, must not be deleted by that.
func TestAnAgentThatHasNotHeardOfAllGatewaysCollectsNothing(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.synced = false
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: "shop.edge.mtls",
		Annotations: map[string]string{cluster.UnreferencedSince: began.Add(-11 * time.Minute).Format(time.RFC3339)}}}
	cluster.Mark(s, intent.Owner{Kind: "Gateway", Namespace: "shop", Name: "edge", UID: "gone"})
	w.put(s)
	w.newGateway("bank", "other", "a.example.com", "shop.edge.mtls", nil) // is stored, and the index was not told yet
	if result := w.pass(w.gateways, "shop", "edge"); result.RequeueAfter == 0 {
		t.Error("nobody looks at it again once all are heard of")
	}
	err := w.admin.Get(t.Context(), types.NamespacedName{Namespace: "istio-system", Name: "shop.edge.mtls"}, s)
	if apierrors.IsNotFound(err) {
		t.Error("the Secret was deleted, with its key, while a stored Gateway names it")
	}
}

// A Secret that was named by nothing for a moment, and for another one half an hour later, also where its authority lets nothing be
// written for it.
func TestTheTimeOfASecretThatIsNamedAgainBeginsAnew(t *testing.T) {
	w := newWorld(t, withUIDs(interceptor.Funcs{}))
	rules := w.newAPIRules()
	_, secrets := w.servedRule(rules)
	w.change("shop", "default", func(a *v1alpha1.CertificateAuthority) {
		a.Spec.AllowedGateways = v1alpha1.AllowedReferences{Namespaces: v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesSame}}
	})
	w.settle(rules)
	theirs := func() {
		w.editServer(managedName(t), func(s map[string]any) { s["tls"] = map[string]any{"mode": "SIMPLE", "credentialName": "theirs"} })
		w.gateway("bank", managedName(t))
		w.settle(rules)
		w.gateway("bank", managedName(t))
	}
	theirs()
	if w.secretIfAny("istio-system", secrets.Server) == nil {
		t.Fatal("gone at once")
	}
	w.after(30 * time.Minute)
	w.settle(rules)
	w.gateway("bank", managedName(t))
	theirs()
	if w.secretIfAny("istio-system", secrets.Server) == nil {
		t.Errorf("Secret %s is collected at once, and its Gateway names it; stands %+v", secrets.Server, w.ready("bank", "apirule-orders"))
	}
}

// The same of a Gateway that opted in by itself.
func TestTheTimeOfASecretThatAGatewayNamesAgainBeginsAnew(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.newGateway("bank", "edge", "a.example.com", "one", shared)
	w.gateway("bank", "edge")
	w.change("shop", "default", func(a *v1alpha1.CertificateAuthority) {
		a.Spec.AllowedGateways = v1alpha1.AllowedReferences{Namespaces: v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesSame}}
	})
	name := func(credential string) {
		w.editServer("edge", func(s map[string]any) { s["tls"].(map[string]any)["credentialName"] = credential }) //nolint:forcetypeassert // newGateway made it
		w.gateway("bank", "edge")
	}
	name("two")
	if _, marked := w.secret("istio-system", "one").Annotations[cluster.UnreferencedSince]; !marked {
		t.Fatal("nothing names it, and it is not marked")
	}
	name("one")
	w.after(30 * time.Minute)
	name("two")
	if w.secretIfAny("istio-system", "one") == nil {
		t.Error("it is collected at once")
	}
}
