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
	"sallyport.dev/sallyport/pkg/rotate"
)

// ErrNotOffered says that the owner of a Secret has not offered it to the authority that names it.
var ErrNotOffered = errors.New("it is not offered")

// ErrUnfitCA says that what a Secret holds is no CA that an authority can work with.
var ErrUnfitCA = errors.New("it cannot be used")

// ErrAbsentCA says that there is no Secret to read: nothing is known of whether its owner offers it.
var ErrAbsentCA = errors.New("it does not exist")

// BroughtCA reads the CA pair that the owner of an authority brings in a Secret, with what is above it. The error is ErrNotOffered
// or ErrUnfitCA where reading it again changes nothing before somebody changes the Secret; with the
// words of the API server where the agent may not read it.
func (c *Cluster) BroughtCA(ctx context.Context, authority *v1alpha1.CertificateAuthority, revocation bool, now time.Time) (rotate.Brought, error) {
	key := types.NamespacedName{Namespace: authority.Namespace, Name: authority.Spec.Source.Secret.Name}
	secret, err := c.confirmedSecret(ctx, key)
	if err != nil {
		return rotate.Brought{}, err
	}
	if secret == nil {
		return rotate.Brought{}, fmt.Errorf("Secret %s: %w: %w", key, ErrUnfitCA, ErrAbsentCA)
	}
	if _, ours := OwnerOf(secret); ours {
		return rotate.Brought{}, fmt.Errorf("Secret %s: %w: it is the agent's own", key, ErrNotOffered)
	}
	if to := secret.Annotations[intent.KeyUseAsCA]; to != authority.Name {
		return rotate.Brought{}, fmt.Errorf("Secret %s: %w to this authority: its owner has to annotate it %s: %s, and found is %.100q", key, ErrNotOffered, intent.KeyUseAsCA, authority.Name, to)
	}
	brought, err := broughtFrom(secret, revocation, now)
	if err != nil {
		return rotate.Brought{}, fmt.Errorf("Secret %s: %w: %w", key, ErrUnfitCA, err)
	}
	return brought, nil
}

// confirmed is the version of a Secret that the API server confirmed last.
type confirmed struct {
	uid     types.UID
	version string
}

// confirmedSecret is a Secret that somebody else writes, whoever's it is; nil if there is none. A glance may show what
// was before what was seen last, because another API server answers: it has to do only where nothing has changed, and
// whatever else it shows is read anew before anything follows from it.
func (c *Cluster) confirmedSecret(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error) {
	glanced, err := c.GlancedSecret(ctx, key)
	if err != nil {
		return nil, err
	}
	if glanced != nil {
		if last, known := c.brought.Load(key); known && last == (confirmed{glanced.UID, glanced.ResourceVersion}) {
			return glanced, nil
		}
	}
	stored, err := c.LiveSecret(ctx, key)
	if err != nil {
		return nil, err
	}
	if stored == nil {
		c.brought.Delete(key)
		return nil, nil //nolint:nilnil // absent is a fact, not an error
	}
	c.brought.Store(key, confirmed{stored.UID, stored.ResourceVersion})
	return stored, nil
}

// broughtFrom is the CA pair in a Secret, if an authority can work with it from now on.
func broughtFrom(secret *corev1.Secret, revocation bool, now time.Time) (rotate.Brought, error) {
	for _, name := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey} {
		if len(secret.Data[name]) == 0 {
			return rotate.Brought{}, fmt.Errorf("it has no %s", name)
		}
	}
	brought, err := rotate.ParseBrought(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey], secret.Data[caKey], secret.Data[crlKey])
	if err != nil {
		return rotate.Brought{}, err
	}
	if err := brought.Fit(revocation, now); err != nil {
		return rotate.Brought{}, err
	}
	return brought, nil
}
