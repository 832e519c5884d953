package gateway

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/condition"
	"sallyport.dev/sallyport/internal/controller/pass"
	"sallyport.dev/sallyport/internal/controller/repairs"
	"sallyport.dev/sallyport/internal/endpoint"
	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/internal/install"
	"sallyport.dev/sallyport/internal/metrics"
	"sallyport.dev/sallyport/internal/programming"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/mutate"
)

// Reconciler reconciles Gateways.
type Reconciler struct {
	// Cluster is where Gateways are repaired and Secrets are collected.
	Cluster *cluster.Cluster
	// Programmer puts Secrets behind them.
	Programmer *programming.Programmer
	// Interests remember which authority each Gateway waits for.
	Interests *programming.Interests
	// Changes tell of Gateways that something else touched.
	Changes *programming.Changes
	// Install are the platform's settings.
	Install install.Settings
	// Clock is read once in each pass.
	Clock clock.PassiveClock
	// Recorder takes one event for each pass that changed something.
	Recorder events.EventRecorder
	// Counters count what is issued and what is repaired.
	Counters *metrics.Counters

	repairs repairs.Repairs
}

// Reconcile brings one Gateway and what is behind it to what it asks for.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	now := r.Clock.Now()
	gateway := ingress.NewGatewayObject()
	if err := r.Cluster.Client().Get(ctx, request.NamespacedName, gateway); apierrors.IsNotFound(err) {
		r.Interests.Forget(request)
		r.Programmer.Forget(endpoint.Key(intent.KindGateway, gone(request.NamespacedName)))
		r.Programmer.Headers.Forget(request.NamespacedName)
		r.repairs.Forget(request.NamespacedName)
		return r.collect(ctx, gone(request.NamespacedName), now)
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading Gateway %s: %w", request, err)
	}
	if gateway.GetLabels()[intent.KeyManaged] == "true" {
		return r.collectManaged(ctx, gateway, now) // all else is its APIRule's
	}
	answer := intent.Parse(programming.Described(intent.KindGateway, gateway), r.Install.Platform())
	switch answer.State() {
	case intent.NotRequested, intent.Disabled:
		return r.release(ctx, gateway, now)
	case intent.Invalid:
		return r.keep(ctx, request, gateway, answer, now)
	case intent.Requested:
	}
	in, _ := answer.Intent()
	if repaired, err := r.repair(ctx, gateway, now); err != nil || repaired {
		return pass.Again(err)
	}
	return r.program(ctx, request, gateway, in, now)
}

// program has the Secrets written and tells how the Gateway stands.
func (r *Reconciler) program(ctx context.Context, request reconcile.Request, gateway *unstructured.Unstructured, in intent.Intent, now time.Time) (reconcile.Result, error) {
	contest, again, fought := r.repairs.Contest(request.NamespacedName, "this Gateway", now)
	if !fought {
		return r.put(ctx, request, gateway, programming.Target{Intent: in}, now)
	}
	result, err := r.put(ctx, request, gateway, programming.Target{Intent: in}, now, contest)
	if err != nil {
		return reconcile.Result{}, err
	}
	return pass.Sooner(result, pass.At(again, now).RequeueAfter), nil
}

// put has the Secrets of a target written and tells how it stands. Told is what is told beside that, or instead.
func (r *Reconciler) put(ctx context.Context, request reconcile.Request, gateway *unstructured.Unstructured, t programming.Target, now time.Time, told ...metav1.Condition) (reconcile.Result, error) {
	t.Gateway, t.Endpoint = gateway.Object, endpoint.Key(intent.KindGateway, gateway)
	concerned, err := r.Programmer.Concerned(ctx, t)
	if err != nil {
		return pass.Again(err)
	}
	r.Interests.Set(concerned, request)
	outcome, err := r.Programmer.Program(ctx, t, now)
	if err != nil {
		return pass.Again(err)
	}
	if outcome.Waiting {
		return reconcile.Result{RequeueAfter: programming.WaitingDelay}, nil
	}
	if outcome.Issued != "" {
		r.Counters.Issued(metrics.Server, outcome.Issued)
	}
	outcome.Announce(r.Recorder, gateway)
	outcome.Status.Conditions = condition.Instead(outcome.Status.Conditions, told...)
	if err := endpoint.Write(ctx, r.Cluster.Client(), intent.KindGateway, gateway, outcome.Status, now); err != nil {
		return pass.Again(err)
	}
	wait, err := r.collectFormer(ctx, gateway, nil, now)
	if err != nil {
		return pass.Again(err)
	}
	return pass.Sooner(pass.At(outcome.Next, now), wait), nil
}

