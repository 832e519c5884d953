package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/pki"
)

// ErrNotOffered says that the owner of a Secret has not offered it to the authority that names it.
var ErrNotOffered = errors.New("it is not offered")

// ErrUnfitCA says that what a Secret holds is no CA that an authority can work with.
var ErrUnfitCA = errors.New("it cannot be used")

// ErrAbsentCA says that there is no Secret to read: nothing is known of whether its owner offers it.
var ErrAbsentCA = errors.New("it does not exist")

// BroughtCA reads the CA pair that the owner of an authority brings in a Secret. The error is ErrNotOffered
// or ErrUnfitCA where reading it again changes nothing before somebody changes the Secret; with the
// words of the API server where the agent may not read it.
func (c *Cluster) BroughtCA(ctx context.Context, authority *v1alpha1.CertificateAuthority, revocation bool, now time.Time) (pki.Authority, error) {
	key := types.NamespacedName{Namespace: authority.Namespace, Name: authority.Spec.Source.Secret.Name}
	secret, err := c.GlancedSecret(ctx, key)
	if err != nil {
		return pki.Authority{}, err
	}
	if secret == nil {
		return pki.Authority{}, fmt.Errorf("Secret %s: %w: %w", key, ErrUnfitCA, ErrAbsentCA)
	}
	if _, ours := OwnerOf(secret); ours {
		return pki.Authority{}, fmt.Errorf("Secret %s: %w: it is the agent's own", key, ErrNotOffered)
	}
	if to := secret.Annotations[intent.KeyUseAsCA]; to != authority.Name {
		return pki.Authority{}, fmt.Errorf("Secret %s: %w to this authority: its owner has to annotate it %s: %s, and found is %.100q", key, ErrNotOffered, intent.KeyUseAsCA, authority.Name, to)
	}
	brought, err := broughtFrom(secret, revocation, now)
	if err != nil {
		return pki.Authority{}, fmt.Errorf("Secret %s: %w: %w", key, ErrUnfitCA, err)
	}
	return brought, nil
}

// broughtFrom is the CA pair in a Secret, if an authority can work with it from now on.
func broughtFrom(secret *corev1.Secret, revocation bool, now time.Time) (pki.Authority, error) {
	for _, name := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey} {
		if len(secret.Data[name]) == 0 {
			return pki.Authority{}, fmt.Errorf("it has no %s", name)
		}
	}
	brought, err := pki.ParseAuthority(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return pki.Authority{}, err
	}
	if err := brought.Fit(revocation, now); err != nil {
		return pki.Authority{}, err
	}
	if above := secret.Data[caKey]; len(above) > 0 {
		roots, err := pki.ParseCertificates(above)
		if err != nil {
			return pki.Authority{}, fmt.Errorf("%s: %w", caKey, err)
		}
		if len(roots) != 1 || !roots[0].Equal(brought.Certificate()) {
			return pki.Authority{}, fmt.Errorf("%s holds other CAs than %s: a root has none above it", caKey, corev1.TLSCertKey)
		}
	}
	return brought, nil
}
