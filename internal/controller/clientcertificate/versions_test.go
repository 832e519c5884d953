package clientcertificate

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/pki"
)

// A Secret is replaced without a look at it only in the version in which it was seen last,
// and only if nothing of others is in it.
func TestASecretIsReplacedUnreadOnlyAsItWasSeen(t *testing.T) {
	told := func(serial, secret string) *v1alpha1.ClientCertificate {
		return caller("a", noon, func(c *v1alpha1.ClientCertificate) { c.Status.Serial, c.Spec.SecretName = serial, secret })
	}
	tests := map[string]struct {
		seen  func(*corev1.Secret)
		asked *v1alpha1.ClientCertificate
		want  bool
	}{
		"as it was seen":                    {asked: told("7f01", "billing"), want: true},
		"the status tells of another":       {asked: told("7f02", "billing")},
		"the status tells of none":          {asked: told("", "billing")},
		"another Secret is asked for":       {asked: told("7f01", "other")},
		"somebody's finalizer is on it":     {seen: func(s *corev1.Secret) { s.Finalizers = []string{"example.com/a"} }, asked: told("7f01", "billing")},
		"somebody owns it":                  {seen: func(s *corev1.Secret) { s.OwnerReferences = []metav1.OwnerReference{{Name: "a"}} }, asked: told("7f01", "billing")},
		"it is immutable":                   {seen: func(s *corev1.Secret) { s.Immutable = ptr.To(true) }, asked: told("7f01", "billing")},
		"immutability was stated otherwise": {seen: func(s *corev1.Secret) { s.Immutable = ptr.To(false) }, asked: told("7f01", "billing")},
	}
	owner := intent.Owner{Kind: "ClientCertificate", Namespace: "shop", Name: "billing", UID: "a"}
	serial, err := pki.ParseSerial("7f01")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var v versions
			if v.last(test.asked, owner) != nil {
				t.Error("a Secret that nobody saw")
			}
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{UID: "u", ResourceVersion: "17"}}
			if test.seen != nil {
				test.seen(secret)
			}
			v.note(told("7f01", "billing"), secret, serial)
			last := v.last(test.asked, owner)
			if (last != nil) != test.want {
				t.Fatalf("found %v, expected one: %t", last, test.want)
			}
			if last != nil {
				of, ours := cluster.OwnerOf(last)
				if last.UID != "u" || last.ResourceVersion != "17" || last.Name != "billing" || !ours || !of.Same(owner) {
					t.Errorf("found %+v, expected the version that was seen", last.ObjectMeta)
				}
			}
			v.forget(client.ObjectKeyFromObject(test.asked))
			if len(v.seen) != 0 {
				t.Errorf("%d are remembered after the last is gone", len(v.seen))
			}
		})
	}
}
