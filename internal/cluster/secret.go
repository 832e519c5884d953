package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/pkg/intent"
)

// Outcome is what a write did.
type Outcome string

// The outcomes.
const (
	// Unchanged says that the stored object was as wanted.
	Unchanged Outcome = "Unchanged"
	// Created says that there was none.
	Created Outcome = "Created"
	// Updated says that the stored object differed.
	Updated Outcome = "Updated"
	// Foreign says that the stored object is not ours, and was left alone.
	Foreign Outcome = "Foreign"
	// Held says that somebody else keeps changing the stored object, and that it was
	// left as it is until it is its turn again.
	Held Outcome = "Held"
	// Undone says that the object was written, and that another webhook had something else stored.
	Undone Outcome = "Undone"
)

// WantedSecret is a Secret as it ought to be stored, in full: what else is in it
// goes. Istio prefers other keys to ours, so a stray one may win.
type WantedSecret struct {
	// Key is where.
	Key types.NamespacedName
	// Type of the Secret.
	Type corev1.SecretType
	// Owner is what it is made for.
	Owner intent.Owner
	// Labels and Annotations beyond the marker.
	Labels, Annotations map[string]string
	// Data in full.
	Data map[string][]byte
	// OnlyCopy is whether nothing else holds what it holds: it is updated, and never deleted to be made anew.
	OnlyCopy bool
	// Adopts is whether it takes the place of one that its owner hands over to Owner.
	Adopts bool
}

func (w WantedSecret) object() *corev1.Secret {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Key.Namespace, Name: w.Key.Name, Labels: maps.Clone(w.Labels), Annotations: maps.Clone(w.Annotations)},
		Type:       w.Type,
		Data:       w.Data,
	}
	Mark(secret, w.Owner)
	return secret
}

// Secret is the stored Secret of ours; nil if there is none. It comes from the
// cache, which shows no others.
func (c *Cluster) Secret(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error) {
	return secretFrom(ctx, c.client, key)
}

// LiveSecret is the stored Secret, whoever's it is; nil if there is none. For
// namespaces that no cache covers.
func (c *Cluster) LiveSecret(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error) {
	return secretFrom(ctx, c.live, key)
}

// GlancedSecret is the stored Secret, whoever's it is, as the API server has it in its own
// cache, which costs it a fraction of a LiveSecret; nil if there is none. It may be a moment
// old: good enough to see that nothing has to be done, and for nothing else.
func (c *Cluster) GlancedSecret(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error) {
	return secretFrom(ctx, c.live, key, &client.GetOptions{Raw: &metav1.GetOptions{ResourceVersion: "0"}})
}

func secretFrom(ctx context.Context, from client.Reader, key types.NamespacedName, options ...client.GetOption) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	if err := from.Get(ctx, key, secret, options...); apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absent is a fact, not an error
	} else if err != nil {
		return nil, fmt.Errorf("reading Secret %s: %w", key, err)
	}
	return secret, nil
}

// WriteSecret makes the stored Secret as wanted. Stored is what the wish was
// decided on, nil for none: if it has changed since, the write fails with a
// conflict, and the decision has to be made again. A Secret that is not ours for
// this owner is left alone and returned with Foreign.
func (c *Cluster) WriteSecret(ctx context.Context, wanted WantedSecret, stored *corev1.Secret) (Outcome, *corev1.Secret, error) {
	if stored == nil {
		object := wanted.object()
		err := c.client.Create(ctx, object, client.FieldOwner(FieldOwner))
		if err == nil {
			return Created, object, nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return "", nil, fmt.Errorf("creating Secret %s: %w", wanted.Key, err)
		}
		if stored, err = c.unseen(ctx, wanted); err != nil {
			return "", nil, err
		}
	}
	if owner, ours := OwnerOf(stored); (!ours || !owner.Same(wanted.Owner)) && !wanted.adopts(stored) {
		return Foreign, stored, nil
	}
	if wanted.equals(stored) {
		return Unchanged, stored, nil
	}
	return c.replace(ctx, wanted, stored)
}

// unseen is a Secret that is there although the wish was decided on none. It is not
// ours, or it lost its label. If it is ours and has its label, the cache is behind, or
// another agent was faster: a new decision has to be made on it.
func (c *Cluster) unseen(ctx context.Context, wanted WantedSecret) (*corev1.Secret, error) {
	conflict := func(why string) error {
		return apierrors.NewConflict(corev1.Resource("secrets"), wanted.Key.Name, errors.New(why))
	}
	stored, err := c.LiveSecret(ctx, wanted.Key)
	if err != nil {
		return nil, err
	}
	if stored == nil {
		return nil, conflict("it was deleted while it was written")
	}
	owner, ours := OwnerOf(stored)
	if ours && owner.Same(wanted.Owner) && stored.Labels[intent.KeyManaged] == "true" && !wanted.equals(stored) {
		return nil, conflict("it was made meanwhile")
	}
	return stored, nil
}

