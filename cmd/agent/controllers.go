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

	"sallyport.dev/sallyport/internal/budget"
	"sallyport.dev/sallyport/internal/capability"
	"sallyport.dev/sallyport/internal/caughtup"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/controller/apirule"
	"sallyport.dev/sallyport/internal/controller/authority"
	"sallyport.dev/sallyport/internal/controller/clientcertificate"
	"sallyport.dev/sallyport/internal/controller/gateway"
	"sallyport.dev/sallyport/internal/controller/policy"
	"sallyport.dev/sallyport/internal/controller/servingcertificate"
	"sallyport.dev/sallyport/internal/endpoint"
	"sallyport.dev/sallyport/internal/handshakes"
	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/internal/metrics"
	"sallyport.dev/sallyport/internal/mounted"
	"sallyport.dev/sallyport/internal/probe"
	"sallyport.dev/sallyport/internal/programming"
	"sallyport.dev/sallyport/internal/proving"
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

// parts are what the controllers and the metrics share.
type parts struct {
	config   Config
	clock    clock.WithTicker
	store    *cluster.Cluster
	edge     *ingress.Index
	changes  *programming.Changes
	synced   func() bool
	counters *metrics.Counters
	// prover tries handshakes; nil if none are to be tried.
	prover *proving.Prover
	// callers counts who comes with a certificate; nil if nobody is to be counted.
	callers *handshakes.Watcher
}

// newParts makes them, and has the cache watch what they need.
func newParts(ctx context.Context, mgr manager.Manager, config Config, counters *metrics.Counters, c clock.WithTicker) (*parts, error) {
	for _, index := range []func() error{
		func() error { return cluster.IndexSecrets(ctx, mgr.GetFieldIndexer()) },
		func() error { return endpoint.Index(ctx, mgr.GetFieldIndexer()) },
		func() error { return authority.Index(ctx, mgr.GetFieldIndexer()) },
	} {
		if err := index(); err != nil {
			return nil, err
		}
	}
	// Asked for by name now and then: an informer that starts with the first question
	// would hold the first certificate up.
	if _, err := mgr.GetCache().GetInformer(ctx, cluster.NewNamespaceObject(), cache.BlockUntilSynced(false)); err != nil {
		return nil, fmt.Errorf("watching Namespaces: %w", err)
	}
	p := &parts{
		config: config, clock: c, edge: ingress.NewIndex(config.settings.Ingresses()), counters: counters,
		store: cluster.New(caughtup.New(mgr.GetClient(), mgr.GetAPIReader(), c), mgr.GetAPIReader(), config.options.Namespace),
	}
	p.changes = programming.NewChanges(p.edge)
	p.edge.OnChange(p.changes.Note)
	var err error
	if p.synced, err = p.edge.Feed(ctx, mgr.GetCache()); err != nil {
		return nil, err
	}
	if err := mgr.Add(p.changes); err != nil {
		return nil, fmt.Errorf("adding the watch on the edge: %w", err)
	}
	if err := p.addProver(mgr); err != nil {
		return nil, err
	}
	return p, p.addCallers(mgr)
}

// addProver adds what tries handshakes.
func (p *parts) addProver(mgr manager.Manager) error {
	if p.config.options.ProbePeriod == 0 {
		return nil
	}
	p.prover = proving.New(proving.Config{
		Period:      p.config.options.ProbePeriod,
		TrustDomain: p.config.settings.TrustDomain(),
		Addresses:   p.addresses(),
		Clock:       p.clock,
		Changed:     p.changes.Touch,
		Tried:       p.counters.Probed,
	})
	if err := mgr.Add(p.prover); err != nil {
		return fmt.Errorf("adding the prober: %w", err)
	}
	return nil
}

// addCallers adds what counts who comes with a certificate.
func (p *parts) addCallers(mgr manager.Manager) error {
	if p.config.options.CountPeriod == 0 {
		return nil
	}
	own := func(string, uint32) handshakes.Own { return handshakes.Own{} }
	if p.prover != nil {
		own = func(replica string, port uint32) handshakes.Own {
			return handshakes.Own(p.prover.Passed(replica, port))
		}
	}
	p.callers = handshakes.New(handshakes.Config{
		Period: p.config.options.CountPeriod, Window: p.config.options.CountWindow,
		Dialable: p.addresses().Check, Own: own, Clock: p.clock, Changed: p.changes.Touch,
	})
	if err := mgr.Add(p.callers); err != nil {
		return fmt.Errorf("adding the count of callers: %w", err)
	}
	return nil
}

