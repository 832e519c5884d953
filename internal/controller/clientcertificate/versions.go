package clientcertificate

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/pki"
)

// versions remember in which version each caller's Secret was last read or written, so
// that a certificate that is due is replaced without reading it again. Whether somebody
// changed it since, the API server tells: the write fails with a conflict. It is memory,
// not state: an agent that begins reads each Secret once.
type versions struct {
	mu   sync.Mutex
	seen map[types.NamespacedName]version
}

// version is one version of a Secret, and the certificate that was in it.
type version struct {
	secret          string
	uid             types.UID
	resourceVersion string
	serial          pki.Serial
}

// note takes the Secret of a ClientCertificate as it was read or written. What holds
// anything that a write has to keep is forgotten: it has to be read.
func (v *versions) note(c *v1alpha1.ClientCertificate, secret *corev1.Secret, held pki.Serial) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if secret == nil || len(secret.Finalizers) > 0 || len(secret.OwnerReferences) > 0 || secret.Immutable != nil {
		delete(v.seen, client.ObjectKeyFromObject(c))
		return
	}
	if v.seen == nil {
		v.seen = map[types.NamespacedName]version{}
	}
	v.seen[client.ObjectKeyFromObject(c)] = version{secret: c.Spec.SecretName, uid: secret.UID, resourceVersion: secret.ResourceVersion, serial: held}
}

// last is the Secret as it was last seen, without its data; nil if that is not known, or
// if it held another certificate than the one that the status tells of.
func (v *versions) last(c *v1alpha1.ClientCertificate, owner intent.Owner) *corev1.Secret {
	v.mu.Lock()
	defer v.mu.Unlock()
	seen, ok := v.seen[client.ObjectKeyFromObject(c)]
	if !ok || seen.secret != c.Spec.SecretName || seen.serial.String() != c.Status.Serial {
		return nil
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: seen.secret, UID: seen.uid, ResourceVersion: seen.resourceVersion},
		Type:       corev1.SecretTypeTLS,
	}
	cluster.Mark(secret, owner)
	return secret
}

func (v *versions) forget(key types.NamespacedName) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.seen, key)
}
