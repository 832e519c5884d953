package clientcertificate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/budget"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/controller/authority"
	"sallyport.dev/sallyport/internal/controller/pass"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/internal/metrics"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// Reconciler reconciles ClientCertificates.
type Reconciler struct {
	// Cluster is where Secrets and ledgers are.
	Cluster *cluster.Cluster
	// TrustDomain of the identities.
	TrustDomain string
	// ServiceAccount of the agent, for the RoleBinding that a message prints.
	ServiceAccount types.NamespacedName
	// Clock is read once in each pass.
	Clock clock.PassiveClock
	// Recorder takes one event for each pass that changed something.
	Recorder events.EventRecorder
	// Counters count what is issued.
	Counters *metrics.Counters
	// Budget holds up what can wait; nil holds up nothing.
	Budget *budget.Budget
	// Bell is rung for an authority whose certificates were revoked.
	Bell *authority.Bell

	memory memory
}

// healEvery is how often a caller's Secret is looked at: the agent has no right to
// watch Secrets in the namespaces of callers.
const healEvery = 10 * time.Minute

// deniedDelay is how often a Secret is tried that the agent may not write.
const deniedDelay = 15 * time.Second

// refusedDelay is how often one is looked at that is refused. What it waits for may be of others, and no watch shows all of that: who
// holds a name lets go of it, a namespace gets a label. It costs a request at most.
const refusedDelay = 5 * time.Minute

// Reconcile brings one ClientCertificate to what it asks for.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	now := r.Clock.Now()
	certificate := &v1alpha1.ClientCertificate{}
	if err := r.Cluster.Client().Get(ctx, request.NamespacedName, certificate); apierrors.IsNotFound(err) {
		r.memory.forget(request.NamespacedName)
		return reconcile.Result{}, nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading ClientCertificate %s: %w", request, err)
	}
	if certificate.DeletionTimestamp != nil {
		return r.farewell(ctx, certificate, now)
	}
	if pinned, err := r.pin(ctx, certificate); err != nil || pinned {
		return pass.Again(err)
	}
	found, err := r.pass(ctx, certificate, now)
	var problem *issuer.Problem
	if errors.As(err, &problem) {
		found.problem = problem
	} else if err != nil {
		return pass.Again(err)
	}
	if err := r.writeStatus(ctx, certificate, found, now); err != nil {
		return pass.Again(err)
	}
	if found.issued != "" && found.problem == nil {
		r.Counters.Issued(metrics.Client, found.issued)
		r.Recorder.Eventf(certificate, nil, corev1.EventTypeNormal, string(found.issued), "IssueClientCertificate", "issued client certificate %s%s", found.chain.Leaf().Serial(), reminder(certificate, now))
	}
	return reconcile.Result{RequeueAfter: found.wait(certificate, now)}, nil
}

// reminder tells whoever holds his own key to fetch a certificate that replaces another; nobody else
// can hand it to him.
func reminder(before *v1alpha1.ClientCertificate, now time.Time) string {
	end := before.Status.NotAfter
	if before.Spec.CSR == "" || end == nil || end.Time.Before(now) {
		return ""
	}
	return fmt.Sprintf(": fetch it from status.certificate before %s, when the one before ends", end.UTC().Format(time.RFC3339))
}

// found is what a pass found, for the status.
type found struct {
	identity string
	chain    pki.Chain
	settings rotate.LeafSettings
	// issued is why the chain was issued in this pass; empty if it was there before.
	issued rotate.Reason
	// next is when the certificate becomes due.
	next    time.Time
	problem *issuer.Problem
}

// wait is the time to the next look.
func (f found) wait(c *v1alpha1.ClientCertificate, now time.Time) time.Duration {
	if f.problem != nil {
		switch f.problem.Reason {
		case v1alpha1.ReasonSecretAccessDenied, v1alpha1.ReasonForeignSecret, v1alpha1.ReasonKeystorePassword, v1alpha1.ReasonNotOffered:
			return deniedDelay
		case v1alpha1.ReasonLedgerUnreadable:
			if c.Spec.Revocation != nil { // of all others there may be many
				return deniedDelay
			}
		case v1alpha1.ReasonIssuedTooOften:
			return max(f.next.Sub(now), time.Millisecond)
		case v1alpha1.ReasonRevoked:
			return 0 // for ever
		}
		return refusedDelay
	}
	var due time.Duration
	if !f.next.IsZero() {
		due = max(f.next.Sub(now), time.Millisecond)
	}
	if c.Spec.SecretName != "" && (due == 0 || due > healEvery) {
		return healEvery
	}
	return due
}

