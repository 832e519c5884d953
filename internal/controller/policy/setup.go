package policy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
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
	"sallyport.dev/sallyport/internal/controller/apirule"
	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/mutate"
	"sallyport.dev/sallyport/pkg/policy"
)

// all is the one thing that is reconciled.
var all = []reconcile.Request{{NamespacedName: types.NamespacedName{Name: "all"}}}

func everything(context.Context, client.Object) []reconcile.Request { return all }

// judged lets what a policy judges through: a status says nothing.
var judged = predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, predicate.LabelChangedPredicate{})

// owned lets through that a Secret appears, goes, or becomes another object's: what is in it says nothing.
var owned = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	before, _ := cluster.OwnerOf(e.ObjectOld)
	after, _ := cluster.OwnerOf(e.ObjectNew)
	return before != after
}}

// SetupWithManager registers the reconciler. It looks again when a policy, a Gateway, the labels of a
// Namespace, whose a managed Secret is, how an optional endpoint stands, or the pods and Services of the ingresses change; for APIRules see WatchAPIRules.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	var err error
	r.manager = mgr
	r.controller, err = ctrl.NewControllerManagedBy(mgr).
		Named("policy").
		Watches(&v1alpha1.MutualTLSPolicy{}, handler.EnqueueRequestsFromMapFunc(everything), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(ingress.NewGatewayObject(), handler.EnqueueRequestsFromMapFunc(everything), builder.WithPredicates(judged)).
		WatchesMetadata(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(everything), builder.WithPredicates(predicate.LabelChangedPredicate{})).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(everything), builder.WithPredicates(owned)).
		Watches(&v1alpha1.MutualTLSEndpoint{}, handler.EnqueueRequestsFromMapFunc(everything), builder.WithPredicates(stepped)).
		WatchesRawSource(source.Channel(r.Moved, handler.EnqueueRequestsFromMapFunc(everything))).
		Build(r)
	return err
}

// WatchAPIRules has the reconciler look again when an APIRule changes. It is called once the API server knows them.
func (r *Reconciler) WatchAPIRules(mgr ctrl.Manager) error {
	err := r.controller.Watch(source.Kind[client.Object](mgr.GetCache(), apirule.NewObject(), handler.EnqueueRequestsFromMapFunc(everything), judged))
	if err != nil {
		return fmt.Errorf("watching APIRules for policies: %w", err)
	}
	return nil
}

// watchRoutes has the reconciler look again when a VirtualService changes, from the first policy on.
func (r *Reconciler) watchRoutes() error {
	if r.watchesRoutes {
		return nil
	}
	err := r.controller.Watch(source.Kind[client.Object](r.manager.GetCache(), newVirtualServiceObject(), handler.EnqueueRequestsFromMapFunc(everything), judged))
	if err != nil {
		return fmt.Errorf("watching VirtualServices for policies: %w", err)
	}
	r.watchesRoutes = true
	return nil
}

// stored is every Gateway and APIRule, in the order of kind, namespace and name. They are the cache's own.
func (r *Reconciler) stored(ctx context.Context) ([]object, error) {
	namespaces := &metav1.PartialObjectMetadataList{}
	namespaces.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	if err := r.Client.List(ctx, namespaces, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing Namespaces: %w", err)
	}
	labels := labelsOf(namespaces)
	var found []object
	for kind, gvk := range map[intent.Kind]*unstructured.Unstructured{intent.KindGateway: ingress.NewGatewayObject(), intent.KindAPIRule: apirule.NewObject()} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(gvk.GroupVersionKind())
		if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy); meta.IsNoMatchError(err) && kind == intent.KindAPIRule {
			continue // this cluster has none
		} else if err != nil {
			return nil, fmt.Errorf("listing every %s: %w", kind, err)
		}
		for i := range list.Items {
			found = append(found, objectOf(kind, &list.Items[i], labels))
		}
	}
	complete(found)
	slices.SortFunc(found, func(a, b object) int {
		return cmp.Or(strings.Compare(string(b.Kind), string(a.Kind)), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return found, nil
}

// complete tells APIRules the domain of the Gateway that each names, by which Kyma completes short hosts: what stands behind
// the wildcard of its hosts.
func complete(all []object) {
	domains := map[string]string{}
	for _, o := range all {
		if u, is := o.stored.(*unstructured.Unstructured); is && o.Kind == intent.KindGateway {
			for _, server := range ingress.GatewayFrom(u.Object).Servers {
				for _, host := range server.Hosts {
					if domain, wild := strings.CutPrefix(host, "*."); wild && domains[o.Namespace+"/"+o.Name] == "" {
						domains[o.Namespace+"/"+o.Name] = domain
					}
				}
			}
		}
	}
	for i, o := range all {
		if u, is := o.stored.(*unstructured.Unstructured); is && o.Kind == intent.KindAPIRule {
			if namespace, name, named := mutate.GatewayOf(u.Object); named {
				all[i].Domain = domains[namespace+"/"+name]
			}
		}
	}
}

func objectOf(kind intent.Kind, u *unstructured.Unstructured, labels map[string]map[string]string) object {
	spec, _ := u.Object["spec"].(map[string]any)
	return object{stored: u, Object: policy.Object{
		Kind: kind, Namespace: u.GetNamespace(), Name: u.GetName(), Annotations: u.GetAnnotations(), Labels: u.GetLabels(),
		NamespaceLabels: labels[u.GetNamespace()], Spec: spec,
	}}
}
