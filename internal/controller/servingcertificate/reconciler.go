package servingcertificate

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/controller/pass"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// ConfigurationName is the MutatingWebhookConfiguration whose caBundle is kept.
const ConfigurationName = "sallyport"

// ServiceName is the Service that it names.
const ServiceName = "sallyport-webhook"

// Dial asks a server which leaf it serves for a name, in DER.
type Dial func(ctx context.Context, address, serverName string) ([]byte, error)

// Reconciler keeps the serving certificate.
type Reconciler struct {
	// Cluster is where the Secrets are.
	Cluster *cluster.Cluster
	// Lifetimes of what is kept.
	Lifetimes Lifetimes
	// Dial asks the replicas.
	Dial Dial
	// Clock is read once in each pass.
	Clock clock.PassiveClock
	// Recorder takes one event for each pass that changed something.
	Recorder events.EventRecorder
}

// Reconcile makes one pass: one action at most.
func (r *Reconciler) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	now := r.Clock.Now()
	s, err := r.gather(ctx, now)
	if err != nil {
		return reconcile.Result{}, err
	}
	d := decide(s.observed, r.Lifetimes, r.names(), now)
	if d.Action == "" {
		return pass.At(d.Next, now), nil
	}
	if err := r.take(ctx, s, d, now); err != nil {
		return pass.Again(fmt.Errorf("taking step %s: %w", d.Action, err))
	}
	r.announce(s, d)
	return reconcile.Result{RequeueAfter: time.Millisecond}, nil
}

func (r *Reconciler) names() []string {
	return []string{ServiceName + "." + r.Cluster.Namespace() + ".svc"}
}

// take executes one action.
func (r *Reconciler) take(ctx context.Context, s state, d decision, now time.Time) error {
	switch d.Action {
	case MakeCA:
		return r.makeCA(ctx, s, now)
	case WriteBundle:
		return r.writeBundle(ctx, s, now)
	case IssueLeaf:
		return r.issueLeaf(ctx, s, now)
	case DropPrevious:
		return r.writeCA(ctx, s, s.current, pki.Certificate{})
	}
	return nil
}

// makeCA makes a new CA, beside which the one before stays trusted.
func (r *Reconciler) makeCA(ctx context.Context, s state, now time.Time) error {
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		return err
	}
	id, err := key.ID()
	if err != nil {
		return err
	}
	next, err := pki.NewRoot(pki.RootRequest{CommonName: ServiceName + " " + id[:12], Key: key, Lifetime: r.Lifetimes.CA}, now)
	if err != nil {
		return err
	}
	return r.writeCA(ctx, s, next, s.outgoing())
}

func (r *Reconciler) issueLeaf(ctx context.Context, s state, now time.Time) error {
	trusted, err := pki.NewBundle([]pki.BundleEntry{{CA: s.current.Certificate()}}, now)
	if err != nil {
		return err
	}
	pair, err := rotate.MaterializeServer(rotate.SignerOf(s.current), trusted, r.names(), LeafSettings(r.Lifetimes), now)
	if err != nil {
		return err
	}
	return r.writeServing(ctx, s, pair)
}

// announce tells what a pass did, in one event.
func (r *Reconciler) announce(s state, d decision) {
	if s.configuration != nil {
		r.Recorder.Eventf(s.configuration, nil, corev1.EventTypeNormal, string(d.Reason), string(d.Action), "the webhook's serving certificate: %s", d.Action)
	}
}
