package authority

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/condition"
	"sallyport.dev/sallyport/internal/endpoint"
	"sallyport.dev/sallyport/internal/issuer"
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
		settings.Brought, settings.LongestLeaf = pair, issuer.LongestLeaf(authority.Spec, pair.CA.Certificate())
	case errors.Is(err, cluster.ErrNotOffered):
		b.problem = &issuer.Problem{Reason: v1alpha1.ReasonNotOffered, Message: err.Error()}
	case errors.Is(err, cluster.ErrUnfitCA):
		b.problem = &issuer.Problem{Reason: v1alpha1.ReasonUnfitCA, Message: err.Error()}
	case apierrors.IsForbidden(err):
		b.problem = issuer.SecretAccessDenied(authority.Namespace, "read Secrets in namespace "+authority.Namespace+": use a SelfSigned source", r.ServiceAccount)
	case ctx.Err() != nil:
		return brought{}, err
	default: // the authority goes on with the CA it has, and signs its CRLs
		b.problem = &issuer.Problem{Reason: v1alpha1.ReasonSourceUnreadable, Message: err.Error()}
	}
	offered := err == nil || errors.Is(err, cluster.ErrUnfitCA) && !errors.Is(err, cluster.ErrAbsentCA)
	if !offered && !errors.Is(err, cluster.ErrNotOffered) && issuer.Withdrawn(authority) != nil {
		// Only a Secret that is offered tells that it is offered again.
		b.problem.Reason, b.problem.Message = v1alpha1.ReasonNotOffered, "its owner took the offer back, and since then: "+b.problem.Message
	}
	return b, nil
}

// broughtCA reads the CA from where the authority's spec says.
func (r *Reconciler) broughtCA(ctx context.Context, authority *v1alpha1.CertificateAuthority, revocation bool, now time.Time) (rotate.Brought, error) {
	source := authority.Spec.Source
	switch {
	case source.Secret != nil:
		return r.Cluster.BroughtCA(ctx, authority, revocation, now)
	case source.Directory == nil:
		return rotate.Brought{}, fmt.Errorf("spec.source names neither a Secret nor a directory: %w", cluster.ErrUnfitCA)
	case authority.Namespace != r.Cluster.Namespace():
		return rotate.Brought{}, fmt.Errorf("directories are mounted for authorities in namespace %s: %w to one of namespace %s", r.Cluster.Namespace(), cluster.ErrNotOffered, authority.Namespace)
	}
	pair, err := r.Mounted.CA(source.Directory.Name)
	if err == nil {
		err = pair.Fit(revocation, now)
	}
	if err != nil {
		return rotate.Brought{}, fmt.Errorf("directory %s: %w: %w", source.Directory.Name, cluster.ErrUnfitCA, err)
	}
	return pair, nil
}

// tried is what was brought once an authority with these uses has tried it. Settings have it no more if it failed.
func (r *Reconciler) tried(ctx context.Context, authority *v1alpha1.CertificateAuthority, ledger rotate.Ledger, settings *rotate.AuthoritySettings, now time.Time) (*issuer.Problem, error) {
	if settings.Brought.IsZero() {
		return nil, nil //nolint:nilnil // nothing is wrong with what is not there
	}
	var use rotate.Use
	if !ledger.Holds(settings.Brought.CA) {
		var err error
		if use, err = r.use(ctx, authority, ledger); err != nil {
			return nil, err
		}
	}
	if err := ledger.Takes(*settings, use, now); err != nil {
		settings.Brought = rotate.Brought{}
		return &issuer.Problem{Reason: v1alpha1.ReasonUnfitCA, Message: fmt.Sprintf("the CA that is brought cannot be used: %s", err)}, nil
	}
	return nil, nil //nolint:nilnil // nothing is wrong with it
}

// use is what the authority's certificates are for: the hosts that it has issued for, and the longest lifetime that
// is asked for within its limits. What it never issued does not count: whoever names it would keep its owner from
// replacing the CA.
func (r *Reconciler) use(ctx context.Context, authority *v1alpha1.CertificateAuthority, ledger rotate.Ledger) (rotate.Use, error) {
	use := rotate.Use{Lifetime: authority.Spec.ServerCertificates.EffectiveLifetime()}
	endpoints, err := endpoint.Using(ctx, r.Cluster.Client(), client.ObjectKeyFromObject(authority))
	if err != nil {
		return use, err
	}
	for i := range endpoints {
		served := endpoints[i].Status.ServerCertificate
		if served != nil && slices.ContainsFunc(ledger.Generations(), func(g rotate.Generation) bool {
			return g.Authority.Certificate().SubjectKeyID() == served.AuthorityKeyID
		}) {
			use.Hosts = append(use.Hosts, endpoints[i].Status.Hosts...)
		}
	}
	slices.Sort(use.Hosts)
	use.Hosts = slices.Compact(use.Hosts)
	var clients v1alpha1.ClientCertificateList
	if err := r.Cluster.Client().List(ctx, &clients, client.MatchingFields{ByAuthority: client.ObjectKeyFromObject(authority).String()}); err != nil {
		return use, fmt.Errorf("listing ClientCertificates of %s/%s: %w", authority.Namespace, authority.Name, err)
	}
	active, _ := ledger.Active()
	limit := min(authority.Spec.ClientCertificates.EffectiveMaxLifetime(), issuer.LongestLeaf(authority.Spec, active.Authority.Certificate()))
	for i := range clients.Items {
		asked := authority.Spec.ClientCertificates.EffectiveLifetime()
		if own := clients.Items[i].Spec.Lifetime; own != nil {
			asked = own.Duration
		}
		if clients.Items[i].Status.NotAfter != nil && asked <= limit {
			use.Lifetime = max(use.Lifetime, asked)
		}
	}
	return use, nil
}

// with is what was found with what the authority's trial of it found.
func (b brought) with(untaken *issuer.Problem) brought {
	if b.problem == nil {
		b.problem = untaken
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
