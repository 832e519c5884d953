package servingcertificate

import (
	"context"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// only is the single request of this controller.
var only = reconcile.Request{NamespacedName: types.NamespacedName{Name: ConfigurationName}}

// SetupWithManager registers the reconciler. It looks again when the configuration,
// one of its Secrets, or a pod of the webhook changes. Without any of them the first
// look comes from the configuration.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	here := predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetNamespace() == r.Cluster.Namespace() })
	always := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{only}
	})
	secrets := predicate.NewPredicateFuncs(func(o client.Object) bool {
		return o.GetName() == caSecret || o.GetName() == servingSecret
	})
	pods := predicate.NewPredicateFuncs(func(o client.Object) bool {
		return o.GetLabels()["app.kubernetes.io/component"] == webhookLabels["app.kubernetes.io/component"]
	})
	return ctrl.NewControllerManagedBy(mgr).
		Named("servingcertificate").
		Watches(&admissionregistrationv1.MutatingWebhookConfiguration{}, always).
		Watches(&corev1.Secret{}, always, builder.WithPredicates(here, secrets)).
		Watches(&corev1.Pod{}, always, builder.WithPredicates(here, pods)).
		Complete(r)
}
