package together

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// Who changes his wish now and then does not wait: the certificate for it is issued with the next look.
func TestWhoChangesAnObjectNowAndThenDoesNotWait(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.after(24 * time.Hour) // the CA is older than what is back-dated
	w.newClient("shop", "caller", func(c *v1alpha1.ClientCertificate) { c.Spec.Lifetime = &metav1.Duration{Duration: time.Hour} })
	w.pass(w.clients, "shop", "caller")
	before := w.secret("shop", "caller-mtls").Data["tls.crt"]
	c := &v1alpha1.ClientCertificate{}
	w.get(c, "shop", "caller")
	c.Spec.Lifetime.Duration = 2 * time.Hour
	c.Generation++
	if err := w.admin.Update(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	w.pass(w.clients, "shop", "caller")
	if string(w.secret("shop", "caller-mtls").Data["tls.crt"]) == string(before) {
		w.get(c, "shop", "caller")
		t.Errorf("nothing was issued for another lifetime: %v", c.Status.Conditions)
	}
}
