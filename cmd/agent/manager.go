package main

import (
	"context"
	"fmt"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/capability"
	"sallyport.dev/sallyport/internal/controller/servingcertificate"
	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/internal/lean"
	"sallyport.dev/sallyport/internal/metrics"
)

// leaseName is the lease that the leader holds.
const leaseName = "sallyport-agent"

// shutdownTimeout bounds how long a pass that is under way may hold up the lease.
const shutdownTimeout = 10 * time.Second

// passTimeout bounds one pass over one object. An answer that never comes would hold up
// everything else that its worker has to do.
const passTimeout = 10 * time.Second

// newManager wires everything. It waits for the CRD of Istio's Gateways, without
// which there is nothing to do.
func newManager(ctx context.Context, config Config, c clock.WithTicker) (manager.Manager, error) {
	scheme, err := kinds(config)
	if err != nil {
		return nil, err
	}
	o := config.options
	timeout := shutdownTimeout
	counters := metrics.NewCounters()
	connection := rest.CopyConfig(config.cluster)
	connection.Wrap(counters.CountConflicts)
	mgr, err := ctrl.NewManager(connection, ctrl.Options{
		Scheme:                        scheme,
		Cache:                         cacheOptions(config),
		Client:                        client.Options{Cache: &client.CacheOptions{Unstructured: true}},
		Metrics:                       metricsserver.Options{BindAddress: "0"}, // addMetrics serves them, and health
		LeaderElection:                o.LeaderElect,
		LeaderElectionID:              leaseName,
		LeaderElectionNamespace:       o.Namespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &o.LeaseDuration,
		RenewDeadline:                 &o.RenewDeadline,
		RetryPeriod:                   &o.RetryPeriod,
		GracefulShutdownTimeout:       &timeout,
		Controller:                    ctrlconfig.Controller{ReconciliationTimeout: passTimeout},
	})
	if err != nil {
		return nil, fmt.Errorf("creating manager: %w", err)
	}
	capabilities := capability.NewSource(mgr.GetAPIReader(), c, func(err error) {
		if err != nil {
			mgr.GetLogger().Error(err, "reading the Gateway CRD")
		}
	})
	if err := awaitGateways(ctx, capabilities, c); err != nil {
		return nil, err
	}
	if err := mgr.Add(capabilities); err != nil {
		return nil, fmt.Errorf("adding the reader of the Gateway CRD: %w", err)
	}
	p, err := newParts(ctx, mgr, config, counters, c)
	if err != nil {
		return nil, err
	}
	if err := p.addControllers(mgr, capabilities); err != nil {
		return nil, err
	}
	return mgr, addMetrics(ctx, mgr, config, counters, p.store, p.prover, c)
}

// kinds are those that are read or written, and no others: each costs memory.
func kinds(config Config) (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	add := []func(*runtime.Scheme) error{corev1.AddToScheme, admissionregistrationv1.AddToScheme, apiextensionsv1.AddToScheme, v1alpha1.AddToScheme}
	if config.options.MetricsAuthentication {
		add = append(add, authenticationv1.AddToScheme, authorizationv1.AddToScheme)
	}
	for _, add := range add {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("registering kinds: %w", err)
		}
	}
	return scheme, nil
}

// gatewayRetry is how often the CRD is looked for until it is there.
const gatewayRetry = 2 * time.Second

func awaitGateways(ctx context.Context, capabilities *capability.Source, c clock.WithTicker) error {
	for capabilities.Read(ctx) != nil {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the CRD of Istio's Gateways: %w", context.Cause(ctx))
		case <-c.After(gatewayRetry):
		}
	}
	return nil
}

// cacheOptions cut the cache down to what is ours or is needed: Secrets with our
// label in our own and the ingress namespaces, Pods and Services there, and of
// Namespaces the labels.
func cacheOptions(config Config) cache.Options {
	ingresses := config.settings.Ingresses()
	objects := ingress.PodsAndServices(ingresses)
	for object, of := range objects {
		if _, ok := object.(*corev1.Pod); ok {
			of.Namespaces[config.options.Namespace] = cache.Config{}
			objects[object] = of
		}
	}
	objects[&admissionregistrationv1.MutatingWebhookConfiguration{}] = cache.ByObject{
		Field: fields.OneTermEqualSelector("metadata.name", servingcertificate.ConfigurationName),
	}
	admissionCache(config.options, objects)
	objects[&corev1.Secret{}] = cache.ByObject{Namespaces: secretNamespaces(config), Label: managed()}
	return cache.Options{ByObject: objects, DefaultTransform: lean.Object}
}

func secretNamespaces(config Config) map[string]cache.Config {
	namespaces := map[string]cache.Config{config.options.Namespace: {}}
	for _, namespace := range config.settings.IngressNamespaces() {
		namespaces[namespace] = cache.Config{}
	}
	return namespaces
}
