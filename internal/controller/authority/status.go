package authority

import (
	"context"
	"errors"
	"fmt"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/condition"
	"sallyport.dev/sallyport/internal/endpoint"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// published is what callers are told to trust.
type published struct {
	// bundle is what gateways trust.
	bundle pki.Bundle
	// problem is why nothing can be published, foreign that the ConfigMap is
	// somebody else's.
	problem error
	foreign bool
}

// view is what a pass found, for the status.
type view struct {
	problem   *issuer.Problem
	ledger    rotate.Ledger
	settings  rotate.AuthoritySettings
	published published
	plan      rotate.Plan
	// asked is whether CRLs are asked for.
	asked bool
	// full is whether the CRLs have no room for all that is revoked, leftOut how many certificates are left out.
	full    bool
	leftOut int
	// invalid is what of the spec cannot be read, where the authority goes on all the same.
	invalid error
	// incomplete is what of the record of what was issued cannot be read.
	incomplete []error
	// acceptLoss is with what a person takes as lost what of it is gone; empty if nothing is.
	acceptLoss string
	// taken is with what a person took a ledger that is older than what was told of it; empty if it is not.
	taken string
	// shards is in how many parts that record is.
	shards int
	// verifies is whether the authority has no CA of its own.
	verifies bool
	// source is what somebody brings.
	source brought
	// untaken is why the authority does not take it; nil if it does.
	untaken *issuer.Problem
	// others are the CAs of others that gateways trust too.
	others []rotate.Standing
	// clientsEnd is when the last certificate of a caller ends that is not revoked, by generation.
	clientsEnd map[string]time.Time
	// cutOff are the callers that hold certificates of a generation that was thrown out.
	cutOff []string
}

// writeStatus tells what a pass found: one write, none if it was told already.
func (r *Reconciler) writeStatus(ctx context.Context, authority *v1alpha1.CertificateAuthority, v view, now time.Time) error {
	status := authority.Status.DeepCopy()
	if v.problem == nil {
		v.tellGenerations(status)
	}
	if err := r.count(ctx, authority, status); err != nil {
		return err
	}
	wanted := v.conditions(now)
	if last := issuer.Withdrawn(authority); last != nil && !v.source.brings { // nobody looked
		wanted = append(wanted, *last)
	}
	status.Conditions = condition.Update(authority.Status.Conditions, authority.Generation, now, wanted...)
	if apiequality.Semantic.DeepEqual(authority.Status, *status) {
		return nil
	}
	updated := authority.DeepCopy()
	updated.Status = *status
	if err := r.Cluster.Client().Status().Update(ctx, updated, client.FieldOwner(cluster.FieldOwner)); err != nil {
		return fmt.Errorf("writing status of CertificateAuthority %s/%s: %w", authority.Namespace, authority.Name, err)
	}
	return nil
}

func (v view) tellGenerations(status *v1alpha1.CertificateAuthorityStatus) {
	status.Generations, status.NotAfter, status.CRL, status.Unproven, status.TrustedCertificates = nil, nil, nil, v.unproven(), v.trusted()
	if v.taken != "" {
		status.AcceptedState = v.taken
	}
	status.NewestGeneration, status.SerialShards = v.ledger.Newest(), int32(v.shards) //nolint:gosec // 16,000 at most
	for _, g := range v.ledger.Generations() {
		certificate := g.Authority.Certificate()
		status.Generations = append(status.Generations, v1alpha1.AuthorityGeneration{
			ClientsNotAfter: wholeHour(v.clientsEnd[g.ID]),
			ID:              g.ID, SubjectKeyID: certificate.SubjectKeyID(), State: v1alpha1.GenerationState(g.State),
			CreatedAt: metav1.NewTime(g.CreatedAt.Truncate(time.Second)),
			NotBefore: metav1.NewTime(certificate.NotBefore()), NotAfter: metav1.NewTime(certificate.NotAfter()),
		})
	}
	active, ok := v.ledger.Active()
	if !ok {
		return
	}
	notAfter := metav1.NewTime(active.Authority.Certificate().NotAfter())
	status.NotAfter = &notAfter
	if v.settings.Revocation && !active.CRL.IsZero() {
		status.CRL = &v1alpha1.RevocationStatus{
			Number: active.CRL.Number().Int64(), NextUpdate: metav1.NewTime(active.CRL.NextUpdate()),
			Entries: int32(min(active.CRL.Entries(), 1<<30)), //nolint:gosec // bounded
		}
	}
}

// wholeHour rounds up, so that not every certificate that is issued costs a write; nil for the zero time.
func wholeHour(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	hour := metav1.NewTime(t.Add(time.Hour - time.Nanosecond).Truncate(time.Hour))
	return &hour
}

// count tells how many objects use the authority. Those it does not serve do not
// count: whoever names it would have its status written.
func (r *Reconciler) count(ctx context.Context, authority *v1alpha1.CertificateAuthority, status *v1alpha1.CertificateAuthorityStatus) error {
	endpoints, err := endpoint.Using(ctx, r.Cluster.Client(), client.ObjectKeyFromObject(authority))
	if err != nil {
		return err
	}
	var clients v1alpha1.ClientCertificateList
	if err := r.Cluster.Client().List(ctx, &clients, client.MatchingFields{ByAuthority: client.ObjectKeyFromObject(authority).String()}); err != nil {
		return fmt.Errorf("listing ClientCertificates of %s/%s: %w", authority.Namespace, authority.Name, err)
	}
	var users, callers int32
	for i := range endpoints {
		if err := r.add(ctx, &users, authority, endpoints[i].Namespace, issuer.ForGateways); err != nil {
			return err
		}
	}
	for i := range clients.Items {
		if err := r.add(ctx, &callers, authority, clients.Items[i].Namespace, issuer.ForClients); err != nil {
			return err
		}
	}
	status.Endpoints, status.ClientCertificates = &users, &callers
	return nil
}

// add counts one object if the authority serves its namespace. One that cannot be found
// out about is not served: its namespace is going.
func (r *Reconciler) add(ctx context.Context, count *int32, authority *v1alpha1.CertificateAuthority, namespace string, use issuer.Use) error {
	serves, err := issuer.Serves(ctx, r.Cluster, authority, namespace, use)
	var problem *issuer.Problem
	if apierrors.IsNotFound(err) || errors.As(err, &problem) {
		return nil
	}
	if serves {
		*count++
	}
	return err
}

// ByAuthority is the cache's index of ClientCertificates by their authority.
const ByAuthority = "sallyport.authority"

// Index makes the cache find ClientCertificates by their authority. To be called
// once, before the cache starts.
func Index(ctx context.Context, indexer client.FieldIndexer) error {
	err := indexer.IndexField(ctx, &v1alpha1.ClientCertificate{}, ByAuthority, func(o client.Object) []string {
		if c, ok := o.(*v1alpha1.ClientCertificate); ok {
			return []string{AuthorityOf(c).String()}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("indexing ClientCertificates by authority: %w", err)
	}
	return nil
}

func (v view) conditions(now time.Time) []metav1.Condition {
	if v.verifies {
		return []metav1.Condition{v.verifying(), v.trustedCertificatesCurrent()}
	}
	conditions := []metav1.Condition{v.ready(now), v.rotating(), v.rotationBlocked(), v.revocationCurrent(now)}
	if v.source.brings {
		conditions = append(conditions, v.source.condition())
	}
	if len(v.others) > 0 {
		conditions = append(conditions, v.trustedCertificatesCurrent())
	}
	if len(v.cutOff) > 0 {
		conditions = append(conditions, v.callersCutOff())
	}
	return conditions
}

func (v view) ready(now time.Time) metav1.Condition {
	no := func(reason, message string) metav1.Condition {
		return condition.False(v1alpha1.ConditionReady, reason, message)
	}
	if v.problem != nil {
		return no(v.problem.Reason, v.problem.Message)
	}
	if len(v.incomplete) > 0 {
		return no(v1alpha1.ReasonLedgerUnreadable, v.unreadable())
	}
	if v.invalid != nil {
		return no(v1alpha1.ReasonInvalid, v.invalid.Error())
	}
	_, hasKey := v.ledger.Active()
	if problem := v.source.unready(hasKey); problem != nil {
		return no(problem.Reason, problem.Message)
	}
	if active, ok := v.ledger.Active(); ok && now.After(active.Authority.Certificate().NotAfter()) {
		return no(v1alpha1.ReasonEnded, v.ended(active))
	}
	if v.published.problem != nil {
		return no(v1alpha1.ReasonAuthorityNotReady, v.published.problem.Error())
	}
	if v.published.foreign {
		return no(v1alpha1.ReasonForeignSecret, "the ConfigMap for published trust exists and was not made for this authority: delete it or rename the authority")
	}
	return condition.True(v1alpha1.ConditionReady, v1alpha1.ReasonReady, "the authority issues")
}

// unreadable says what to do about a record of what was issued that is not whole.
func (v view) unreadable() string {
	told := v.incomplete[0].Error()
	if more := len(v.incomplete) - 1; more > 0 {
		told += fmt.Sprintf(", and %d more", more)
	}
	told += ". Restore the Secret from your backup: until then a generation that has given way is trusted until it ends, what is in no other shard can be revoked by spec.revocation.serials alone, and callers may get no new certificates"
	if v.acceptLoss == "" {
		return told + ". If there is none, delete it: then it can be taken as lost"
	}
	return told + fmt.Sprintf(". If there is none, take it as lost with the annotation %s: %s on the CertificateAuthority: callers whose certificates it held may be refused when their generation retires", cluster.AcceptState, v.acceptLoss)
}

// ended says what to do about a CA that has ended.
func (v view) ended(active rotate.Generation) string {
	end := active.Authority.Certificate().NotAfter().UTC().Format(time.RFC3339)
	if v.settings.Brings {
		return fmt.Sprintf("generation %s ended at %s and nothing it signed is accepted any more: bring another CA where spec.source says; every caller then needs a new certificate and the new trust", active.ID, end)
	}
	return fmt.Sprintf("generation %s ended at %s and nothing it signed is accepted any more: no agent was there to prepare the next one. Set spec.rotation.rotateAfter to a time after it was made; every caller then needs a new certificate and the new trust", active.ID, end)
}

func (v view) revocationCurrent(now time.Time) metav1.Condition {
	kind := v1alpha1.ConditionRevocationCurrent
	_, ok := v.ledger.Active()
	switch {
	case v.problem != nil || !ok:
		return condition.Unknown(kind, v1alpha1.ReasonPending, "nothing is known of its CRLs")
	case v.asked && !v.settings.Revocation:
		return condition.False(kind, v1alpha1.ReasonUnfitCA,
			"gateways check no CRL, though spec.revocation.mode asks for them, because a CA of the authority may sign none (key usage cRLSign is missing), and each needs one: bring one that may, and CRLs begin when the others have ended; or ask for None")
	case !v.settings.Revocation:
		return condition.True(kind, v1alpha1.ReasonRevocationNone, "gateways check no CRL, as asked")
	case !now.Before(v.ledger.CRLsEnd(now)):
		return condition.False(kind, v1alpha1.ReasonCRLOverdue, "a CRL has ended of a CA that gateways trust: they refuse every caller")
	}
	if v.full {
		return condition.False(kind, v1alpha1.ReasonCRLTooLarge, fmt.Sprintf(
			"%d revoked certificates are in no CRL, and gateways accept them: all CRLs together have 512 KiB, which namespaces share evenly; spread the callers over more authorities, or shorten clientCertificates.maxLifetime", v.leftOut))
	}
	return condition.True(kind, v1alpha1.ReasonCRLFresh, "every CA that gateways trust has a fresh CRL there")
}
