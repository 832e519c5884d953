package together

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/testpki"
)

// A CA that is brought is read from an API server's cache, which may be behind (another API server answers than the last time). What it
// shows is not to be taken for its owner's will: he has not put the CA before back.
func TestAnAPIServerThatIsBehindTakesNoCABack(t *testing.T) {
	var stale *corev1.Secret
	w := newWorld(t, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		asked := (&client.GetOptions{}).ApplyOptions(opts)
		if into, is := o.(*corev1.Secret); is && stale != nil && key.Name == "ca" && asked.Raw != nil && asked.Raw.ResourceVersion == "0" {
			stale.DeepCopyInto(into)
			return nil
		}
		return c.Get(ctx, key, o, opts...)
	}})
	span := testpki.Span{From: began.Add(-time.Hour), To: began.Add(10 * 365 * 24 * time.Hour)}
	offer := func(ca testpki.Issued) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "ca", Annotations: map[string]string{"mtls.sallyport.dev/use-as-ca": "default"}},
			Type: corev1.SecretTypeTLS, Data: map[string][]byte{"tls.crt": ca.PEM(), "tls.key": ca.KeyPEM(t)}}
	}
	w.put(offer(testpki.Root(t, "first", span)))
	w.newAuthority("shop", "default", func(a *v1alpha1.CertificateAuthority) {
		a.Spec.Source = v1alpha1.AuthoritySource{Type: v1alpha1.SourceSecret, Secret: &v1alpha1.LocalObjectReference{Name: "ca"}}
		a.Spec.Revocation.Mode = v1alpha1.RevocationCRL
	})
	w.pass(w.authority, "shop", "default")
	before := w.secret("shop", "ca")
	next := w.secret("shop", "ca")
	next.Data = offer(testpki.Root(t, "second", span)).Data
	if err := w.admin.Update(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w.pass(w.authority, "shop", "default")
	}
	state := func() v1alpha1.GenerationState {
		a := &v1alpha1.CertificateAuthority{}
		w.get(a, "shop", "default")
		for _, g := range a.Status.Generations {
			if g.ID == "g2" {
				return g.State
			}
		}
		return ""
	}
	if state() != v1alpha1.GenerationTrusted {
		t.Fatalf("the second is %q", state())
	}
	stale = before
	w.pass(w.authority, "shop", "default")
	stale = nil
	w.pass(w.authority, "shop", "default")
	if state() != v1alpha1.GenerationTrusted {
		a := &v1alpha1.CertificateAuthority{}
		w.get(a, "shop", "default")
		for _, c := range a.Status.Conditions {
			if c.Type == v1alpha1.ConditionSourceCurrent {
				t.Errorf("by one look at an API server that is behind, the CA that its owner brought is %q, and refused from then on: %s", state(), c.Message)
			}
		}
	}
}
