package together

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// A write that is stored, and whose answer is lost, is a revocation like any other: the authority has to be told, or its CRL lists
// the certificate when the next one is due, which is days later.
func TestARevocationWhoseAnswerIsLostIsToldToTheAuthority(t *testing.T) {
	lose := false
	w := newWorld(t, interceptor.Funcs{Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
		err := c.Update(ctx, o, opts...)
		if s, is := o.(*corev1.Secret); is && lose && strings.Contains(s.Name, "-serials-") {
			lose = false
			return errors.New("etcdserver: request timed out")
		}
		return err
	}})
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.newClient("shop", "caller", nil)
	w.pass(w.clients, "shop", "caller")
	c := &v1alpha1.ClientCertificate{}
	w.get(c, "shop", "caller")
	c.Spec.Revocation = &v1alpha1.ClientRevocation{Reason: v1alpha1.RevokedKeyCompromise}
	c.Generation++
	if err := w.admin.Update(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	w.pass(w.authority, "shop", "default") // what the change of the spec causes, half a second later: nothing is stored yet
	lose = true
	if _, err := w.try(w.clients, "shop", "caller"); err == nil {
		t.Fatal("the answer was not lost")
	}
	// Nobody hears the bell here, so whoever rings it waits until his time is over.
	w.after(time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := w.clients.Reconcile(ctx, requestFor("shop", "caller"))
	if rang := ctx.Err() != nil; !rang {
		w.get(c, "shop", "caller")
		t.Errorf("the bell was not rung (error %v), and the status says: %s", err, c.Status.Conditions[0].Message)
	}
}
