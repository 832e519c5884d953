package gateway

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/condition"
	"sallyport.dev/sallyport/internal/controller/pass"
	"sallyport.dev/sallyport/internal/endpoint"
	"sallyport.dev/sallyport/internal/programming"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/mutate"
)

// release goes on serving a Gateway that no longer asks, as long as it names our
// Secrets: taking them away would be an outage that nobody asked for.
func (r *Reconciler) release(ctx context.Context, gateway *unstructured.Unstructured, now time.Time) (reconcile.Result, error) {
	request := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: gateway.GetNamespace(), Name: gateway.GetName()}}
	last := &v1alpha1.MutualTLSEndpoint{}
	if err := r.Cluster.Client().Get(ctx, endpoint.Key(intent.KindGateway, gateway), last); apierrors.IsNotFound(err) {
		return r.collect(ctx, gateway, now)
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading the endpoint of Gateway %s: %w", request, err)
	}
	if !names(gateway, last) {
		r.Interests.Forget(request)
		r.Programmer.Forget(endpoint.Key(intent.KindGateway, gateway))
		if err := endpoint.Delete(ctx, r.Cluster.Client(), intent.KindGateway, gateway); err != nil {
			return reconcile.Result{}, err
		}
		return r.collect(ctx, gateway, now)
	}
	in, ok := r.formerIntent(gateway, last, nil)
	if !ok {
		return reconcile.Result{}, nil
	}
	return r.put(ctx, request, gateway, programming.Target{Intent: in}, now, condition.True(v1alpha1.ConditionReleased, v1alpha1.ReasonStillNamed,
		"the Gateway no longer asks for mutual TLS and still names the Secrets that were made for it: they are renewed until it names others"))
}

// names reports whether the Gateway refers to a Secret of its endpoint.
func names(gateway *unstructured.Unstructured, last *v1alpha1.MutualTLSEndpoint) bool {
	server, _ := mutate.Secrets(gateway.Object)
	for _, s := range last.Status.Secrets {
		if server != "" && s.Server == server {
			return true
		}
	}
	return false
}

// formerIntent is what the Gateway asked for last, as far as its endpoint tells, and those of some annotations that can be read.
func (r *Reconciler) formerIntent(gateway *unstructured.Unstructured, last *v1alpha1.MutualTLSEndpoint, annotations map[string]string) (intent.Intent, bool) {
	described := programming.Described(intent.KindGateway, gateway)
	described.Annotations, described.Labels = map[string]string{intent.KeyMode: string(intent.ModeMutual)}, nil
	if last.Status.Mode == v1alpha1.ModeOptional {
		described.Annotations[intent.KeyMode] = string(intent.ModeOptional)
	}
	if server, ca := mutate.Secrets(gateway.Object); ca != intent.CASecretFor(server) {
		described.Annotations[intent.KeyServerCertificate] = "provided" // what verifies callers stands apart
	}
	var authorities []string
	for _, a := range last.Status.Authorities {
		authorities = append(authorities, a.Namespace+"/"+a.Name)
	}
	if len(authorities) > 0 {
		described.Annotations[intent.KeyAuthorities] = strings.Join(authorities, ",")
	}
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		described.Annotations[key] = annotations[key]
		if _, readable := intent.Parse(described, r.Install.Platform()).Intent(); !readable {
			delete(described.Annotations, key)
		}
	}
	return intent.Parse(described, r.Install.Platform()).Intent()
}

// legible are the annotations that say what a Gateway and its server certificate are like. They go on to hold, each that can be
// read, where another cannot: a certificate of another life or key would be issued for want of them.
func legible(gateway *unstructured.Unstructured) map[string]string {
	kept := map[string]string{}
	for _, key := range []string{intent.KeyAllowedClients, intent.KeyMinTLS, intent.KeyKeyAlgorithm, intent.KeyCertificateLifetime} {
		if value, stated := gateway.GetAnnotations()[key]; stated {
			kept[key] = value
		}
	}
	return kept
}

// collectAfter is how long such a Secret stays: a Gateway that is deleted and made
// again by a pipeline finds it.
const collectAfter = 10 * time.Minute

// collect removes the Secrets that were made for a Gateway which does not ask for
// them, once neither it nor any other names them. An agent that has not heard of all Gateways cannot tell.
func (r *Reconciler) collect(ctx context.Context, gateway *unstructured.Unstructured, now time.Time) (reconcile.Result, error) {
	if !r.Programmer.Synced() {
		return reconcile.Result{RequeueAfter: programming.WaitingDelay}, nil
	}
	server, ca := mutate.Secrets(gateway.Object)
	wait, err := r.collectBut(ctx, gateway, nil, func(name string) bool { return server != "" && (name == server || name == ca) }, now)
	if err != nil {
		return pass.Again(err)
	}
	return reconcile.Result{RequeueAfter: wait}, nil
}