// repair writes into a stored Gateway what the webhook would have written: it was
// stored before it opted in, or while no webhook answered. One that somebody keeps writing back stays as it is until its
// minute is over.
func (r *Reconciler) repair(ctx context.Context, gateway *unstructured.Unstructured, now time.Time) (bool, error) {
	d := mutate.Gateway(mutate.Request{Object: gateway.Object, Platform: r.Install.Platform(), Capabilities: r.Programmer.Capabilities()})
	if d.Verdict != mutate.Patched {
		return false, nil
	}
	key, version := client.ObjectKeyFromObject(gateway), gateway.GetResourceVersion()
	if r.repairs.Behind(gateway, now) {
		return true, nil // it was repaired just now
	}
	if !r.repairs.May(key, "", now) {
		return false, nil
	}
	if err := r.Cluster.Patch(ctx, gateway, d.Operations); err != nil {
		return false, err
	}
	r.repairs.Note(key, version, "", now)
	r.Counters.Repaired(v1alpha1.ObjectGateway)
	r.Recorder.Eventf(gateway, nil, corev1.EventTypeNormal, "Repaired", "Repair", "%s", d.Warnings[0])
	return true, nil
}

// keep tells what is wrong with the annotations of a stored Gateway. What it has by what it asked for before is kept current: the CA
// that is compromised goes, its CRLs and its certificate are renewed, and nobody is let in who was not before.
func (r *Reconciler) keep(ctx context.Context, request reconcile.Request, gateway *unstructured.Unstructured, answer intent.Answer, now time.Time) (reconcile.Result, error) {
	message := answer.Errors().ToAggregate().Error()
	last := &v1alpha1.MutualTLSEndpoint{}
	if err := r.Cluster.Client().Get(ctx, endpoint.Key(intent.KindGateway, gateway), last); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("reading the endpoint of Gateway %s: %w", request, err)
	}
	if names(gateway, last) {
		if in, ok := r.formerIntent(gateway, last, legible(gateway)); ok {
			return r.put(ctx, request, gateway, programming.Target{Intent: in, Kept: true}, now, invalid(message)...)
		}
	}
	return reconcile.Result{}, r.refuse(ctx, gateway, last, message, now)
}

// invalid says that the annotations of an object cannot be read.
func invalid(message string) []metav1.Condition {
	return []metav1.Condition{
		condition.False(v1alpha1.ConditionAccepted, v1alpha1.ReasonInvalidAnnotations, message),
		condition.False(v1alpha1.ConditionReady, v1alpha1.ReasonInvalidAnnotations, message),
	}
}

// refuse tells what is wrong with the annotations of a stored Gateway that has nothing yet.
func (r *Reconciler) refuse(ctx context.Context, gateway *unstructured.Unstructured, last *v1alpha1.MutualTLSEndpoint, message string, now time.Time) error {
	// What was made for it is known by this alone: it is not to be taken for something that nobody asked for.
	status := v1alpha1.MutualTLSEndpointStatus{
		Gateway: &v1alpha1.NamespacedReference{Namespace: gateway.GetNamespace(), Name: gateway.GetName()},
		Mode:    last.Status.Mode, Hosts: last.Status.Hosts, Authorities: last.Status.Authorities, Secrets: last.Status.Secrets,
		Conditions: invalid(message),
	}
	return endpoint.Write(ctx, r.Cluster.Client(), intent.KindGateway, gateway, status, now)
}

// gone stands for a Gateway that is no more.
func gone(key types.NamespacedName) *unstructured.Unstructured {
	gateway := ingress.NewGatewayObject()
	gateway.SetNamespace(key.Namespace)
	gateway.SetName(key.Name)
	return gateway
}