// addresses says where the agent dials.
func (p *parts) addresses() proving.Addresses {
	return proving.Addresses{Local: p.config.options.ProbeLocal, APIServer: proving.APIServerAddresses(p.config.cluster.Host)}
}

func (p *parts) addControllers(mgr manager.Manager, capabilities *capability.Source) error {
	spent := budget.New(p.config.options.IssuedPerMinute)
	headers := apirule.NewHeaders(mgr.GetClient(), p.config.settings)
	programmer := &programming.Programmer{
		Cluster: p.store, Edge: p.edge, Prover: p.prover, Callers: p.callers, Budget: spent, Headers: headers, Synced: p.synced, Install: p.config.settings,
		Capabilities: func() mutate.Capabilities {
			known, _ := capabilities.Capabilities() // read before anything was started, and kept
			return known
		},
	}
	bell := authority.NewBell()
	var proofs authority.Proofs
	if p.prover != nil {
		proofs = p.prover
	}
	recorder, trustDomain := mgr.GetEventRecorder(recorderName), p.config.settings.TrustDomain()
	cas := mounted.New(p.config.options.CADirectories, p.clock)
	if err := cas.Add(mgr); err != nil {
		return err
	}
	account := types.NamespacedName{Namespace: p.config.options.Namespace, Name: serviceAccount}
	policies := p.policies(mgr)
	add := []interface {
		SetupWithManager(mgr manager.Manager) error
	}{
		&authority.Reconciler{
			Cluster: p.store, Mounted: cas, ServiceAccount: account, TrustDomain: trustDomain, Clock: p.clock, Recorder: recorder, Counters: p.counters, Bell: bell,
			Proofs: proofs, LookEvery: max(p.config.options.ProbePeriod, time.Second),
		},
		&clientcertificate.Reconciler{
			Cluster: p.store, TrustDomain: trustDomain, Clock: p.clock, Recorder: recorder, Counters: p.counters, Bell: bell,
			Budget: spent, ServiceAccount: account,
		},
		&servingcertificate.Reconciler{Cluster: p.store, Lifetimes: p.config.options.Webhook, Dial: probe.ServedLeaf, Clock: p.clock, Recorder: recorder},
		policies,
		&gateway.Reconciler{
			Cluster: p.store, Programmer: programmer, Interests: programming.NewInterests(), Changes: p.changes, Install: p.config.settings,
			Clock: p.clock, Recorder: recorder, Counters: p.counters,
		},
	}
	for _, controller := range add {
		if err := controller.SetupWithManager(mgr); err != nil {
			return fmt.Errorf("adding controller %T: %w", controller, err)
		}
	}
	rules := &apirule.Reconciler{
		Cluster: p.store, Programmer: programmer, Interests: programming.NewInterests(), Changes: p.changes, Headers: headers, Install: p.config.settings,
		Clock: p.clock, Recorder: recorder, Counters: p.counters,
	}
	served := func(mgr manager.Manager) error {
		if err := rules.SetupWithManager(mgr); err != nil {
			return err
		}
		return policies.WatchAPIRules(mgr)
	}
	return mgr.Add(&whenServed{mgr: mgr, clock: p.clock, add: served, absent: headers.None})
}

// policies is the controller of MutualTLSPolicies.
func (p *parts) policies(mgr manager.Manager) *policy.Reconciler {
	policies := &policy.Reconciler{
		Client: mgr.GetClient(), Edge: p.edge, Synced: p.synced, Moved: p.changes.Moved(), OptsIn: p.config.options.PolicyOptIn, Clock: p.clock, Recorder: mgr.GetEventRecorder(recorderName),
	}
	if named, is := p.config.settings.DefaultAuthority(); is {
		policies.DefaultAuthority = named.String()
	}
	return policies
}

// whenServed adds the controller of APIRules once the API server knows them: a
// cluster may have Istio and no Kyma, and may get Kyma later.
type whenServed struct {
	mgr   manager.Manager
	clock clock.WithTicker
	add   func(manager.Manager) error
	// absent is called when it turns out that there are none.
	absent func()
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
			w.absent()
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
