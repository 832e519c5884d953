package main

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"sallyport.dev/sallyport/internal/capability"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/controller/apirule"
	"sallyport.dev/sallyport/internal/controller/authority"
	"sallyport.dev/sallyport/internal/controller/clientcertificate"
	"sallyport.dev/sallyport/internal/controller/gateway"
	"sallyport.dev/sallyport/internal/controller/policy"
	"sallyport.dev/sallyport/internal/controller/servingcertificate"
	"sallyport.dev/sallyport/internal/endpoint"
	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/internal/probe"
	"sallyport.dev/sallyport/internal/programming"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/mutate"
)

// serviceAccount is the agent's own, for messages that print a RoleBinding.
const serviceAccount = "sallyport-agent"

// recorderName is the reporting controller of every event.
const recorderName = "sallyport-agent"

func managed() labels.Selector {
	return labels.SelectorFromSet(labels.Set{intent.KeyManaged: "true"})
}

func addControllers(ctx context.Context, mgr manager.Manager, config Config, capabilities *capability.Source, c clock.WithTicker) error {
	for _, index := range []func() error{
		func() error { return cluster.IndexSecrets(ctx, mgr.GetFieldIndexer()) },
		func() error { return endpoint.Index(ctx, mgr.GetFieldIndexer()) },
		func() error { return authority.Index(ctx, mgr.GetFieldIndexer()) },
	} {
		if err := index(); err != nil {
			return err
		}
	}
	// Asked for by name now and then: an informer that starts with the first question
	// would hold the first certificate up.
	if _, err := mgr.GetCache().GetInformer(ctx, cluster.NewNamespaceObject(), cache.BlockUntilSynced(false)); err != nil {
		return fmt.Errorf("watching Namespaces: %w", err)
	}
	edge := ingress.NewIndex(config.settings.Ingresses())
	changes := programming.NewChanges(edge)
	edge.OnChange(changes.Note)
	synced, err := edge.Feed(ctx, mgr.GetCache())
	if err != nil {
		return err
	}
	if err := mgr.Add(changes); err != nil {
		return fmt.Errorf("adding the watch on the edge: %w", err)
	}
	store := cluster.New(mgr.GetClient(), mgr.GetAPIReader(), config.options.Namespace)
	programmer := &programming.Programmer{Cluster: store, Edge: edge, Synced: synced, Install: config.settings, Capabilities: func() mutate.Capabilities {
		known, _ := capabilities.Capabilities() // read before anything was started, and kept
		return known
	}}
	recorder := mgr.GetEventRecorder(recorderName)
	add := []interface {
		SetupWithManager(mgr manager.Manager) error
	}{
		&authority.Reconciler{Cluster: store, TrustDomain: config.settings.TrustDomain(), Clock: c, Recorder: recorder},
		&clientcertificate.Reconciler{
			Cluster: store, TrustDomain: config.settings.TrustDomain(), Clock: c, Recorder: recorder,
			ServiceAccount: types.NamespacedName{Namespace: config.options.Namespace, Name: serviceAccount},
		},
		&servingcertificate.Reconciler{Cluster: store, Lifetimes: config.options.Webhook, Dial: probe.ServedLeaf, Clock: c, Recorder: recorder},
		&policy.Reconciler{Client: mgr.GetClient(), Clock: c},
		&gateway.Reconciler{Cluster: store, Programmer: programmer, Interests: programming.NewInterests(), Changes: changes, Install: config.settings, Clock: c, Recorder: recorder},
	}
	for _, controller := range add {
		if err := controller.SetupWithManager(mgr); err != nil {
			return fmt.Errorf("adding controller %T: %w", controller, err)
		}
	}
	rules := &apirule.Reconciler{Cluster: store, Programmer: programmer, Interests: programming.NewInterests(), Changes: changes, Install: config.settings, Clock: c, Recorder: recorder}
	return mgr.Add(&whenServed{mgr: mgr, clock: c, add: rules.SetupWithManager})
}

// whenServed adds the controller of APIRules once the API server knows them: a
// cluster may have Istio and no Kyma, and may get Kyma later.
type whenServed struct {
	mgr   manager.Manager
	clock clock.WithTicker
	add   func(manager.Manager) error
}

// servedRetry is how often the API server is asked.
const servedRetry = 10 * time.Second

// NeedLeaderElection says that the leader alone reconciles.
func (*whenServed) NeedLeaderElection() bool { return true }

// Start waits for the kind and adds its controller.
func (w *whenServed) Start(ctx context.Context) error {
	said := false
	for {
		_, err := w.mgr.GetRESTMapper().RESTMapping(apirule.GVK.GroupKind(), apirule.GVK.Version)
		if err == nil {
			return w.add(w.mgr)
		}
		if !said && meta.IsNoMatchError(err) {
			said = true
			w.mgr.GetLogger().Info("this cluster has no APIRules; looking for them now and then")
		} else if !meta.IsNoMatchError(err) {
			w.mgr.GetLogger().Error(err, "asking the API server for APIRules")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-w.clock.After(servedRetry):
		}
	}
}
