package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/pkg/mutate"
)

// Patch applies operations to a stored object as it was read: one that has changed
// since is left alone, with a conflict.
func (c *Cluster) Patch(ctx context.Context, object *unstructured.Unstructured, operations []mutate.Operation) error {
	guarded := append([]mutate.Operation{{Op: "add", Path: "/metadata/resourceVersion", Value: object.GetResourceVersion()}}, operations...)
	encoded, err := json.Marshal(guarded)
	if err != nil {
		return fmt.Errorf("encoding patch: %w", err)
	}
	target := object.DeepCopy()
	if err := c.client.Patch(ctx, target, client.RawPatch(types.JSONPatchType, encoded), client.FieldOwner(FieldOwner)); err != nil {
		return fmt.Errorf("patching %s %s: %w", object.GetKind(), client.ObjectKeyFromObject(object), err)
	}
	return nil
}
