package together

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/budget"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// A renewal that is put off for want of budget does not put off what a caller is to trust: of a Gateway it does not either.
func TestACallerWhoseRenewalIsHeldUpLearnsWhomToTrust(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.newClient("shop", "caller", nil)
	w.pass(w.clients, "shop", "caller")
	w.clients.Budget = budget.New(1)
	w.after(75 * 24 * time.Hour) // of 90: a renewal is due, and can wait for six days
	_, _ = w.clients.Budget.Hold("another", rotate.LeafPlan{Issue: true, PutOff: w.clock.Now().Add(time.Hour)}, w.clock.Now())
	a := &v1alpha1.CertificateAuthority{}
	w.get(a, "shop", "default")
	after := metav1.NewTime(w.clock.Now())
	a.Spec.Rotation.RotateAfter, a.Spec.Rotation.CallersUpdated = &after, a.Status.Generations[0].SubjectKeyID
	if err := w.admin.Update(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w.pass(w.authority, "shop", "default")
	}
	result := w.pass(w.clients, "shop", "caller")
	cas, err := pki.ParseCertificates(w.secret("shop", "caller-mtls").Data["ca.crt"])
	if err != nil {
		t.Fatal(err)
	}
	if len(cas) != 2 {
		t.Errorf("ca.crt has %d CAs, expected both generations; it is looked at again after %s", len(cas), result.RequeueAfter)
	}
}
