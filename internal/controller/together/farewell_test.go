package together

import (
	"context"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// deletionPolicy Revoke holds also where the authority was deleted first, as kubectl delete -f does. Its record is kept, and whoever
// makes it again goes on with it.
func TestADeletionRevokesAlsoWhenTheAuthorityWentFirst(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	a := w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.newClient("shop", "caller", func(c *v1alpha1.ClientCertificate) { c.Spec.DeletionPolicy = v1alpha1.DeletionRevoke })
	w.pass(w.clients, "shop", "caller") // the finalizer
	w.pass(w.clients, "shop", "caller")
	c := &v1alpha1.ClientCertificate{}
	w.get(c, "shop", "caller")
	if err := w.admin.Delete(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if err := w.admin.Delete(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	_, _ = w.try(w.clients, "shop", "caller")
	w.after(time.Minute)
	b := w.newAuthority("shop", "default", func(a *v1alpha1.CertificateAuthority) { a.UID = "ca-again" })
	w.pass(w.authority, "shop", "default")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, _ = w.clients.Reconcile(ctx, requestFor("shop", "caller"))
	record, err := w.cluster.Record(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := w.cluster.Issued(t.Context(), record)
	if err != nil {
		t.Fatal(err)
	}
	gone := w.admin.Get(t.Context(), client.ObjectKeyFromObject(c), c) != nil
	if gone && len(issued.Revoked) == 0 {
		t.Error("the ClientCertificate is gone, and its certificate is good: the authority has the same key as before")
	}
}
