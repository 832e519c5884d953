package together

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

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
