package issuer

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// Issuer is an authority that can issue now; or one that only verifies, which has an Object and nothing else.
type Issuer struct {
	// Object is the CertificateAuthority. It must not be changed.
	Object *v1alpha1.CertificateAuthority
	// Record is where its ledger is.
	Record cluster.AuthorityRecord
	// Signer is the generation that issues, and what goes with it.
	Signer rotate.Signer
	// Next is the generation that is about to issue, Withdrawn the one that is not to be accepted
	// any more; zero if there is none.
	Next, Withdrawn rotate.Generation
	// Bundle is the authority's own generations that gateways trust, Published what callers are told to trust.
	Bundle, Published pki.Bundle
	// Ledger of the authority.
	Ledger rotate.Ledger
	// Withheld is why nothing may be issued, because the owner of the CA does not offer it; empty if it may.
	Withheld string
}

// Problem is why an authority cannot issue for somebody now: a reason of api/v1alpha1
// and a message for people. It is an error only in the sense of errors.As: nothing
// failed, and trying again changes nothing until the authority changes.
type Problem struct {
	// Reason is one of api/v1alpha1.
	Reason string
	// Message says what is wrong and what to do.
	Message string
	// Lasting is whether somebody has to change something, rather than wait.
	Lasting bool
}

// Error is the message.
func (p *Problem) Error() string { return p.Message }

func lasting(reason, format string, arguments ...any) *Problem {
	return &Problem{Reason: reason, Message: fmt.Sprintf(format, arguments...), Lasting: true}
}

func passing(reason, format string, arguments ...any) *Problem {
	return &Problem{Reason: reason, Message: fmt.Sprintf(format, arguments...)}
}

// Use is what somebody wants an authority for.
type Use func(v1alpha1.CertificateAuthoritySpec) v1alpha1.AllowedReferences

// ForGateways is the use by Gateways and APIRules.
func ForGateways(s v1alpha1.CertificateAuthoritySpec) v1alpha1.AllowedReferences {
	return s.AllowedGateways
}

// ForClients is the use by ClientCertificates.
func ForClients(s v1alpha1.CertificateAuthoritySpec) v1alpha1.AllowedReferences {
	return s.AllowedClients
}

// ForAnybody asks for no use: what gateways trust already of an authority is kept current also for whom it serves no more.
func ForAnybody(v1alpha1.CertificateAuthoritySpec) v1alpha1.AllowedReferences {
	return v1alpha1.AllowedReferences{Namespaces: v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesAll}}
}

// Lookup finds an authority for somebody in a namespace. With an error the Issuer has
// at most the Object, if there is one that is allowed. The error is a *Problem if
// the authority cannot issue for him now, and anything else if that could not be
// found out.
func Lookup(ctx context.Context, c *cluster.Cluster, ref types.NamespacedName, namespace string, use Use, now time.Time) (Issuer, error) {
	authority := &v1alpha1.CertificateAuthority{}
	if err := c.Client().Get(ctx, ref, authority); apierrors.IsNotFound(err) {
		return Issuer{}, passing(v1alpha1.ReasonAuthorityNotFound, "CertificateAuthority %s does not exist", ref)
	} else if err != nil {
		return Issuer{}, fmt.Errorf("reading CertificateAuthority %s: %w", ref, err)
	}
	allowed, err := Serves(ctx, c, authority, namespace, use)
	if err != nil {
		return Issuer{}, err
	}
	if !allowed {
		return Issuer{}, lasting(v1alpha1.ReasonAuthorityNotAllowed, "CertificateAuthority %s does not serve namespace %s: its owner lists it under spec.allowedGateways or spec.allowedClients", ref, namespace)
	}
	if OnlyVerifies(authority.Spec) {
		return Issuer{Object: authority}, nil
	}
	found, err := open(ctx, c, authority, now)
	if source := Withdrawn(authority); source != nil {
		found.Withheld = fmt.Sprintf("CertificateAuthority %s issues nothing: %s", ref, source.Message)
	}
	return found, err
}