// pass finds out what is due, makes it, and hands it out.
func (r *Reconciler) pass(ctx context.Context, c *v1alpha1.ClientCertificate, now time.Time) (found, error) {
	f := found{identity: intent.ClientIdentity(r.TrustDomain, c.Namespace, c.Name)}
	if c.Spec.Revocation != nil {
		return f, toldOfRest(c, r.revoke(ctx, c, c.Spec.Revocation.Reason, now))
	}
	is, err := issuer.Lookup(ctx, r.Cluster, authority.AuthorityOf(c), c.Namespace, issuer.ForClients, now)
	if err != nil {
		return f, err
	}
	if issuer.OnlyVerifies(is.Object.Spec) {
		return f, &issuer.Problem{Reason: v1alpha1.ReasonInvalid, Lasting: true, Message: fmt.Sprintf(
			"CertificateAuthority %s only verifies callers and issues nothing: name another one", authority.AuthorityOf(c))}
	}
	if is.Withheld != "" {
		return f, &issuer.Problem{Reason: v1alpha1.ReasonNotOffered, Lasting: true, Message: is.Withheld}
	}
	if end := is.Signer.Generation.Authority.Certificate().NotAfter(); now.After(end) {
		return f, &issuer.Problem{Reason: v1alpha1.ReasonAuthorityNotReady, Message: fmt.Sprintf(
			"generation %s of CertificateAuthority %s ended at %s, and issues nothing: see its own conditions", is.Signer.Generation.ID, authority.AuthorityOf(c), end.UTC().Format(time.RFC3339))}
	}
	if f.settings, err = leafSettings(c, is); err != nil {
		return f, err
	}
	if err := r.checkNames(ctx, c, is.Object, now); err != nil {
		return f, err
	}
	names := rotate.ClientNames{CommonName: c.Name, Identity: f.identity, DNSNames: slices.Sorted(slices.Values(c.Spec.DNSNames))}
	if c.Spec.CSR != "" {
		return r.forRequest(ctx, c, f, is, names, now)
	}
	return r.intoSecret(ctx, c, f, is, names, now)
}

// forRequest issues for a caller that keeps its own key; the certificate goes into
// the status.
func (r *Reconciler) forRequest(ctx context.Context, c *v1alpha1.ClientCertificate, f found, is issuer.Issuer, names rotate.ClientNames, now time.Time) (found, error) {
	csr, err := pki.ParseCertificateRequest([]byte(c.Spec.CSR))
	if err != nil {
		return f, &issuer.Problem{Reason: v1alpha1.ReasonInvalidCSR, Message: "spec.csr: " + err.Error(), Lasting: true}
	}
	if err := r.checkKey(ctx, c, csr, now); err != nil {
		return f, err
	}
	var stored pki.Chain
	if c.Status.Certificate != "" {
		if stored, err = pki.ParseChain([]byte(c.Status.Certificate)); err != nil {
			stored = pki.Chain{} // what somebody else wrote there is replaced
		}
	}
	plan := rotate.PlanClientFor(stored, csr, names, f.settings, is.Signer, now)
	f.chain, f.next = stored, plan.Next
	if !plan.Issue {
		r.memory.handedOut(c)
		return f, nil
	}
	// What was issued in an earlier pass is in no status yet, or the cache does not show it: it costs no second certificate.
	if kept := r.memory.unwritten(c).chain; !kept.Leaf().IsZero() && kept.VerifyClient(is.Bundle, now) == nil &&
		!rotate.PlanClientFor(kept, csr, names, f.settings, is.Signer, now).Issue {
		f.chain, f.next, f.issued = kept, rotate.RenewalTime(kept.Leaf(), f.settings), plan.Reason
		return f, nil
	}
	if again, held := r.Budget.Hold(f.settings.Object, plan, now); held {
		f.next = again
		return f, nil
	}
	hasGood := !stored.Leaf().IsZero() && stored.VerifyClient(is.Bundle, now) == nil
	until, problem, err := r.asksTooOften(ctx, c, f.settings, is, plan, hasGood, now)
	if err != nil {
		return f, err
	}
	if problem != nil {
		f.next = until
		return f, problem
	}
	return r.issueFor(ctx, c, f, is, plan, csr, names, now)
}

// issueFor issues for a request, and writes the serial number down.
func (r *Reconciler) issueFor(ctx context.Context, c *v1alpha1.ClientCertificate, f found, is issuer.Issuer, plan rotate.LeafPlan, csr pki.CertificateRequest, names rotate.ClientNames, now time.Time) (found, error) {
	var err error
	if f.chain, err = rotate.MaterializeClientFor(is.Signer, is.Bundle, csr, names, f.settings, now); err != nil {
		return f, err
	}
	if f, err = r.handOut(ctx, c, f, is, plan, now); err != nil {
		return f, err
	}
	r.memory.keep(c, made{chain: f.chain})
	return f, nil
}

// handOut writes the serial number down: nobody may hold a certificate that cannot
// be revoked because nobody knows of it.
func (r *Reconciler) handOut(ctx context.Context, c *v1alpha1.ClientCertificate, f found, is issuer.Issuer, plan rotate.LeafPlan, now time.Time) (found, error) {
	uid, err := r.Cluster.NamespaceUID(ctx, c.Namespace)
	if err != nil {
		return f, err
	}
	leaf := f.chain.Leaf()
	record := rotate.IssuedSerial{Serial: leaf.Serial(), NotAfter: leaf.NotAfter(), Generation: is.Signer.Generation.ID, Caller: cluster.CallerID(uid, c.Name)}
	if err := r.Cluster.RecordSerial(ctx, is.Record, record, now); err != nil {
		return f, err
	}
	f.next, f.issued = rotate.RenewalTime(leaf, f.settings), plan.Reason
	return f, nil
}
