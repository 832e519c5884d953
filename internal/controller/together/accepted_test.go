package together

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/controller/authority"
)

// A person takes a record that was restored with an annotation, as the condition says. An annotation is no new generation of the object,
// and the pass before asks for no other one: the watch has to show it.
func TestWhoTakesARestoredRecordIsHeard(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	a := &v1alpha1.CertificateAuthority{}
	w.get(a, "shop", "default")
	a.Status.Generations = append(a.Status.Generations, v1alpha1.AuthorityGeneration{ID: "g2", SubjectKeyID: "0a", State: v1alpha1.GenerationPrepared,
		CreatedAt: metav1.NewTime(began), NotBefore: metav1.NewTime(began), NotAfter: metav1.NewTime(began)})
	if err := w.admin.Status().Update(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	result := w.pass(w.authority, "shop", "default")
	w.get(a, "shop", "default")
	if ready := meta.FindStatusCondition(a.Status.Conditions, "Ready"); ready == nil || ready.Reason != "StateRegressed" {
		t.Fatalf("it is told %+v", ready)
	}
	taken := a.DeepCopy()
	taken.Annotations = map[string]string{cluster.AcceptState: "g2-0a"}
	shown := authority.Changed().Update(event.UpdateEvent{ObjectOld: a, ObjectNew: taken})
	if !shown && result.RequeueAfter == 0 {
		t.Error("nobody looks at the authority when its state is taken: it goes on refusing to work")
	}
}

// What a person took once is not what he takes the next time: the same annotation must not let a second restore pass.
func TestWhatWasTakenOnceIsNotTakenAgain(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	first := w.active("shop", "default")
	a := &v1alpha1.CertificateAuthority{}
	w.get(a, "shop", "default")
	record, err := w.cluster.Record(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	backup := w.secret(agentNS, record.Name)
	told := func() {
		// A compromised g1 makes g2 at once.
		w.change("shop", "default", compromise(first))
		for range 3 {
			w.pass(w.authority, "shop", "default")
		}
		w.change("shop", "default", func(a *v1alpha1.CertificateAuthority) { a.Spec.Rotation.Compromised = nil })
	}
	restore := func() {
		s := w.secret(agentNS, record.Name)
		s.Data = backup.Data
		if err := w.admin.Update(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	told()
	restore()
	w.pass(w.authority, "shop", "default")
	w.get(a, "shop", "default")
	_, value, _ := strings.Cut(meta.FindStatusCondition(a.Status.Conditions, "Ready").Message, cluster.AcceptState+": ")
	value, _, _ = strings.Cut(value, ")")
	w.change("shop", "default", func(a *v1alpha1.CertificateAuthority) {
		a.Annotations = map[string]string{cluster.AcceptState: value}
	})
	w.pass(w.authority, "shop", "default") // taken: g1 issues, by a person's word
	if w.active("shop", "default") != first {
		t.Fatal("it was not taken")
	}
	w.get(a, "shop", "default")
	if a.Status.AcceptedState != value || a.Status.NewestGeneration != "g2" {
		t.Errorf("the status notes %q, and %s as the newest", a.Status.AcceptedState, a.Status.NewestGeneration)
	}
	told() // another g1 gives way
	restore()
	w.pass(w.authority, "shop", "default")
	w.get(a, "shop", "default")
	if ready := meta.FindStatusCondition(a.Status.Conditions, "Ready"); ready.Reason != "StateRegressed" {
		t.Errorf("the second restore passes by the annotation for the first: active is %s again, told %s", a.Status.Generations[0].ID, ready.Reason)
	}
}