// Withdrawn is the condition that tells that the owner of an authority's CA did not offer it when that was found out
// last; nil if he did, or nobody brings one.
func Withdrawn(authority *v1alpha1.CertificateAuthority) *metav1.Condition {
	source := meta.FindStatusCondition(authority.Status.Conditions, v1alpha1.ConditionSourceCurrent)
	if source == nil || source.Reason != v1alpha1.ReasonNotOffered {
		return nil
	}
	return source
}

// open reads the ledger of an authority that is allowed and issues.
func open(ctx context.Context, c *cluster.Cluster, authority *v1alpha1.CertificateAuthority, now time.Time) (Issuer, error) {
	name := authority.Namespace + "/" + authority.Name
	record, err := c.Record(ctx, authority)
	if err != nil {
		return Issuer{}, err
	}
	stored, err := c.Ledger(ctx, record)
	if problem := LedgerProblem(err); problem != nil {
		return Issuer{Object: authority}, problem
	} else if err != nil {
		return Issuer{}, err
	}
	signer, ok, err := stored.Ledger.Signer(now)
	if err != nil {
		return Issuer{Object: authority}, err
	}
	if !ok {
		return Issuer{Object: authority}, passing(v1alpha1.ReasonAuthorityNotReady, "CertificateAuthority %s has no key yet, or none any more: see its own conditions", name)
	}
	signer.Unvouched = stored.Ledger.Unvouched(authority.Spec.Rotation.CallersUpdated)
	revocation := Revokes(authority.Spec, stored.Ledger)
	bundle, err := stored.Ledger.Bundle(revocation, now)
	if err != nil {
		return Issuer{Object: authority}, passing(v1alpha1.ReasonAuthorityNotReady, "CertificateAuthority %s cannot be trusted now: %s", name, err)
	}
	published, err := stored.Ledger.Published(revocation, now)
	if err != nil {
		return Issuer{}, fmt.Errorf("CertificateAuthority %s: what callers are to trust: %w", name, err)
	}
	found := Issuer{Object: authority, Record: record, Signer: signer, Bundle: bundle, Published: published, Ledger: stored.Ledger}
	found.Next, _ = stored.Ledger.Next()
	found.Withdrawn, _ = stored.Ledger.Withdrawn()
	return found, nil
}

// LedgerProblem is the Problem behind an error of reading a ledger, nil if it is an
// error of reading at all.
func LedgerProblem(err error) *Problem {
	switch {
	case errors.Is(err, rotate.ErrKeyMissing):
		return lasting(v1alpha1.ReasonKeyMissing, "%s. It is never made anew silently, because callers trust the old one: restore the Secret from your backup", err)
	case errors.Is(err, cluster.ErrLedgerRegressed):
		return lasting(v1alpha1.ReasonStateRegressed, "%s. Nothing is issued: restore the newest backup, or take it as it is with that annotation on the CertificateAuthority, which counts once; callers of what is missing are then refused", err)
	case errors.Is(err, cluster.ErrNotUpdatable):
		return lasting(v1alpha1.ReasonLedgerImmutable, "%s: neither CRLs nor the next generation can be stored. Save the Secret, delete it, and create it again from what you saved, without immutable and of type Opaque", err)
	case errors.Is(err, cluster.ErrLedgerUnreadable), errors.Is(err, cluster.ErrLedgerForeign):
		return lasting(v1alpha1.ReasonLedgerUnreadable, "%s. It is never made anew silently, because callers trust what it holds: restore the Secret from your backup", err)
	}
	return nil
}

// Serves reports whether objects of a namespace may use an authority.
func Serves(ctx context.Context, c *cluster.Cluster, authority *v1alpha1.CertificateAuthority, namespace string, use Use) (bool, error) {
	allowed := use(authority.Spec)
	switch allowed.Namespaces.From {
	case v1alpha1.NamespacesAll:
		return true, nil
	case v1alpha1.NamespacesSelector:
		selector, err := metav1.LabelSelectorAsSelector(allowed.Namespaces.Selector)
		if err != nil {
			return false, lasting(v1alpha1.ReasonInvalid, "the namespace selector of the authority cannot be read: %s", err)
		}
		found, err := c.NamespaceMetadata(ctx, namespace)
		if err != nil {
			return false, err
		}
		return selector.Matches(labels.Set(found.Labels)), nil
	}
	return authority.Namespace == namespace, nil
}
