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

// Somebody marks the record of an authority immutable. It holds the only copy of the CA's key, so it must not be deleted before it is
// written somewhere else: the agent may die in between, or the second write be refused.
func TestAnImmutableRecordDoesNotCostTheKey(t *testing.T) {
	dies := false
	w := newWorld(t, interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
		if _, is := o.(*corev1.Secret); is && dies {
			dies = false
			return errors.New("killed")
		}
		return c.Create(ctx, o, opts...)
	}})
	a := w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	record, err := w.cluster.Record(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	s, yes := w.secret(agentNS, record.Name), true
	s.Immutable = &yes
	if err := w.admin.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	w.after(6 * 24 * time.Hour) // a CRL is due
	dies = true
	_, _ = w.try(w.authority, "shop", "default")
	dies = false
	for range 3 {
		_, _ = w.try(w.authority, "shop", "default")
	}
	ready := func() metav1.Condition {
		got := &v1alpha1.CertificateAuthority{}
		w.get(got, "shop", "default")
		return *meta.FindStatusCondition(got.Status.Conditions, v1alpha1.ConditionReady)
	}
	kept := w.secretIfAny(agentNS, record.Name)
	if kept == nil {
		t.Fatalf("the agent deleted the only copy of the CA's key, and died: %s: %s", ready().Reason, ready().Message)
	}
	if found := ready(); found.Reason != v1alpha1.ReasonLedgerImmutable || !strings.Contains(found.Message, "Save the Secret, delete it, and create it again") {
		t.Errorf("it is told %s: %s", found.Reason, found.Message)
	}
	if err := w.admin.Delete(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	kept.Immutable, kept.ResourceVersion, kept.UID = nil, "", ""
	w.put(kept)
	w.pass(w.authority, "shop", "default")
	if found := ready(); found.Status != metav1.ConditionTrue {
		t.Errorf("after what it told was done it is told %s: %s", found.Reason, found.Message)
	}
}
