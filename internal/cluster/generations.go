package cluster

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/rotate"
)

// CachedLedger is the ledger of an authority as the cache shows it, the zero Ledger if it
// shows none. It asks nobody, so it is good for telling, and for no decision: the cache
// may be behind. One that is there and cannot be read is an error.
func (c *Cluster) CachedLedger(ctx context.Context, authority *v1alpha1.CertificateAuthority) (rotate.Ledger, error) {
	record, err := c.Record(ctx, authority)
	if err != nil {
		return rotate.Ledger{}, err
	}
	key := types.NamespacedName{Namespace: c.namespace, Name: record.Name}
	secret, err := secretFrom(ctx, c.client, key, client.UnsafeDisableDeepCopy) // nothing of it is changed or kept
	if err != nil || secret == nil {
		return rotate.Ledger{}, err
	}
	if owner, ours := OwnerOf(secret); !ours || !owner.Same(record.Owner) {
		return rotate.Ledger{}, fmt.Errorf("reading Secret %s: %w", key, ErrLedgerForeign)
	}
	ledger, err := c.decode(secret)
	if err != nil {
		return rotate.Ledger{}, fmt.Errorf("reading Secret %s: %w: %w", key, ErrLedgerUnreadable, err)
	}
	return ledger, nil
}
