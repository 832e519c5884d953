package authority

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

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

// SetupWithManager registers the reconciler. It looks again when an authority, its
// ledger, or what uses it changes.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("authority").
		For(&v1alpha1.CertificateAuthority{}, builder.WithPredicates(Changed())).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(ofLedger)).
		Watches(&v1alpha1.MutualTLSEndpoint{}, later(ofEndpoint, countDelay)).
		Watches(&v1alpha1.ClientCertificate{}, later(ofClient, countDelay), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.ClientCertificate{}, later(ofClient, endDelay), builder.WithPredicates(endChanged)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		WatchesRawSource(source.Channel(r.Mounted.Changed(), handler.EnqueueRequestsFromMapFunc(r.ofMounted))).
		WatchesRawSource(source.Channel(r.Bell.rung, &handler.EnqueueRequestForObject{})).
		Complete(pass.Patient(r))
}

// endChanged passes what tells of a certificate that ends at another hour: the status of an authority tells when
// the last one ends.
var endChanged = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, is := e.ObjectOld.(*v1alpha1.ClientCertificate)
		now, still := e.ObjectNew.(*v1alpha1.ClientCertificate)
		return is && still && !endOf(before).Equal(endOf(now))
	},
	CreateFunc: func(event.CreateEvent) bool { return false }, // is looked at anyway
	DeleteFunc: func(event.DeleteEvent) bool { return false },
}

// endOf is the end of a caller's certificate as an authority tells it; nil if there is none.
func endOf(c *v1alpha1.ClientCertificate) *metav1.Time {
	if c.Status.NotAfter == nil {
		return nil
	}
	return wholeHour(c.Status.NotAfter.Time)
}

// workers is how many authorities are looked at at once: one whose key takes long to make, or whose Secret an API server
// takes long to read, keeps no revocation of another back. A pass shares nothing with that of another authority but what
// is safe to be shared: the cluster's caches, the queues of serials, and counters.
const workers = 4

// Changed is what of an authority has it looked at again: its spec, and the word of a person in an annotation.
func Changed() predicate.Predicate {
	return predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{})
}

// countDelay is how long the counts in the status may lag behind. Many objects that
// come and go at once then cost one pass, and not one each.
const countDelay = 500 * time.Millisecond

// endDelay is how long the end of the last caller's certificate may lag behind: callers of a
// compromised CA all get others within a minute.
const endDelay = 5 * time.Second

// later has an authority looked at after a while, because something that only its status
// tells of has changed.
func later(of handler.MapFunc, delay time.Duration) handler.EventHandler {
	add := func(ctx context.Context, object client.Object, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		for _, request := range of(ctx, object) {
			queue.AddAfter(request, delay)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(ctx, e.Object, q)
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(ctx, e.ObjectOld, q)
			add(ctx, e.ObjectNew, q)
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(ctx, e.Object, q)
		},
	}
}

// ofLedger finds the authority that a Secret was made for.
func ofLedger(_ context.Context, object client.Object) []reconcile.Request {
	owner, ours := cluster.OwnerOf(object)
	if !ours || owner.Kind != "CertificateAuthority" || !cluster.IsLedger(object) {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: owner.Namespace, Name: owner.Name}}}
}

// ofMounted finds the authorities whose CAs are mounted into the agent.
func (r *Reconciler) ofMounted(ctx context.Context, _ client.Object) []reconcile.Request {
	var all v1alpha1.CertificateAuthorityList
	if err := r.Cluster.Client().List(ctx, &all, client.InNamespace(r.Cluster.Namespace())); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing the authorities whose CAs are mounted")
		return nil // each is looked at again soon
	}
	var requests []reconcile.Request
	for i := range all.Items {
		if all.Items[i].Spec.Source.Directory != nil {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&all.Items[i])})
		}
	}
	return requests
}

func ofEndpoint(_ context.Context, object client.Object) []reconcile.Request {
	endpoint, ok := object.(*v1alpha1.MutualTLSEndpoint)
	if !ok {
		return nil
	}
	var requests []reconcile.Request
	for _, a := range endpoint.Status.Authorities {
		requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: a.Namespace, Name: a.Name}})
	}
	return requests
}

func ofClient(_ context.Context, object client.Object) []reconcile.Request {
	certificate, ok := object.(*v1alpha1.ClientCertificate)
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: AuthorityOf(certificate)}}
}

// AuthorityOf is the authority that a ClientCertificate refers to.
func AuthorityOf(c *v1alpha1.ClientCertificate) types.NamespacedName {
	namespace := c.Spec.AuthorityRef.Namespace
	if namespace == "" {
		namespace = c.Namespace
	}
	return types.NamespacedName{Namespace: namespace, Name: c.Spec.AuthorityRef.Name}
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