// ErrNotUpdatable says that a Secret cannot be updated, and that it holds the only copy of what is in it.
var ErrNotUpdatable = errors.New("it cannot be updated, and it is the only copy")

// updatable reports whether Kubernetes lets a Secret be updated to one of a type.
func updatable(stored *corev1.Secret, to corev1.SecretType) bool {
	return stored.Type == to && (stored.Immutable == nil || !*stored.Immutable)
}

// replace updates the stored Secret, or where Kubernetes does not let it be updated
// (the type, or an immutable one) deletes it and makes it anew. istiod keeps what
// it has pushed in between.
func (c *Cluster) replace(ctx context.Context, wanted WantedSecret, stored *corev1.Secret) (Outcome, *corev1.Secret, error) {
	object := wanted.object()
	if !updatable(stored, wanted.Type) {
		if wanted.OnlyCopy { // the agent may die in between, or the second write be refused
			return "", nil, fmt.Errorf("writing Secret %s: %w", wanted.Key, ErrNotUpdatable)
		}
		precondition := client.Preconditions{UID: &stored.UID, ResourceVersion: &stored.ResourceVersion}
		if err := c.client.Delete(ctx, stored, precondition); err != nil {
			return "", nil, fmt.Errorf("deleting Secret %s, whose type or immutability is not ours: %w", wanted.Key, err)
		}
		if err := c.client.Create(ctx, object, client.FieldOwner(FieldOwner)); err != nil {
			return "", nil, fmt.Errorf("creating Secret %s again: %w", wanted.Key, err)
		}
		return Updated, object, nil
	}
	object.ResourceVersion, object.UID = stored.ResourceVersion, stored.UID
	// Finalizers and owner references of others are not ours to drop.
	object.Finalizers, object.OwnerReferences = stored.Finalizers, stored.OwnerReferences
	if err := c.client.Update(ctx, object, client.FieldOwner(FieldOwner)); err != nil {
		return "", nil, fmt.Errorf("updating Secret %s: %w", wanted.Key, err)
	}
	return Updated, object, nil
}

// UnreferencedSince is the annotation on a Secret of ours that no Gateway names any
// more: the time at which that was first seen, in RFC 3339. It is state, so it is in the
// cluster. Whoever wants the Secret again takes it off.
const UnreferencedSince = intent.Prefix + "unreferenced-since"

// equals reports whether the stored Secret needs no write. Labels and annotations
// that others added do no harm and stay until the next one.
func (w WantedSecret) equals(stored *corev1.Secret) bool {
	if stored.Type != w.Type || stored.Labels[intent.KeyManaged] != "true" || stored.Annotations[intent.KeyOwner] != w.Owner.String() {
		return false
	}
	if _, given := stored.Annotations[UnreferencedSince]; given {
		return false
	}
	for key, value := range w.Labels {
		if stored.Labels[key] != value {
			return false
		}
	}
	for key, value := range w.Annotations {
		if stored.Annotations[key] != value {
			return false
		}
	}
	return maps.EqualFunc(stored.Data, w.Data, bytes.Equal)
}

// adopts reports whether the stored Secret, which is somebody else's, is handed over to the owner.
func (w WantedSecret) adopts(stored *corev1.Secret) bool {
	_, marked := OwnerOf(stored)
	to, err := intent.ParseAdopt(stored.Annotations[intent.KeyAdopt])
	return w.Adopts && !marked && err == nil && to.Namespace == w.Owner.Namespace && to.Name == w.Owner.Name
}

// DeleteSecret deletes a Secret of ours as it was read. One that changed meanwhile
// stays.
func (c *Cluster) DeleteSecret(ctx context.Context, stored *corev1.Secret) error {
	precondition := client.Preconditions{UID: &stored.UID, ResourceVersion: &stored.ResourceVersion}
	if err := c.client.Delete(ctx, stored, precondition); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting Secret %s: %w", client.ObjectKeyFromObject(stored), err)
	}
	c.contests.forget(client.ObjectKeyFromObject(stored))
	return nil
}

// Annotate sets an annotation of a Secret of ours as it was read; an empty value
// removes it.
func (c *Cluster) Annotate(ctx context.Context, stored *corev1.Secret, key, value string) error {
	changed := stored.DeepCopy()
	if value == "" {
		delete(changed.Annotations, key)
	} else {
		changed.Annotations[key] = value
	}
	if err := c.client.Update(ctx, changed, client.FieldOwner(FieldOwner)); err != nil {
		return fmt.Errorf("annotating Secret %s: %w", client.ObjectKeyFromObject(stored), err)
	}
	c.contests.know(changed)
	return nil
}
