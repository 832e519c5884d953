package clientcertificate

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/controller/authority"
	"sallyport.dev/sallyport/internal/controller/pass"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/rotate"
)

// revokeFinalizer keeps a ClientCertificate whose deletion revokes until that is done.
const revokeFinalizer = intent.Prefix + "revoke"

// reasonCodes are those of RFC 5280 section 5.3.1.
var reasonCodes = map[v1alpha1.RevocationReason]int{
	v1alpha1.RevokedUnspecified:          0,
	v1alpha1.RevokedKeyCompromise:        1,
	v1alpha1.RevokedAffiliationChanged:   3,
	v1alpha1.RevokedSuperseded:           4,
	v1alpha1.RevokedCessationOfOperation: 5,
	v1alpha1.RevokedPrivilegeWithdrawn:   9,
}

// revoke ends an identity: every certificate of it that has not ended, not only the newest.
// What is returned without a failure is a Problem that says so.
func (r *Reconciler) revoke(ctx context.Context, c *v1alpha1.ClientCertificate, reason v1alpha1.RevocationReason, now time.Time) error {
	done := &issuer.Problem{Reason: v1alpha1.ReasonRevoked, Lasting: true, Message: fmt.Sprintf(
		"every certificate of this identity is revoked (%s), and none is issued again: make another ClientCertificate for another caller", reason)}
	if told := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady); told != nil && told.Reason == done.Reason && told.ObservedGeneration == c.Generation {
		return done // it stands in the record, and nothing was issued since
	}
	ref := authority.AuthorityOf(c)
	what := rotate.Revocation{At: now, Reason: reasonCodes[reason]}
	ca := &v1alpha1.CertificateAuthority{}
	if err := r.Cluster.Client().Get(ctx, ref, ca); apierrors.IsNotFound(err) {
		return r.revokeInRecordLeft(ctx, c, ref, what, now)
	} else if err != nil {
		return fmt.Errorf("reading CertificateAuthority %s: %w", ref, err)
	}
	if ca.Spec.RevocationMode() != v1alpha1.RevocationCRL {
		return &issuer.Problem{Reason: v1alpha1.ReasonInvalid, Lasting: true, Message: fmt.Sprintf(
			"gateways heed no revocation of CertificateAuthority %s (spec.revocation.mode: None): what was issued is accepted until it ends; none is issued again", ref)}
	}
	record, err := r.Cluster.Record(ctx, ca)
	if err != nil {
		return err
	}
	count, err := r.writeDown(ctx, c, record, what, now)
	if count > 0 { // also where what cannot be read is left
		r.Recorder.Eventf(c, nil, corev1.EventTypeNormal, v1alpha1.ReasonRevoked, "RevokeClientCertificate", "revoked %d certificates (%s)", count, reason)
	}
	if count > 0 || err == nil {
		// Also where nothing was left to write: an earlier pass may have written it and not lived to ring, or not seen the answer.
		r.Bell.Ring(ctx, ref)
	}
	if err != nil {
		return err
	}
	return done
}

// toldOfRest tells the caller's owner that a part of the record cannot be read, so that what may be in it is not revoked yet; any other
// outcome it leaves.
func toldOfRest(c *v1alpha1.ClientCertificate, err error) error {
	if !cluster.Unreadable(err) {
		return err
	}
	return &issuer.Problem{Reason: v1alpha1.ReasonLedgerUnreadable, Message: fmt.Sprintf(
		"what can be read of the record has every certificate of this identity revoked, and none is issued again; a part of it cannot be read, and certificates in there are accepted until it can: %s; see the conditions of CertificateAuthority %s", err, authority.AuthorityOf(c))}
}

// toldCertificate is what a ClientCertificate tells of its certificate.
func toldCertificate(c *v1alpha1.ClientCertificate) cluster.ToldCertificate {
	told := cluster.ToldCertificate{Serial: c.Status.Serial, AuthorityKeyID: c.Status.AuthorityKeyID}
	if c.Status.NotAfter != nil {
		told.NotAfter = c.Status.NotAfter.Time
	}
	return told
}

// writeDown puts the revocation into the record of the authority, and returns how many certificates it revoked.
func (r *Reconciler) writeDown(ctx context.Context, c *v1alpha1.ClientCertificate, record cluster.AuthorityRecord, what rotate.Revocation, now time.Time) (int, error) {
	uid, err := r.Cluster.NamespaceUID(ctx, c.Namespace)
	if err != nil {
		return 0, err
	}
	return r.Cluster.RevokeCaller(ctx, record, cluster.CallerID(uid, c.Name), toldCertificate(c), what, now)
}

// revokeInRecordLeft revokes where the authority is gone: its record outlives it, and whoever makes it again goes on with that, and
// with its key. What is returned without a failure is a Problem.
func (r *Reconciler) revokeInRecordLeft(ctx context.Context, c *v1alpha1.ClientCertificate, ref types.NamespacedName, what rotate.Revocation, now time.Time) error {
	nobody := &issuer.Problem{Reason: v1alpha1.ReasonAuthorityNotFound, Message: fmt.Sprintf(
		"CertificateAuthority %s does not exist, and nobody signs a CRL: what its record has of this caller is revoked there, for whoever makes it again", ref)}
	record, left, err := r.Cluster.RecordLeft(ctx, ref)
	if apierrors.IsNotFound(err) || err == nil && !left {
		return nobody // its namespace went with it, or nothing is left of it: nobody gets its key again
	}
	if err != nil {
		return err
	}
	if _, err := r.writeDown(ctx, c, record, what, now); err != nil {
		return err
	}
	return nobody
}

// pin puts the finalizer on an object whose deletion revokes, and takes it off one whose
// deletion no longer does; true if it did either.
func (r *Reconciler) pin(ctx context.Context, c *v1alpha1.ClientCertificate) (bool, error) {
	changed := c.DeepCopy()
	if c.Spec.DeletionPolicy == v1alpha1.DeletionRevoke {
		controllerutil.AddFinalizer(changed, revokeFinalizer)
	} else {
		controllerutil.RemoveFinalizer(changed, revokeFinalizer)
	}
	if len(changed.Finalizers) == len(c.Finalizers) {
		return false, nil
	}
	return true, r.patchFinalizers(ctx, c, changed)
}

// farewell revokes what a deletion revokes, and lets go. One that revokes nothing goes by itself.
func (r *Reconciler) farewell(ctx context.Context, c *v1alpha1.ClientCertificate, now time.Time) (reconcile.Result, error) {
	changed := c.DeepCopy()
	if !controllerutil.RemoveFinalizer(changed, revokeFinalizer) {
		return reconcile.Result{}, nil
	}
	var problem *issuer.Problem
	err := r.revoke(ctx, c, v1alpha1.RevokedCessationOfOperation, now)
	if !errors.As(err, &problem) { // any other says that there is nothing to revoke
		return pass.Again(err)
	}
	return reconcile.Result{}, r.patchFinalizers(ctx, c, changed)
}

func (r *Reconciler) patchFinalizers(ctx context.Context, c, changed *v1alpha1.ClientCertificate) error {
	patch := client.MergeFromWithOptions(c, client.MergeFromWithOptimisticLock{})
	if err := r.Cluster.Client().Patch(ctx, changed, patch, client.FieldOwner(cluster.FieldOwner)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("writing the finalizers of ClientCertificate %s/%s: %w", c.Namespace, c.Name, err)
	}
	return nil
}
