package authority

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/condition"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// sourceEvery is how often a Secret that somebody else writes is looked at: no watch shows it.
const sourceEvery = 15 * time.Second

// brought is what was found where somebody brings the CA.
type brought struct {
	// problem is why it cannot be used; nil if it can, or if nobody brings one.
	problem *issuer.Problem
	// brings is whether somebody does, next when to look again.
	brings bool
	next   time.Time
}

// source reads the CA that somebody brings into the settings.
func (r *Reconciler) source(ctx context.Context, authority *v1alpha1.CertificateAuthority, settings *rotate.AuthoritySettings, now time.Time) (brought, error) {
	if !settings.Brings {
		return brought{}, nil
	}
	b := brought{brings: true, next: now.Add(sourceEvery)}
	pair, err := r.broughtCA(ctx, authority, settings.Revocation, now)
	switch {
	case err == nil:
		settings.Brought, settings.LongestLeaf = pair, issuer.LongestLeaf(authority.Spec, pair.Certificate())
	case errors.Is(err, cluster.ErrNotOffered):
		b.problem = &issuer.Problem{Reason: v1alpha1.ReasonNotOffered, Message: err.Error()}
	case errors.Is(err, cluster.ErrUnfitCA):
		b.problem = &issuer.Problem{Reason: v1alpha1.ReasonUnfitCA, Message: err.Error()}
	case apierrors.IsForbidden(err):
		b.problem = issuer.SecretAccessDenied(authority.Namespace, "read Secrets in namespace "+authority.Namespace+": use a SelfSigned source", r.ServiceAccount)
	default:
		return brought{}, err
	}
	if withdrawn(authority) && (errors.Is(err, cluster.ErrAbsentCA) || apierrors.IsForbidden(err)) {
		// Only a Secret that is offered tells that it is offered again.
		b.problem.Reason, b.problem.Message = v1alpha1.ReasonNotOffered, "its owner took the offer back, and since then: "+b.problem.Message
	}
	return b, nil
}

// withdrawn reports whether the owner of the CA did not offer it when that was found out last.
func withdrawn(authority *v1alpha1.CertificateAuthority) bool {
	last := meta.FindStatusCondition(authority.Status.Conditions, v1alpha1.ConditionSourceCurrent)
	return last != nil && last.Reason == v1alpha1.ReasonNotOffered
}

// broughtCA reads the CA from where the authority's spec says.
func (r *Reconciler) broughtCA(ctx context.Context, authority *v1alpha1.CertificateAuthority, revocation bool, now time.Time) (pki.Authority, error) {
	source := authority.Spec.Source
	switch {
	case source.Secret != nil:
		return r.Cluster.BroughtCA(ctx, authority, revocation, now)
	case source.Directory == nil:
		return pki.Authority{}, fmt.Errorf("spec.source names neither a Secret nor a directory: %w", cluster.ErrUnfitCA)
	case authority.Namespace != r.Cluster.Namespace():
		return pki.Authority{}, fmt.Errorf("directories are mounted for authorities in namespace %s: %w to one of namespace %s", r.Cluster.Namespace(), cluster.ErrNotOffered, authority.Namespace)
	}
	pair, err := r.Mounted.CA(source.Directory.Name)
	if err == nil {
		err = pair.Fit(revocation, now)
	}
	if err != nil {
		return pki.Authority{}, fmt.Errorf("directory %s: %w: %w", source.Directory.Name, cluster.ErrUnfitCA, err)
	}
	return pair, nil
}

// judged says what of the authority's own keeps what is brought from being taken.
func (b brought) judged(ledger rotate.Ledger, settings rotate.AuthoritySettings) brought {
	if b.problem != nil || !b.brings {
		return b
	}
	if err := ledger.Takes(settings.Brought, settings.Rotation.Compromised); err != nil {
		b.problem = &issuer.Problem{Reason: v1alpha1.ReasonUnfitCA, Message: err.Error()}
	}
	return b
}

// condition tells whether what somebody brings is in use.
func (b brought) condition() metav1.Condition {
	if b.problem != nil {
		return condition.False(v1alpha1.ConditionSourceCurrent, b.problem.Reason, b.problem.Message)
	}
	return condition.True(v1alpha1.ConditionSourceCurrent, v1alpha1.ReasonSourceInUse, "the CA that is brought is in use, or takes its place in the phases of a rotation")
}

// unready is why the authority does not issue although it has a key: its owner took the offer back; or
// why it has none yet. Nil if it issues.
func (b brought) unready(hasKey bool) *issuer.Problem {
	if b.problem == nil || hasKey && b.problem.Reason != v1alpha1.ReasonNotOffered {
		return nil // it goes on with what it has
	}
	return b.problem
}
