package cluster

import (
	"context"

	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// RecordLeft is the record that an authority left behind that is gone; false if it left none. It is for whom it was: whoever makes the
// authority again goes on with it.
func (c *Cluster) RecordLeft(ctx context.Context, authority types.NamespacedName) (AuthorityRecord, bool, error) {
	gone := &v1alpha1.CertificateAuthority{}
	gone.Namespace, gone.Name = authority.Namespace, authority.Name
	record, err := c.Record(ctx, gone)
	if err != nil {
		return AuthorityRecord{}, false, err
	}
	for _, key := range []types.NamespacedName{{Namespace: c.namespace, Name: record.Name}, shardKey(c.namespace, record, 0)} {
		secret, err := c.LiveSecret(ctx, key)
		if err != nil {
			return AuthorityRecord{}, false, err
		}
		if secret == nil {
			continue
		}
		if owner, ours := OwnerOf(secret); ours && owner.Same(record.Owner) {
			record.Owner = owner
			return record, true, nil
		}
	}
	return AuthorityRecord{}, false, nil
}
