package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	toolscache "k8s.io/client-go/tools/cache"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/guard"
	"sallyport.dev/sallyport/internal/intact"
	"sallyport.dev/sallyport/internal/listener"
	"sallyport.dev/sallyport/internal/metrics"
	"sallyport.dev/sallyport/internal/proving"
	"sallyport.dev/sallyport/internal/startup"
)

// scrapeWithin bounds one scrape: Prometheus gives up after ten seconds.
const scrapeWithin = 10 * time.Second

// addMetrics opens the port for scrapes and the kubelet, and has the manager serve it from
// its start, on every replica. The prover is nil if nothing is tried.
func addMetrics(ctx context.Context, mgr manager.Manager, config Config, counters *metrics.Counters, ledgers metrics.Ledgers, prover *proving.Prover, c clock.WithTicker) error {
	sources := metrics.Sources{Ledgers: ledgers}
	for object, store := range map[client.Object]*metrics.Store{
		&v1alpha1.MutualTLSEndpoint{}:    &sources.Endpoints,
		&v1alpha1.ClientCertificate{}:    &sources.Clients,
		&v1alpha1.CertificateAuthority{}: &sources.Authorities,
		&v1alpha1.MutualTLSPolicy{}:      &sources.Policies,
	} {
		var err error
		if *store, err = cached(ctx, mgr.GetCache(), object); err != nil {
			return err
		}
	}
	if prover != nil {
		sources.Proofs = prover.Snapshot
	}
	objects, err := admission(ctx, mgr.GetCache(), config.options)
	if err != nil {
		return err
	}
	if objects != nil {
		log := mgr.GetLogger()
		sources.Admission = func() []intact.Problem {
			problems, err := objects.Problems()
			if err != nil {
				log.Error(err, "comparing admission objects with what was installed")
			}
			return problems
		}
	}
	told, err := metrics.New(metrics.Config{
		Build: startup.ReadBuild(), Leads: func() bool { return leads(mgr) }, Counters: counters, Sources: sources,
		Libraries: ctrlmetrics.Registry, Clock: c,
	})
	if err != nil {
		return err
	}
	server, err := listen(ctx, mgr, config, told, c)
	if err != nil {
		return err
	}
	drain := listener.DrainWithin
	// The manager begins with its own kind of server, before the caches fill: the kubelet
	// must not wait for them.
	if err := mgr.Add(&manager.Server{Name: server.Name(), Server: server.HTTP, Listener: server.Listener, ShutdownTimeout: &drain}); err != nil {
		return errors.Join(fmt.Errorf("adding the listener for metrics: %w", err), server.Close())
	}
	return nil
}

func listen(ctx context.Context, mgr manager.Manager, config Config, told *metrics.Metrics, c clock.WithTicker) (*listener.Server, error) {
	log := mgr.GetLogger().WithName("metrics")
	settings := listener.Config{Name: "metrics", Address: config.options.MetricsAddress, WriteWithin: scrapeWithin, Log: logr.ToSlogHandler(log)}
	var let func(http.Handler) http.Handler
	if config.options.MetricsAuthentication {
		pair, err := selfSigned()
		if err != nil {
			return nil, err
		}
		settings.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
		let = guard.New(metrics.Path, mgr.GetClient(), c, log).Wrap
	}
	settings.Handler = told.Handler(let, log)
	return listener.Listen(ctx, settings)
}

// selfSigned is a certificate that nobody can verify, as controller-runtime has it: it
// keeps tokens from whoever listens on the way.
func selfSigned() (tls.Certificate, error) {
	certificate, key, err := certutil.GenerateSelfSignedCertKey("sallyport-agent", nil, nil)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a certificate for metrics: %w", err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a certificate for metrics: %w", err)
	}
	return pair, nil
}

// cached is what the cache holds of a kind, itself: a client's list would copy it all for
// each scrape.
func cached(ctx context.Context, from cache.Cache, object client.Object) (metrics.Store, error) {
	informer, err := from.GetInformer(ctx, object, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, fmt.Errorf("watching %T: %w", object, err)
	}
	shared, ok := informer.(toolscache.SharedInformer)
	if !ok {
		return nil, fmt.Errorf("watching %T: the informer is a %T, which shows no store", object, informer)
	}
	return shared.GetStore(), nil
}

// leads reports whether this replica holds the lease, or needs none.
func leads(mgr manager.Manager) bool {
	select {
	case <-mgr.Elected():
		return true
	default:
		return false
	}
}
