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
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/condition"
	"sallyport.dev/sallyport/internal/controller/pass"
	"sallyport.dev/sallyport/internal/endpoint"
	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/internal/programming"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/mutate"
)

// follow tells how the Gateway stands that an APIRule names. One that exists and is
// not mutual any more is left for a managed one: the APIRule asked never to be
// reachable without a certificate, its Gateway's owner did not.
func (r *Reconciler) follow(ctx context.Context, request reconcile.Request, rule *unstructured.Unstructured, in intent.Intent, gateway types.NamespacedName, now time.Time) (reconcile.Result, error) {
	r.forget(request)
	stored := ingress.NewGatewayObject()
	if err := r.Cluster.Client().Get(ctx, gateway, stored); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("reading Gateway %s: %w", gateway, err)
	} else if err != nil {
		return reconcile.Result{}, r.pending(ctx, rule, v1alpha1.ReasonGatewayNotFound, fmt.Sprintf("Gateway %s does not exist yet", gateway), now)
	}
	theirs, asked := intent.Parse(programming.Described(intent.KindGateway, stored), r.Install.Platform()).Intent()
	weaker := asked && in.Mode() == intent.ModeMutual && theirs.Mode() == intent.ModeOptional
	if !asked || weaker || len(mutate.Mutual(stored.Object, theirs, r.Programmer.Capabilities())) > 0 {
		return r.leave(ctx, rule, in, gateway, now)
	}
	if refusal, refused := r.judge(rule, stored); refused {
		return reconcile.Result{}, r.refuse(ctx, rule, v1alpha1.ReasonInvalid, refusal, now)
	}
	last := &v1alpha1.MutualTLSEndpoint{}
	key := types.NamespacedName{Namespace: gateway.Namespace, Name: intent.EndpointName(intent.KindGateway, gateway.Name)}
	if err := r.Cluster.Client().Get(ctx, key, last); apierrors.IsNotFound(err) {
		return reconcile.Result{}, r.pending(ctx, rule, v1alpha1.ReasonPending, fmt.Sprintf("Gateway %s is not programmed yet", gateway), now)
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading MutualTLSEndpoint %s: %w", key, err)
	}
	if differ, err := r.Headers.differ(ctx, gateway); err != nil {
		return reconcile.Result{}, err
	} else if differ {
		r.Changes.Touch(gateway)
	}
	status := *last.Status.DeepCopy()
	if err := endpoint.Write(ctx, r.Cluster.Client(), intent.KindAPIRule, rule, status, now); err != nil {
		return pass.Again(err)
	}
	return reconcile.Result{}, nil
}

// leave moves an APIRule away from a Gateway that is not mutual, or tells why not.
func (r *Reconciler) leave(ctx context.Context, rule *unstructured.Unstructured, in intent.Intent, gateway types.NamespacedName, now time.Time) (reconcile.Result, error) {
	moved, err := r.move(ctx, rule, v1alpha1.ReasonMovedToManagedGateway, now)
	if err != nil || moved {
		return pass.Again(err)
	}
	if contest, again, fought := r.moves.Contest(client.ObjectKeyFromObject(rule), movesOf, now); fought {
		return pass.At(again, now), r.pending(ctx, rule, v1alpha1.ReasonNotMutual, fmt.Sprintf("Gateway %s is not mutual", gateway), now, contest)
	}
	return reconcile.Result{}, r.pending(ctx, rule, v1alpha1.ReasonNotMutual, fmt.Sprintf(
		"Gateway %s is not mutual, and this APIRule cannot be moved to a managed one: annotate the Gateway with %s: %s", gateway, intent.KeyMode, in.Mode()), now)
}

// judge says in the webhook's words why an APIRule should not have been stored with the
// Gateway it names: no admission policy can look that up, so with the webhook away
// nobody has. The Gateway is mutual by now, and what the APIRule says of callers or
// versions is not in force on it.
func (r *Reconciler) judge(rule, gateway *unstructured.Unstructured) (string, bool) {
	d := mutate.APIRule(mutate.Request{Object: rule.Object, Platform: r.Install.Platform(), Edge: onlyGateway{gateway}, Capabilities: r.Programmer.Capabilities()})
	return d.Message, d.Verdict == mutate.Denied
}

// onlyGateway is an Edge with one Gateway.
type onlyGateway struct{ stored *unstructured.Unstructured }

// Gateway implements mutate.Edge.
func (e onlyGateway) Gateway(namespace, name string) (map[string]any, bool) {
	return e.stored.Object, e.stored.GetNamespace() == namespace && e.stored.GetName() == name
}

// Conflicts implements mutate.Edge; hosts are the Gateway's business.
func (onlyGateway) Conflicts(map[string]any) []mutate.Conflict { return nil }

