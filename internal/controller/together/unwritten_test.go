package together

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/pki"
)

// A ClientCertificate whose secretName is somebody else's Secret is looked at every 15 seconds. Nobody is handed a certificate,
// so none may be recorded: idle is no writes, and what is recorded is what its revocation puts into a CRL.
func TestAForeignSecretCostsNoSerials(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.put(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "mallory", Name: "caller-mtls"}})
	w.newClient("mallory", "caller", nil)
	for range 40 {
		result := w.pass(w.clients, "mallory", "caller")
		if result.RequeueAfter != 15*time.Second {
			t.Fatalf("it is looked at again after %s", result.RequeueAfter)
		}
		w.after(result.RequeueAfter)
	}
	if n := len(w.serials()); n > 0 {
		t.Errorf("in ten minutes %d certificates were recorded that nobody holds", n)
	}
}

// Whatever keeps a Secret from being written, and for how long: the certificate that was made for it is the one that is written in
// the end.
func TestASecretThatCannotBeWrittenCostsOneSerial(t *testing.T) {
	for name, refusal := range map[string]error{
		"no right":    apierrors.NewForbidden(corev1.Resource("secrets"), "caller-mtls", errors.New("no RoleBinding")),
		"no room":     errors.New("exceeded quota"),
		"lost a race": apierrors.NewConflict(corev1.Resource("secrets"), "caller-mtls", errors.New("changed")),
	} {
		t.Run(name, func(t *testing.T) {
			refused := true
			w := newWorld(t, interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
				if o.GetName() == "caller-mtls" && refused {
					return refusal
				}
				return c.Create(ctx, o, opts...)
			}})
			w.newAuthority("shop", "default", nil)
			w.pass(w.authority, "shop", "default")
			w.newClient("mallory", "caller", nil)
			for range 10 {
				_, _ = w.try(w.clients, "mallory", "caller")
				w.after(15 * time.Second)
			}
			refused = false
			w.pass(w.clients, "mallory", "caller")
			if n := len(w.serials()); n != 1 {
				t.Errorf("%d certificates were recorded, expected the one that was written", n)
			}
			c := &v1alpha1.ClientCertificate{}
			w.get(c, "mallory", "caller")
			s := w.secret("mallory", "caller-mtls")
			pair, err := pki.ParsePair(s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey])
			if err != nil || pair.Leaf().Serial().String() != c.Status.Serial {
				t.Errorf("the Secret holds another certificate than the status tells of, %s (error %v)", c.Status.Serial, err)
			}
			// Whoever wants another key deletes the Secret.
			if err := w.admin.Delete(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			w.pass(w.clients, "mallory", "caller")
			if again := w.secret("mallory", "caller-mtls"); string(again.Data[corev1.TLSPrivateKeyKey]) == string(s.Data[corev1.TLSPrivateKeyKey]) {
				t.Error("the key that was deleted is back")
			}
		})
	}
}

// A status that could not be written costs no second certificate either: with a request it is where the certificate goes.
func TestAStatusThatCannotBeWrittenCostsOneSerial(t *testing.T) {
	refused := true
	w := newWorld(t, interceptor.Funcs{SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
		if _, is := o.(*v1alpha1.ClientCertificate); is && refused {
			return errors.New("the API server is busy")
		}
		return c.SubResource(sub).Update(ctx, o, opts...)
	}})
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	// The reconciler's own index, of a world in which no two have one key.
	if err := w.view.IndexField(t.Context(), &v1alpha1.ClientCertificate{}, "sallyport.csr-key", func(client.Object) []string { return nil }); err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	w.newClient("bank", "caller", func(c *v1alpha1.ClientCertificate) {
		c.Spec.SecretName, c.Spec.CSR = "", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	})
	for range 10 {
		_, _ = w.try(w.clients, "bank", "caller")
	}
	refused = false
	w.pass(w.clients, "bank", "caller")
	w.pass(w.clients, "bank", "caller")
	c := &v1alpha1.ClientCertificate{}
	w.get(c, "bank", "caller")
	if n := len(w.serials()); n != 1 || c.Status.Certificate == "" {
		t.Errorf("%d certificates were recorded, expected the one that is told (%d bytes)", n, len(c.Status.Certificate))
	}
}
