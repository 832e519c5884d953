package apirule

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
	"sallyport.dev/sallyport/internal/install"
	"sallyport.dev/sallyport/internal/metrics"
	"sallyport.dev/sallyport/internal/programming"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/mutate"
)

// Reconciler reconciles APIRules.
type Reconciler struct {
	// Cluster is where managed Gateways are.
	Cluster *cluster.Cluster
	// Programmer puts Secrets behind them.
	Programmer *programming.Programmer
	// Interests remember which authority each APIRule waits for.
	Interests *programming.Interests
	// Changes tell of Gateways that something else touched.
	Changes *programming.Changes
	// Headers are told when they may know.
	Headers *Headers
	// Install are the platform's settings.
	Install install.Settings
	// Clock is read once in each pass.
	Clock clock.PassiveClock
	// Recorder takes one event for each pass that changed something.
	Recorder events.EventRecorder
	// Counters count what is issued and what is repaired.
	Counters *metrics.Counters

	// repairs are those of managed Gateways, moves those of what APIRules name.
	repairs, moves repairs.Repairs
}

// Reconcile brings one APIRule and what is behind it to what it asks for.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	now := r.Clock.Now()
	rule := NewObject()
	if err := r.Cluster.Client().Get(ctx, request.NamespacedName, rule); apierrors.IsNotFound(err) {
		r.forget(request)
		r.forgetRepairs(request)
		return reconcile.Result{}, nil // what it owned is collected with it
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading APIRule %s: %w", request, err)
	}
	if rule.GetDeletionTimestamp() != nil {
		return reconcile.Result{}, nil
	}
	answer := intent.Parse(programming.Described(intent.KindAPIRule, rule), r.Install.Platform())
	switch answer.State() {
	case intent.NotRequested, intent.Disabled:
		return r.release(ctx, request, rule, now)
	case intent.Invalid:
		return r.keep(ctx, request, rule, answer.Errors().ToAggregate().Error(), now)
	case intent.Requested:
	}
	in, _ := answer.Intent()
	return r.place(ctx, request, rule, in, now)
}

// forget drops what is remembered of an APIRule that has no Gateway of its own.
func (r *Reconciler) forget(request reconcile.Request) {
	r.Interests.Forget(request)
	r.Programmer.Forget(types.NamespacedName{Namespace: request.Namespace, Name: intent.EndpointName(intent.KindAPIRule, request.Name)})
}

// forgetRepairs drops what is remembered of what was put right of an APIRule that is no more, or asks no more.
func (r *Reconciler) forgetRepairs(request reconcile.Request) {
	r.moves.Forget(request.NamespacedName)
	if managed, err := intent.ManagedGatewayName(request.Name); err == nil {
		r.repairs.Forget(types.NamespacedName{Namespace: request.Namespace, Name: managed})
	}
}

// place finds the Gateway of an APIRule: the managed one, or the one it names. One
// that was stored while no webhook answered is repaired first.
func (r *Reconciler) place(ctx context.Context, request reconcile.Request, rule *unstructured.Unstructured, in intent.Intent, now time.Time) (reconcile.Result, error) {
	managed, nameErr := intent.ManagedGatewayName(rule.GetName())
	namespace, name, named := mutate.GatewayOf(rule.Object)
	if named && (namespace != rule.GetNamespace() || name != managed) && (namespace != "kyma-system" || name != "kyma-gateway") {
		return r.follow(ctx, request, rule, in, types.NamespacedName{Namespace: namespace, Name: name}, now)
	}
	if nameErr != nil {
		return reconcile.Result{}, r.refuse(ctx, rule, v1alpha1.ReasonInvalid, nameErr.Error(), now)
	}
	if !named || name != managed {
		moved, err := r.move(ctx, rule, "Repaired", now)
		if moved {
			r.Counters.Repaired(v1alpha1.ObjectAPIRule)
		}
		if err != nil || moved {
			return pass.Again(err)
		}
	}
	return r.serve(ctx, request, rule, in, now)
}

// refusedDelay is how often a Gateway is tried that an admission policy refused: the policy may change.
const refusedDelay = 15 * time.Second

