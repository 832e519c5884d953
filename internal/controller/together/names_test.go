package together

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// Whoever is never issued a certificate has a name for 30 seconds at most. A Gateway whose Secret's place is somebody else's is
// looked at every 15 seconds, takes its names anew each time, and keeps them from everybody for as long as it likes.
func TestANameIsNotTakenForEverByWhoIsNeverIssuedIt(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.put(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: "somebodys"}})
	w.newGateway("mallory", "squatter", "bank.example.com", "somebodys", shared)
	for range 3 {
		_, _ = w.try(w.gateways, "mallory", "squatter") // repaired, then told that the Secret is somebody else's
	}
	w.newGateway("bank", "edge", "bank.example.com", "", shared)
	for range 3 {
		w.pass(w.gateways, "mallory", "squatter")
		w.gateway("bank", "edge")
		w.after(15 * time.Second)
	}
	if w.secretIfAny("istio-system", "bank.edge.mtls") == nil {
		t.Error("bank's Gateway has no certificate, because mallory's, which has none either, takes the name every 15 s")
	}
}

// Whoever took a name and may have been issued a certificate has it for a while. The other is told, and looked at again when that is over.
func TestWhoComesSecondForANameIsToldAndLookedAtAgain(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
		if o.GetName() == "mallory.edge.mtls" {
			return errors.New("no answer")
		}
		return c.Create(ctx, o, opts...)
	}})
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.newGateway("mallory", "edge", "bank.example.com", "", shared)
	for range 3 {
		_, _ = w.try(w.gateways, "mallory", "edge") // takes the name, and whether its Secret was written is not known
	}
	w.newGateway("bank", "edge", "bank.example.com", "", shared)
	w.after(10 * time.Second)
	_, _ = w.try(w.gateways, "mallory", "edge")
	result := w.gateway("bank", "edge")
	var e v1alpha1.MutualTLSEndpoint
	w.get(&e, "bank", "gateway-edge")
	if ready := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionReady); ready == nil || ready.Reason != v1alpha1.ReasonNameInUse || !strings.Contains(ready.Message, "namespace mallory") {
		t.Errorf("it tells %+v", ready)
	}
	if result.RequeueAfter != 20*time.Second {
		t.Fatalf("it is looked at again after %s, expected 20 s", result.RequeueAfter)
	}
	w.after(result.RequeueAfter)
	w.gateway("bank", "edge")
	if w.secretIfAny("istio-system", "bank.edge.mtls") == nil {
		t.Error("it has no certificate though nobody has the name any more")
	}
}