// pending tells that an APIRule is asked for rightly and not served yet.
func (r *Reconciler) pending(ctx context.Context, rule *unstructured.Unstructured, reason, message string, now time.Time, told ...metav1.Condition) error {
	status := v1alpha1.MutualTLSEndpointStatus{Conditions: told}
	status.Conditions = append(status.Conditions,
		condition.True(v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted, "the annotations are well-formed and supported"),
		condition.False(v1alpha1.ConditionProgrammed, reason, message),
		condition.False(v1alpha1.ConditionReady, reason, message))
	return endpoint.Write(ctx, r.Cluster.Client(), intent.KindAPIRule, rule, status, now)
}

// move makes an APIRule name its managed Gateway, as the webhook would have; false
// if it cannot have one, or if somebody keeps writing it back and it is not its turn yet.
func (r *Reconciler) move(ctx context.Context, rule *unstructured.Unstructured, reason string, now time.Time) (bool, error) {
	without := rule.DeepCopy()
	unstructured.RemoveNestedField(without.Object, "spec", "gateway")
	d := mutate.APIRule(mutate.Request{Object: without.Object, Platform: r.Install.Platform(), Capabilities: r.Programmer.Capabilities()})
	if d.Verdict != mutate.Patched {
		return false, nil
	}
	key, version := client.ObjectKeyFromObject(rule), rule.GetResourceVersion()
	if r.moves.Behind(rule, now) {
		return false, behind("apirules", rule.GetName())
	}
	if !r.moves.May(key, "", now) {
		return false, nil
	}
	// An add to an existing member replaces it (RFC 6902 section 4.1).
	if err := r.Cluster.Patch(ctx, rule, d.Operations); err != nil {
		return false, err
	}
	r.moves.Note(key, version, "", now)
	r.Recorder.Eventf(rule, nil, corev1.EventTypeWarning, reason, "MoveToManagedGateway", "%s", d.Warnings[0])
	return true, nil
}

// release lets go of an APIRule that no longer asks. Its managed Gateway stays, and
// stays served, as long as the APIRule names it.
func (r *Reconciler) release(ctx context.Context, request reconcile.Request, rule *unstructured.Unstructured, now time.Time) (reconcile.Result, error) {
	r.forgetRepairs(request)
	stored, named, err := r.managed(ctx, rule)
	if err != nil {
		return reconcile.Result{}, err
	}
	if stored == nil || !named {
		r.forget(request)
		if err := endpoint.Delete(ctx, r.Cluster.Client(), intent.KindAPIRule, rule); err != nil || stored == nil {
			return reconcile.Result{}, err
		}
		return reconcile.Result{}, r.Cluster.DeleteGateway(ctx, stored)
	}
	in, ok := intent.Parse(programming.Described(intent.KindGateway, stored), r.Install.Platform()).Intent()
	if !ok {
		return reconcile.Result{}, nil
	}
	return r.put(ctx, request, rule, programming.Target{Gateway: stored.Object, Intent: in}, now, condition.True(v1alpha1.ConditionReleased, v1alpha1.ReasonStillNamed,
		"the APIRule no longer asks for mutual TLS and still names the Gateway that was made for it: it is served until the APIRule names another"))
}

// keep tells what is wrong with the annotations of an APIRule. The managed Gateway that it names is kept current as it is: the CA
// that is compromised goes, its CRLs and its certificate are renewed, and nobody is let in who was not before.
func (r *Reconciler) keep(ctx context.Context, request reconcile.Request, rule *unstructured.Unstructured, message string, now time.Time) (reconcile.Result, error) {
	stored, named, err := r.managed(ctx, rule)
	if err != nil {
		return reconcile.Result{}, err
	}
	if named {
		if in, ok := intent.Parse(programming.Described(intent.KindGateway, stored), r.Install.Platform()).Intent(); ok {
			return r.put(ctx, request, rule, programming.Target{Gateway: stored.Object, Intent: in, Kept: true}, now, refused(v1alpha1.ReasonInvalidAnnotations, message)...)
		}
	}
	return reconcile.Result{}, r.refuse(ctx, rule, v1alpha1.ReasonInvalidAnnotations, message, now)
}

// managed is the Gateway that was made for an APIRule, nil if there is none, and whether the APIRule names it.
func (r *Reconciler) managed(ctx context.Context, rule *unstructured.Unstructured) (stored *unstructured.Unstructured, named bool, err error) {
	managed, err := intent.ManagedGatewayName(rule.GetName())
	if err != nil {
		return nil, false, nil //nolint:nilerr // none can have been made for it
	}
	key := types.NamespacedName{Namespace: rule.GetNamespace(), Name: managed}
	owner := intent.Owner{Kind: string(intent.KindAPIRule), Namespace: rule.GetNamespace(), Name: rule.GetName(), UID: string(rule.GetUID())}
	stored, ours, err := r.Cluster.ManagedGateway(ctx, key, owner)
	if err != nil || !ours {
		return nil, false, err
	}
	namespace, name, is := mutate.GatewayOf(rule.Object)
	return stored, is && namespace == key.Namespace && name == key.Name, nil
}
