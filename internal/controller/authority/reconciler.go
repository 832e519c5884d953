package authority

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
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
	"sallyport.dev/sallyport/pkg/rotate"
)

// Reconciler reconciles CertificateAuthorities.
type Reconciler struct {
	// Cluster is where ledgers are.
	Cluster *cluster.Cluster
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
}

// SetupWithManager registers the reconciler. It looks again when an authority, its
// ledger, or what uses it changes.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("authority").
		For(&v1alpha1.CertificateAuthority{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(ofLedger)).
		Watches(&v1alpha1.MutualTLSEndpoint{}, later(ofEndpoint)).
		Watches(&v1alpha1.ClientCertificate{}, later(ofClient), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(source.Channel(r.Bell.rung, &handler.EnqueueRequestForObject{})).
		Complete(r)
}

// countDelay is how long the counts in the status may lag behind. Many objects that
// come and go at once then cost one pass, and not one each.
const countDelay = 500 * time.Millisecond

// later has an authority looked at because something that only the counts in its
// status tell of has changed.
func later(of handler.MapFunc) handler.EventHandler {
	add := func(ctx context.Context, object client.Object, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		for _, request := range of(ctx, object) {
			queue.AddAfter(request, countDelay)
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
	if err := r.Cluster.Client().Get(ctx, request.NamespacedName, authority); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if authority.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	if unsupported := issuer.Unsupported(authority.Spec); unsupported != "" {
		return reconcile.Result{}, r.writeStatus(ctx, authority, view{problem: &issuer.Problem{Reason: v1alpha1.ReasonNotSupported, Message: unsupported}}, now)
	}
	settings, err := issuer.Settings(authority, r.TrustDomain)
	if err != nil {
		return reconcile.Result{}, r.writeStatus(ctx, authority, view{problem: &issuer.Problem{Reason: v1alpha1.ReasonInvalid, Message: err.Error()}}, now)
	}
	ledger, plan, full, err := r.keep(ctx, authority, settings, now)
	if problem := issuer.LedgerProblem(err); problem != nil {
		return reconcile.Result{}, r.writeStatus(ctx, authority, view{problem: problem}, now)
	}
	if err != nil {
		return pass.Again(err)
	}
	r.announce(authority, plan)
	published, err := r.publish(ctx, authority, ledger, settings, now)
	if err != nil {
		return pass.Again(err)
	}
	if err := r.writeStatus(ctx, authority, view{ledger: ledger, settings: settings, published: published, plan: plan, full: full}, now); err != nil {
		return pass.Again(err)
	}
	return pass.At(plan.Next, now), nil
}

// keep brings the ledger up to date: at most one write. Full is why its CRLs do not list
// all that is revoked, nil if they do.
func (r *Reconciler) keep(ctx context.Context, authority *v1alpha1.CertificateAuthority, settings rotate.AuthoritySettings, now time.Time) (ledger rotate.Ledger, plan rotate.Plan, full, err error) {
	record, err := r.Cluster.Record(ctx, authority)
	if err != nil {
		return ledger, plan, nil, err
	}
	stored, err := r.Cluster.Ledger(ctx, record)
	if err != nil {
		return ledger, plan, nil, err
	}
	if settings.Revocations.Recorded, err = r.Cluster.Revoked(ctx, record); err != nil {
		return ledger, plan, nil, err
	}
	plan = rotate.PlanAuthority(stored.Ledger, settings, now)
	if len(plan.Steps) > 0 && !stored.Exists() && len(authority.Status.Generations) > 0 {
		return ledger, plan, nil, fmt.Errorf("reading Secret %s, which is gone: %w", record.Name, rotate.ErrKeyMissing)
	}
	after, err := rotate.MaterializeAuthority(stored.Ledger, plan, settings, now)
	if errors.Is(err, rotate.ErrCRLsTooLarge) {
		full = err
		settings.Revocations = settings.Revocations.Listed(stored.Ledger)
		plan = rotate.PlanAuthority(stored.Ledger, settings, now)
		after, err = rotate.MaterializeAuthority(stored.Ledger, plan, settings, now)
	}
	if err != nil || len(plan.Steps) == 0 {
		return stored.Ledger, plan, full, err
	}
	written, err := r.Cluster.WriteLedger(ctx, record, stored, after)
	return written.Ledger, plan, full, err
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
	outcome, err := r.Cluster.WriteTrust(ctx, authority, bundle)
	if err != nil {
		return published{}, err
	}
	return published{bundle: bundle, foreign: outcome == cluster.Foreign}, nil
}
