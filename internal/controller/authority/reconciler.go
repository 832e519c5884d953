package authority

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/controller/pass"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/internal/metrics"
	"sallyport.dev/sallyport/internal/mounted"
	"sallyport.dev/sallyport/pkg/rotate"
)

// Reconciler reconciles CertificateAuthorities.
type Reconciler struct {
	// Cluster is where ledgers are.
	Cluster *cluster.Cluster
	// Mounted are the CAs that are mounted into the agent.
	Mounted *mounted.CAs
	// ServiceAccount of the agent, for the RoleBinding that a message prints.
	ServiceAccount types.NamespacedName
	// TrustDomain of the probe identity.
	TrustDomain string
	// Clock is read once in each pass.
	Clock clock.PassiveClock
	// Recorder takes one event for each pass that changed something.
	Recorder events.EventRecorder
	// Counters count what is issued.
	Counters *metrics.Counters
	// Bell rings when a certificate was revoked.
	Bell *Bell
	// Proofs tell what handshakes showed; nil if none are tried, and then a rotation goes by time.
	Proofs Proofs
	// LookEvery is how often answers are looked for that hold a rotation up.
	LookEvery time.Duration
}

// Reconcile makes what is due of one authority.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	now := r.Clock.Now()
	authority := &v1alpha1.CertificateAuthority{}
	if err := r.Cluster.Client().Get(ctx, request.NamespacedName, authority); apierrors.IsNotFound(err) {
		r.Cluster.Forget(request.NamespacedName)
		return reconcile.Result{}, nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading CertificateAuthority %s: %w", request.NamespacedName, err)
	}
	if authority.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	if issuer.OnlyVerifies(authority.Spec) {
		return r.verify(ctx, authority, now)
	}
	settings, err := issuer.Settings(authority, r.TrustDomain)
	if err != nil {
		return reconcile.Result{}, r.writeStatus(ctx, authority, view{problem: &issuer.Problem{Reason: v1alpha1.ReasonInvalid, Message: err.Error()}}, now)
	}
	settings.Rotation.LookEvery, settings.Rotation.Proof = r.LookEvery, settings.Rotation.Proof && r.Proofs != nil
	source, err := r.source(ctx, authority, &settings, now)
	if err != nil {
		return pass.Again(err)
	}
	invalid := readable(authority.Spec, &settings)
	kept, err := r.keep(ctx, authority, settings, now)
	if problem := issuer.LedgerProblem(err); problem != nil {
		return pass.At(source.next, now), r.writeStatus(ctx, authority, view{problem: problem}, now)
	}
	if err != nil {
		return pass.Again(err)
	}
	kept.invalid, kept.source = invalid, source.with(kept.untaken)
	r.announce(authority, kept.plan, settings.Brings)
	next, err := r.tell(ctx, authority, kept, now)
	if err != nil {
		return pass.Again(err)
	}
	return pass.At(next, now), nil
}

// readable reads into the settings what an authority goes on without, and says what of it cannot be read.
func readable(spec v1alpha1.CertificateAuthoritySpec, settings *rotate.AuthoritySettings) error {
	var serials, windows error
	settings.Revocations.Further, serials = issuer.FurtherSerials(spec)
	settings.Rotation.Windows, windows = issuer.Windows(spec.Rotation.Windows)
	return cmp.Or(serials, windows)
}

// tell publishes what callers are to trust, writes the status, and says when to look again.
func (r *Reconciler) tell(ctx context.Context, authority *v1alpha1.CertificateAuthority, kept view, now time.Time) (time.Time, error) {
	var err error
	if kept.published, err = r.publish(ctx, authority, kept.ledger, kept.settings, now); err != nil {
		return time.Time{}, err
	}
	var trust issuer.Trust
	if !kept.published.bundle.IsZero() {
		if trust, err = issuer.TrustOf(ctx, r.Cluster, authority, kept.ledger, kept.published.bundle, now); err != nil {
			return time.Time{}, err
		}
	}
	kept.others = trust.Others
	above, any := kept.ledger.StandingAbove(kept.settings.Revocation, now)
	if any {
		kept.others = append([]rotate.Standing{above}, kept.others...)
	}
	next := kept.plan.Next
	for _, look := range []time.Time{trust.Next, kept.source.next, above.Next} {
		if next.IsZero() || !look.IsZero() && look.Before(next) {
			next = look
		}
	}
	return next, r.writeStatus(ctx, authority, kept, now)
}

