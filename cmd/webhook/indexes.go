package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/admission"
	"sallyport.dev/sallyport/internal/capability"
	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/internal/install"
	"sallyport.dev/sallyport/pkg/intent"
)

// feedRetry is how soon feeding is tried again, when Istio's CRDs are not there yet.
const feedRetry = 2 * time.Second

// indexes are all a review may ask about the cluster, kept in memory.
type indexes struct {
	cache        cache.Cache
	capabilities *capability.Source
	namespaces   *admission.NamespaceIndex
	ingress      *ingress.Index
	clock        clock.Clock
	log          logr.Logger
	// synced is set once everything there was has been delivered.
	synced atomic.Bool
}

func newIndexes(config *rest.Config, settings install.Settings, c clock.Clock, log logr.Logger) (*indexes, error) {
	reader, err := newReader(config)
	if err != nil {
		return nil, err
	}
	informers, err := cache.New(config, cache.Options{
		Scheme:                      scheme.Scheme,
		Mapper:                      kinds(),
		ByObject:                    cached(settings.Ingresses()),
		DefaultTransform:            cache.TransformStripManagedFields(),
		ReaderFailOnMissingInformer: true,
	})
	if err != nil {
		return nil, fmt.Errorf("creating cache: %w", err)
	}
	x := &indexes{
		cache:      informers,
		namespaces: admission.NewNamespaceIndex(),
		ingress:    ingress.NewIndex(settings.Ingresses()),
		clock:      c,
		log:        log,
	}
	x.capabilities = capability.NewSource(reader, c, x.crdRead)
	return x, nil
}

// crdRead hears how reading the Gateway CRD went. Before the indexes are fed, start
// says it.
func (x *indexes) crdRead(err error) {
	if err != nil && x.synced.Load() {
		x.log.Error(err, "going on with what the Gateway CRD said before")
	}
}

// kinds are all that is ever asked for. Said here, they need not be discovered, so an
// API server that is slow to come up delays us and does not stop us.
func kinds() meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, kind := range []struct {
		gvk              schema.GroupVersionKind
		plural, singular string
		scope            meta.RESTScope
	}{
		{corev1.SchemeGroupVersion.WithKind("Namespace"), "namespaces", "namespace", meta.RESTScopeRoot},
		{corev1.SchemeGroupVersion.WithKind("Pod"), "pods", "pod", meta.RESTScopeNamespace},
		{corev1.SchemeGroupVersion.WithKind("Service"), "services", "service", meta.RESTScopeNamespace},
		{ingress.GatewayGVK, "gateways", "gateway", meta.RESTScopeNamespace},
		{apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition"), "customresourcedefinitions", "customresourcedefinition", meta.RESTScopeRoot},
	} {
		version := kind.gvk.GroupVersion()
		mapper.AddSpecific(kind.gvk, version.WithResource(kind.plural), version.WithResource(kind.singular), kind.scope)
	}
	return mapper
}

// newReader reads CRDs, and nothing else, straight from the API server.
func newReader(config *rest.Config) (client.Reader, error) {
	known := runtime.NewScheme()
	if err := apiextensionsv1.AddToScheme(known); err != nil {
		return nil, fmt.Errorf("registering CRDs: %w", err)
	}
	reader, err := client.New(config, client.Options{Scheme: known, Mapper: kinds()})
	if err != nil {
		return nil, fmt.Errorf("creating client: %w", err)
	}
	return reader, nil
}

// cached cuts every kind down to what is read of it.
func cached(ingresses []ingress.Ingress) map[client.Object]cache.ByObject {
	objects := ingress.PodsAndServices(ingresses)
	objects[namespaceObject()] = cache.ByObject{Transform: trimNamespace}
	return objects
}

func namespaceObject() *metav1.PartialObjectMetadata {
	n := &metav1.PartialObjectMetadata{}
	n.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return n
}

// trimNamespace leaves of a Namespace the label that is read.
func trimNamespace(object any) (any, error) {
	n, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	trimmed := &metav1.PartialObjectMetadata{TypeMeta: n.TypeMeta}
	trimmed.Name, trimmed.UID, trimmed.ResourceVersion = n.Name, n.UID, n.ResourceVersion
	if mode, ok := n.Labels[intent.LabelDefaultMode]; ok {
		trimmed.Labels = map[string]string{intent.LabelDefaultMode: mode}
	}
	return trimmed, nil
}

// start feeds the indexes until the context ends. It waits for Istio's CRDs: where
// both are installed at once, they may come after us.
func (x *indexes) start(ctx context.Context) error {
	said := ""
	for {
		delivered, err := x.feed(ctx)
		if err == nil {
			return x.await(ctx, delivered)
		}
		if said != err.Error() && ctx.Err() == nil {
			said = err.Error()
			x.log.Error(err, "waiting for the API server and the CRDs of Istio")
		}
		if !x.sleep(ctx, feedRetry) {
			return nil
		}
	}
}

// feed registers the indexes with informers. Registering again after half of it
// failed is harmless: every index takes an object it knows.
func (x *indexes) feed(ctx context.Context) (delivered func() bool, err error) {
	if err := x.capabilities.Read(ctx); err != nil {
		return nil, err
	}
	gateways, err := x.ingress.Feed(ctx, x.cache)
	if err != nil {
		return nil, fmt.Errorf("feeding index of ingresses: %w", err)
	}
	informer, err := x.cache.GetInformer(ctx, namespaceObject(), cache.BlockUntilSynced(false))
	if err != nil {
		return nil, fmt.Errorf("getting informer for Namespaces: %w", err)
	}
	namespaces, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    x.setNamespace,
		UpdateFunc: func(_, object any) { x.setNamespace(object) },
		DeleteFunc: x.deleteNamespace,
	})
	if err != nil {
		return nil, fmt.Errorf("adding handler for Namespaces: %w", err)
	}
	return func() bool { return gateways() && namespaces.HasSynced() }, nil
}

func (x *indexes) setNamespace(object any) {
	if n, ok := object.(*metav1.PartialObjectMetadata); ok {
		x.namespaces.Set(n.Name, n.Labels[intent.LabelDefaultMode])
	}
}

func (x *indexes) deleteNamespace(object any) {
	if missed, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = missed.Obj
	}
	if n, ok := object.(*metav1.PartialObjectMetadata); ok {
		x.namespaces.Delete(n.Name)
	}
}

// await watches for the moment at which everything has been delivered, and keeps
// the capabilities current from then on.
func (x *indexes) await(ctx context.Context, delivered func() bool) error {
	for !delivered() {
		if !x.sleep(ctx, 20*time.Millisecond) {
			return nil
		}
	}
	x.synced.Store(true)
	x.log.Info("indexes are synced")
	return x.capabilities.Start(ctx)
}

// sleep returns false when the context ended.
func (x *indexes) sleep(ctx context.Context, d time.Duration) bool {
	timer := x.clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C():
		return true
	}
}
