package clientcertificate

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/internal/keystore"
	"sallyport.dev/sallyport/pkg/pki"
)

// keystoreKey is where the key store is in a caller's Secret.
const keystoreKey = "keystore.p12"

// addKeystore adds the key store that is asked for to a caller's data: the one that is stored, where
// it holds the pair. Where there is no password, the one that is stored stays as it is, whatever it
// holds, and the Problem says so: the files beside it are renewed all the same.
func (r *Reconciler) addKeystore(ctx context.Context, c *v1alpha1.ClientCertificate, pair pki.Pair, stored *corev1.Secret, data map[string][]byte) (*issuer.Problem, error) {
	if c.Spec.Keystore == nil {
		return nil, nil //nolint:nilnil // nothing is asked for
	}
	var before []byte
	if stored != nil {
		before = stored.Data[keystoreKey]
	}
	password, problem, err := r.password(ctx, c)
	if err != nil {
		return nil, err
	}
	if problem != nil {
		if before != nil {
			data[keystoreKey] = before
		}
		return problem, nil
	}
	if before != nil && keystore.Holds(before, pair, password) {
		data[keystoreKey] = before
		return nil, nil //nolint:nilnil // it is as asked
	}
	data[keystoreKey], err = keystore.Encode(pair, password)
	return nil, err
}

// password reads the password of a key store, or says what is wrong with it.
func (r *Reconciler) password(ctx context.Context, c *v1alpha1.ClientCertificate) (keystore.Password, *issuer.Problem, error) {
	ref := c.Spec.Keystore.PasswordSecretRef
	key := types.NamespacedName{Namespace: c.Namespace, Name: ref.Name}
	wrong := func(format string, a ...any) *issuer.Problem {
		return &issuer.Problem{Reason: v1alpha1.ReasonKeystorePassword, Lasting: true, Message: fmt.Sprintf(
			"spec.keystore.passwordSecretRef: %s; tls.crt, tls.key and ca.crt are current, keystore.p12 is not", fmt.Sprintf(format, a...))}
	}
	if ref.Name == c.Spec.SecretName {
		return keystore.Password{}, wrong("it has to be another Secret than %s, which is the agent's", key), nil
	}
	secret, err := r.Cluster.LiveSecret(ctx, key)
	if err != nil {
		return keystore.Password{}, nil, err
	}
	if secret == nil {
		return keystore.Password{}, wrong("Secret %s does not exist", key), nil
	}
	raw, there := secret.Data[ref.Key]
	if !there {
		return keystore.Password{}, wrong("Secret %s has no key %q", key, ref.Key), nil
	}
	password, err := keystore.ParsePassword(raw)
	if err != nil {
		return keystore.Password{}, wrong("key %q of Secret %s: %s", ref.Key, key, err), nil
	}
	return password, nil, nil
}
