package together

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// A DNS name is held by who was issued a certificate for it, for as long as that is good. That its key store lacks a password for a
// minute does not give it to another namespace.
func TestADNSNameStaysWithWhoHasACertificateForIt(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.newAuthority("shop", "default", func(a *v1alpha1.CertificateAuthority) {
		a.Spec.ClientCertificates.AllowedNames = []v1alpha1.AllowedName{{Namespace: "shop", Name: "a.example.com"}, {Namespace: "bank", Name: "a.example.com"}}
	})
	w.pass(w.authority, "shop", "default")
	password := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "password"}, Data: map[string][]byte{"password": []byte("correct horse battery")}}
	w.put(password)
	w.newClient("shop", "holder", func(c *v1alpha1.ClientCertificate) {
		c.Spec.DNSNames = []string{"a.example.com"}
		c.Spec.Keystore = &v1alpha1.KeystoreSettings{PasswordSecretRef: v1alpha1.KeyReference{Name: "password", Key: "password"}}
	})
	w.pass(w.clients, "shop", "holder")
	w.newClient("bank", "older", func(c *v1alpha1.ClientCertificate) {
		c.Spec.DNSNames = []string{"a.example.com"}
		c.CreationTimestamp = metav1.NewTime(began.Add(-time.Hour))
	})
	ready := func(namespace, name string) string {
		c := &v1alpha1.ClientCertificate{}
		w.get(c, namespace, name)
		return meta.FindStatusCondition(c.Status.Conditions, "Ready").Reason
	}
	w.pass(w.clients, "bank", "older")
	if ready("shop", "holder") != "Issued" || ready("bank", "older") != "NameInUse" {
		t.Fatalf("they are told %s and %s", ready("shop", "holder"), ready("bank", "older"))
	}
	if err := w.admin.Delete(t.Context(), password); err != nil {
		t.Fatal(err)
	}
	w.after(time.Minute)
	w.pass(w.clients, "shop", "holder")
	w.pass(w.clients, "bank", "older")
	if ready("bank", "older") == "Issued" {
		t.Errorf("two namespaces hold good certificates for a.example.com: the holder (%s) and the other", ready("shop", "holder"))
	}
}
