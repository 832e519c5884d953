package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/pki"
)

// versionKey is the data key under which a reader sees whether the trust changed.
const versionKey = "version"

// WriteTrust makes the ConfigMap in which an authority's trust is published hold the
// bundle. The authority owns it. It is read past the cache: the agent may read
// ConfigMaps by name only.
func (c *Cluster) WriteTrust(ctx context.Context, authority *v1alpha1.CertificateAuthority, trust pki.Bundle) (Outcome, error) {
	key := types.NamespacedName{Namespace: authority.Namespace, Name: intent.TrustConfigMapName(authority.Name)}
	owner := intent.Owner{Kind: "CertificateAuthority", Namespace: authority.Namespace, Name: authority.Name, UID: string(authority.UID)}
	data := map[string]string{caKey: string(trust.CertificatesPEM())}
	if crls := trust.CRLsPEM(); crls != nil {
		data[crlKey] = string(crls)
	}
	sum := sha256.Sum256([]byte(data[caKey] + data[crlKey]))
	data[versionKey] = hex.EncodeToString(sum[:8])
	stored := &corev1.ConfigMap{}
	err := c.live.Get(ctx, key, stored)
	switch {
	case apierrors.IsNotFound(err):
		controller := true
		wanted := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
			Namespace: key.Namespace, Name: key.Name,
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "CertificateAuthority", Name: authority.Name, UID: authority.UID, Controller: &controller,
			}},
		}, Data: data}
		Mark(wanted, owner)
		if err := c.client.Create(ctx, wanted, client.FieldOwner(FieldOwner)); err != nil {
			return "", fmt.Errorf("creating ConfigMap %s: %w", key, err)
		}
		return Created, nil
	case err != nil:
		return "", fmt.Errorf("reading ConfigMap %s: %w", key, err)
	}
	if found, ours := OwnerOf(stored); !ours || !found.Same(owner) {
		return Foreign, nil
	}
	if maps.Equal(stored.Data, data) && stored.Labels[intent.KeyManaged] == "true" && stored.Annotations[intent.KeyOwner] == owner.String() {
		return Unchanged, nil
	}
	stored.Data, stored.BinaryData = data, nil
	Mark(stored, owner)
	if err := c.client.Update(ctx, stored, client.FieldOwner(FieldOwner)); err != nil {
		return "", fmt.Errorf("updating ConfigMap %s: %w", key, err)
	}
	return Updated, nil
}
