package together

import (
	"context"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/ingress"
)

// Somebody writes a Gateway back as he has it, again and again, while no webhook answers (F21: at most one write a minute, and it is
// told).
func TestAGatewayThatIsWrittenBackIsRepairedOnceAMinute(t *testing.T) {
	patches := 0
	w := newWorld(t, interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
		patches++
		return c.Patch(ctx, o, p, opts...)
	}})
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	theirs := w.newGateway("bank", "edge", "a.example.com", "", shared).Object["spec"]
	for range 30 {
		w.gateway("bank", "edge")
		g := ingress.NewGatewayObject()
		w.get(g, "bank", "edge")
		g.Object["spec"] = theirs
		if err := w.admin.Update(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		w.after(time.Second)
	}
	if patches > 2 {
		t.Errorf("in 30 seconds it was repaired %d times", patches)
	}
	result := w.gateway("bank", "edge")
	var e v1alpha1.MutualTLSEndpoint
	w.get(&e, "bank", "gateway-edge")
	if fought := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionConflictingWriter); fought == nil || fought.Status != metav1.ConditionTrue || !strings.Contains(fought.Message, "writing this Gateway back") {
		t.Errorf("it is not told: %+v", e.Status.Conditions)
	}
	if stands := w.ready("bank", "gateway-edge"); stands.Reason != v1alpha1.ReasonNotMutual {
		t.Errorf("it stands as %+v", stands)
	}
	w.after(result.RequeueAfter)
	w.gateway("bank", "edge")
	if stands := w.ready("bank", "gateway-edge"); patches > 3 || stands.Status != metav1.ConditionTrue {
		t.Errorf("a minute later it was repaired %d times, and stands as %+v", patches, stands)
	}
	for range 2 { // until all was quiet
		w.after(w.gateway("bank", "edge").RequeueAfter)
	}
	w.gateway("bank", "edge")
	w.get(&e, "bank", "gateway-edge")
	if fought := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionConflictingWriter); fought != nil {
		t.Errorf("it is told for ever: %+v", fought)
	}
}