// collectManaged removes the Secrets that a Gateway of an APIRule named before. What its APIRule has served is not among them, also
// while somebody has the Gateway name others.
func (r *Reconciler) collectManaged(ctx context.Context, gateway *unstructured.Unstructured, now time.Time) (reconcile.Result, error) {
	rule, ours := cluster.OwnerOf(gateway)
	if !ours || rule.Kind != string(intent.KindAPIRule) {
		return reconcile.Result{}, nil
	}
	if !r.Programmer.Synced() {
		return reconcile.Result{RequeueAfter: programming.WaitingDelay}, nil
	}
	served := &v1alpha1.MutualTLSEndpoint{}
	key := types.NamespacedName{Namespace: rule.Namespace, Name: intent.EndpointName(intent.KindAPIRule, rule.Name)}
	if err := r.Cluster.Client().Get(ctx, key, served); apierrors.IsNotFound(err) || err == nil && len(served.Status.Secrets) == 0 {
		return reconcile.Result{RequeueAfter: collectAfter}, nil // nothing is told of it yet
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading MutualTLSEndpoint %s: %w", key, err)
	}
	var names []string
	for _, s := range served.Status.Secrets {
		names = append(names, s.Server, s.CA)
	}
	wait, err := r.collectFormer(ctx, gateway, names, now)
	if err != nil {
		return pass.Again(err)
	}
	result := reconcile.Result{RequeueAfter: wait}
	if server, ca := mutate.Secrets(gateway.Object); slices.ContainsFunc(names, func(name string) bool { return name != server && name != ca }) {
		result = pass.Sooner(result, collectAfter) // no event shows when what is told of it changes
	}
	return result, nil
}

// collectFormer removes the Secrets that a Gateway named before, once no other names them either: another credentialName would leave a
// key behind, and CAs that nobody keeps current. Served are names that are current beside those that it has.
func (r *Reconciler) collectFormer(ctx context.Context, gateway *unstructured.Unstructured, served []string, now time.Time) (time.Duration, error) {
	namespace, name := gateway.GetNamespace(), gateway.GetName()
	server, ca := mutate.Secrets(gateway.Object)
	if server == "" {
		server, ca = intent.ServerSecretName(namespace, name), intent.CASecretName(namespace, name)
	}
	current := append([]string{server, ca, intent.AdoptedSecretName(namespace, name)}, served...)
	return r.collectBut(ctx, gateway, current, func(secret string) bool { // another of its servers may name it, as it should not
		_, named := r.Programmer.Edge.NamedByOther(secret, types.NamespacedName{})
		return named
	}, now)
}

// collectBut removes the Secrets that were made for a Gateway, but those that are current, unless it or another names them. It returns
// when to look again.
func (r *Reconciler) collectBut(ctx context.Context, gateway *unstructured.Unstructured, current []string, named func(string) bool, now time.Time) (time.Duration, error) {
	owner := programming.OwnerOf(gateway.Object)
	secrets, err := r.Cluster.EdgeSecretsOf(ctx, owner, r.Install.IngressNamespaces())
	if err != nil {
		return 0, err
	}
	next := time.Duration(0)
	for _, secret := range secrets {
		if slices.Contains(current, secret.Name) {
			if _, marked := secret.Annotations[cluster.UnreferencedSince]; marked { // its time begins anew if it is left again
				if err := r.Cluster.Annotate(ctx, secret, cluster.UnreferencedSince, ""); err != nil {
					return 0, err
				}
			}
			continue
		}
		isNamed := named(secret.Name)
		if !isNamed {
			_, isNamed = r.Programmer.Edge.NamedByOther(secret.Name, types.NamespacedName{Namespace: owner.Namespace, Name: owner.Name})
		}
		wait, err := r.collectOne(ctx, secret, isNamed, now)
		if err != nil {
			return 0, err
		}
		if wait > 0 && (next == 0 || wait < next) {
			next = wait
		}
	}
	return next, nil
}

// collectOne deletes a Secret that nothing names and whose time is over, and returns the time left for
// one whose is not.
func (r *Reconciler) collectOne(ctx context.Context, secret *corev1.Secret, named bool, now time.Time) (time.Duration, error) {
	if named {
		if _, marked := secret.Annotations[cluster.UnreferencedSince]; marked {
			return collectAfter, r.Cluster.Annotate(ctx, secret, cluster.UnreferencedSince, "")
		}
		return collectAfter, nil
	}
	since, err := time.Parse(time.RFC3339, secret.Annotations[cluster.UnreferencedSince])
	if err != nil { // not marked yet, or by somebody else in another form
		return collectAfter, r.Cluster.Annotate(ctx, secret, cluster.UnreferencedSince, now.UTC().Format(time.RFC3339))
	}
	if left := since.Add(collectAfter).Sub(now); left > 0 {
		return left, nil
	}
	return 0, r.Cluster.DeleteSecret(ctx, secret)
}