// keep brings the ledger up to date: at most one write.
func (r *Reconciler) keep(ctx context.Context, authority *v1alpha1.CertificateAuthority, settings rotate.AuthoritySettings, now time.Time) (view, error) {
	kept := view{settings: settings, asked: settings.Revocation}
	record, err := r.Cluster.Record(ctx, authority)
	if err != nil {
		return kept, err
	}
	stored, err := r.Cluster.Ledger(ctx, record)
	if err != nil {
		return kept, err
	}
	if err := stored.Updatable(); err != nil {
		return kept, err // told at once, and not when the next CRL is due
	}
	if kept.taken = stored.Taken; kept.taken != "" {
		record = r.Cluster.TakeShards(record)
	}
	issued, err := r.Cluster.Issued(ctx, record)
	if err != nil {
		return kept, err
	}
	settings.Revocations.Recorded, kept.clientsEnd = issued.Revoked, issued.End
	kept.shards, kept.incomplete, kept.acceptLoss = issued.Shards, issued.Incomplete, issued.AcceptLoss
	kept.taken = cmp.Or(kept.taken, issued.Taken)
	settings.Revocation = stored.Ledger.Revokes(settings.Revocation)
	kept.settings.Revocation = settings.Revocation
	if kept.untaken, err = r.tried(ctx, authority, stored.Ledger, &settings, now); err != nil {
		return kept, err
	}
	evidence, err := r.evidence(ctx, authority, stored.Ledger, issued)
	if err != nil {
		return kept, err
	}
	after, err := kept.decide(stored.Ledger, settings, evidence, now)
	if err != nil {
		return kept, err
	}
	if !stored.Exists() && len(authority.Status.Generations) > 0 {
		return kept, fmt.Errorf("reading Secret %s, which is gone: %w", record.Name, rotate.ErrKeyMissing)
	}
	if kept.ledger = stored.Ledger; len(kept.plan.Steps) > 0 || stored.Taken != "" {
		written, err := r.Cluster.WriteLedger(ctx, record, stored, after)
		if err != nil {
			return kept, err
		}
		kept.ledger = written.Ledger
	}
	kept.cutOff, err = r.cutOff(ctx, authority, record, kept.ledger, issued.End, now)
	return kept, err
}

// decide says what is due, and makes it. Where CRLs do not fit that list all that is revoked,
// namespaces share the room; and if even that does not fit, they list what they did.
func (v *view) decide(stored rotate.Ledger, settings rotate.AuthoritySettings, e rotate.Evidence, now time.Time) (rotate.Ledger, error) {
	sign := func(r rotate.Revocations) (rotate.Ledger, error) {
		settings.Revocations = r
		v.plan = rotate.PlanAuthority(stored, settings, e, now)
		return rotate.MaterializeAuthority(stored, v.plan, settings, now)
	}
	all := settings.Revocations
	after, err := sign(all)
	if !errors.Is(err, rotate.ErrCRLsTooLarge) {
		return after, err
	}
	fitting, leftOut := all.Fitting(stored, now)
	v.full, v.leftOut = true, leftOut
	if after, err = sign(fitting); !errors.Is(err, rotate.ErrCRLsTooLarge) {
		return after, err
	}
	return sign(all.Listed(stored))
}

var errNoActive = errors.New("no generation is active")

// publish writes the ConfigMap from which callers and clusters that only verify
// take what they trust. Trusted certificates of partners are never in it.
func (r *Reconciler) publish(ctx context.Context, authority *v1alpha1.CertificateAuthority, ledger rotate.Ledger, settings rotate.AuthoritySettings, now time.Time) (published, error) {
	bundle, err := ledger.Bundle(settings.Revocation, now)
	if err != nil {
		return published{problem: err}, nil //nolint:nilerr // it is told in the status
	}
	if _, ok := ledger.Active(); !ok {
		return published{problem: errNoActive}, nil
	}
	told, err := ledger.Published(settings.Revocation, now)
	if err != nil {
		return published{problem: err}, nil //nolint:nilerr // it is told in the status
	}
	outcome, err := r.Cluster.WriteTrust(ctx, authority, told)
	if err != nil {
		return published{}, err
	}
	return published{bundle: bundle, foreign: outcome == cluster.Foreign}, nil
}