// serve keeps the managed Gateway and what is behind it.
func (r *Reconciler) serve(ctx context.Context, request reconcile.Request, rule *unstructured.Unstructured, in intent.Intent, now time.Time) (reconcile.Result, error) {
	owner := intent.Owner{Kind: string(intent.KindAPIRule), Namespace: rule.GetNamespace(), Name: rule.GetName(), UID: string(rule.GetUID())}
	wanted := mutate.ManagedGateway(rule.Object, in, r.Install.Ingresses()[0].Selector, r.copied(rule), owner, r.Programmer.Capabilities())
	outcome, gateway, otherwise, err := r.writeGateway(ctx, wanted, owner, now)
	var told []metav1.Condition
	var wait time.Duration
	if cluster.RefusedByPolicy(err) {
		refused := fmt.Sprintf("%s. The Gateway of this APIRule has to meet the policy as well", err)
		stored, ours, readErr := r.Cluster.ManagedGateway(ctx, client.ObjectKeyFromObject(&unstructured.Unstructured{Object: wanted}), owner)
		if readErr != nil {
			return pass.Again(readErr)
		}
		if !ours {
			return reconcile.Result{RequeueAfter: refusedDelay}, r.refuse(ctx, rule, v1alpha1.ReasonGatewayRefused, refused, now)
		}
		// What is stored goes on being served, and its certificates being renewed.
		r.Recorder.Eventf(rule, stored, corev1.EventTypeWarning, v1alpha1.ReasonGatewayRefused, "WriteManagedGateway", "%.1024s", refused)
		outcome, gateway, err = cluster.Unchanged, stored, nil
		told, wait = asideOf(v1alpha1.ReasonGatewayRefused, refused), refusedDelay
	}
	if err != nil {
		return pass.Again(err)
	}
	if outcome == cluster.Foreign {
		return reconcile.Result{}, r.refuse(ctx, rule, v1alpha1.ReasonGatewayNotManaged, fmt.Sprintf(
			"Gateway %s/%s exists and was not made for this APIRule: rename one of the two, or name a Gateway in spec.gateway", gateway.GetNamespace(), gateway.GetName()), now)
	}
	if outcome == cluster.Created || outcome == cluster.Updated {
		r.Recorder.Eventf(rule, gateway, corev1.EventTypeNormal, "Gateway"+string(outcome), "WriteManagedGateway", "wrote Gateway %s/%s", gateway.GetNamespace(), gateway.GetName())
	}
	if wait == 0 {
		told, wait = r.fought(rule, gateway, otherwise, now)
	}
	result, err := r.put(ctx, request, rule, programming.Target{Gateway: gateway.Object, Intent: in}, now, told...)
	if err != nil {
		return reconcile.Result{}, err
	}
	return pass.Sooner(result, wait), nil
}

// put has the Secrets of a managed Gateway written and tells how its APIRule stands. Told is what is told beside that, or instead.
func (r *Reconciler) put(ctx context.Context, request reconcile.Request, rule *unstructured.Unstructured, t programming.Target, now time.Time, told ...metav1.Condition) (reconcile.Result, error) {
	t.Endpoint = endpoint.Key(intent.KindAPIRule, rule)
	concerned, err := r.Programmer.Concerned(ctx, t)
	if err != nil {
		return pass.Again(err)
	}
	r.Interests.Set(concerned, request)
	programmed, err := r.Programmer.Program(ctx, t, now)
	if err != nil {
		return pass.Again(err)
	}
	if programmed.Waiting {
		return reconcile.Result{RequeueAfter: programming.WaitingDelay}, nil
	}
	if programmed.Issued != "" {
		r.Counters.Issued(metrics.Server, programmed.Issued)
	}
	programmed.Announce(r.Recorder, rule)
	programmed.Status.Conditions = condition.Instead(programmed.Status.Conditions, told...)
	if err := endpoint.Write(ctx, r.Cluster.Client(), intent.KindAPIRule, rule, programmed.Status, now); err != nil {
		return pass.Again(err)
	}
	return pass.At(programmed.Next, now), nil
}

// copied are the annotations that the platform wants on managed Gateways, for DNS
// and certificate controllers.
func (r *Reconciler) copied(rule *unstructured.Unstructured) map[string]string {
	copied := map[string]string{}
	for key, value := range rule.GetAnnotations() {
		if r.Install.CopyAnnotations().Match(key) {
			copied[key] = value
		}
	}
	return copied
}

// refuse tells why nothing is done for an APIRule.
func (r *Reconciler) refuse(ctx context.Context, rule *unstructured.Unstructured, reason, message string, now time.Time) error {
	status := v1alpha1.MutualTLSEndpointStatus{Conditions: refused(reason, message)}
	return endpoint.Write(ctx, r.Cluster.Client(), intent.KindAPIRule, rule, status, now)
}

// refused says that an APIRule is not served as it is.
func refused(reason, message string) []metav1.Condition {
	return []metav1.Condition{condition.False(v1alpha1.ConditionAccepted, reason, message), condition.False(v1alpha1.ConditionReady, reason, message)}
}
