package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/pkg/intent"
)

// FieldOwner is the name under which the agent writes.
const FieldOwner = "sallyport-agent"

// Cluster reads from a cache of what is ours, and where that may be too narrow from
// the API server.
type Cluster struct {
	client    client.Client
	live      client.Reader
	namespace string
	serials   serialQueues
	contests  contests
	ledgers   sync.Map // of decodedLedger, by the name of their Secret
	shards    sync.Map // of decodedShard, by the name of their Secret
	brought   sync.Map // of confirmed, by the Secret
	trusted   sync.Map // of readTrusted, by the authority
	records   sync.Map // of names of ledgers, by the authority
}

// New returns a Cluster. The client's cache holds Secrets with our label only; live
// reads past it. Namespace is the agent's own, where the ledgers are.
func New(c client.Client, live client.Reader, namespace string) *Cluster {
	return &Cluster{client: c, live: live, namespace: namespace}
}

// Namespace is the agent's own.
func (c *Cluster) Namespace() string { return c.namespace }

// Client is the cached client, for our own kinds.
func (c *Cluster) Client() client.Client { return c.client }

// NamespaceUID is the UID of a Namespace. A Namespace that was deleted and made
// again is another one, and so is what was in it.
func (c *Cluster) NamespaceUID(ctx context.Context, name string) (types.UID, error) {
	namespace, err := c.NamespaceMetadata(ctx, name)
	if err != nil {
		return "", err
	}
	return namespace.UID, nil
}

// NewNamespaceObject is an empty Namespace, in the form in which they are watched.
func NewNamespaceObject() *metav1.PartialObjectMetadata {
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return namespace
}

// NamespaceMetadata is the labels and the UID of a Namespace.
func (c *Cluster) NamespaceMetadata(ctx context.Context, name string) (*metav1.PartialObjectMetadata, error) {
	namespace := NewNamespaceObject()
	if err := c.client.Get(ctx, client.ObjectKey{Name: name}, namespace); err != nil {
		return nil, fmt.Errorf("reading namespace %s: %w", name, err)
	}
	return namespace, nil
}

// Mark puts our label and the owner on an object.
func Mark(object client.Object, owner intent.Owner) {
	labels := object.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[intent.KeyManaged] = "true"
	object.SetLabels(labels)
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[intent.KeyOwner] = owner.String()
	object.SetAnnotations(annotations)
}

// OwnerOf is what an object was made for; false if it is not ours. The annotation
// alone decides: who strips the label of a Secret of ours has not made it his own,
// and the label is put back.
func OwnerOf(object client.Object) (intent.Owner, bool) {
	owner, err := intent.ParseOwner(object.GetAnnotations()[intent.KeyOwner])
	return owner, err == nil
}

// LedgerName is the Secret that holds the ledger of an authority. It is keyed by
// the UID of the namespace, so that whoever gets the namespace's name later does
// not get its CA.
func LedgerName(namespaceUID types.UID, authority string) string {
	sum := sha256.Sum256([]byte(string(namespaceUID) + "/" + authority))
	return "ledger-" + hex.EncodeToString(sum[:])[:20]
}
