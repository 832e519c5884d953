package authority

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
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
)

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
		WatchesRawSource(source.Channel(r.Bell.Rung(), &handler.EnqueueRequestForObject{})).
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
