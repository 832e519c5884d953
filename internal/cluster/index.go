package cluster

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/pkg/intent"
)

// ownerField is the cache's index of Secrets by the object they were made for.
const ownerField = "sallyport.owner"

// IndexSecrets makes the cache find Secrets by their owner. To be called once,
// before the cache starts.
func IndexSecrets(ctx context.Context, indexer client.FieldIndexer) error {
	err := indexer.IndexField(ctx, &corev1.Secret{}, ownerField, func(object client.Object) []string {
		owner, ours := OwnerOf(object)
		if !ours {
			return nil
		}
		return []string{indexValue(owner)}
	})
	if err != nil {
		return fmt.Errorf("indexing Secrets by owner: %w", err)
	}
	return nil
}

// indexValue leaves the UID out: a successor of the same name finds what was left.
func indexValue(o intent.Owner) string { return o.Kind + "/" + o.Namespace + "/" + o.Name }

func ownedBy(o intent.Owner) client.ListOption {
	return client.MatchingFields{ownerField: indexValue(o)}
}

func inNamespace(name string) client.ListOption { return client.InNamespace(name) }
