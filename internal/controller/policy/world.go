package policy

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/policy"
)

// Topology says where a Gateway lands.
type Topology interface {
	// Topology is the current picture of the ingresses.
	Topology() ingress.Topology
}

// newVirtualServiceObject is an empty VirtualService of the version that is read.
func newVirtualServiceObject() *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetAPIVersion("networking.istio.io/v1")
	u.SetKind("VirtualService")
	return u
}

// apiruleLabel is Kyma's mark on what its operator makes of an APIRule, <name>.<namespace>
// (kyma-project/api-gateway:internal/processing).
const apiruleLabel = "apirule.gateway.kyma-project.io/v1beta1"

// snapshot is everything that is stored, as far as findings speak of it.
func (r *Reconciler) snapshot(ctx context.Context, stored []object) (*policy.Snapshot, error) {
	var w policy.World
	topology := r.Edge.Topology()
	for _, o := range stored {
		if o.Kind == intent.KindAPIRule {
			w.APIRules = append(w.APIRules, o.Object)
			continue
		}
		w.Gateways = append(w.Gateways, policy.Gateway{
			Object: o.Object, Created: o.stored.GetCreationTimestamp().Time, Places: places(topology, o.stored),
		})
	}
	services := &unstructured.UnstructuredList{}
	services.SetGroupVersionKind(newVirtualServiceObject().GroupVersionKind())
	if err := r.Client.List(ctx, services, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing every VirtualService: %w", err)
	}
	for i := range services.Items {
		u := &services.Items[i]
		spec, _ := u.Object["spec"].(map[string]any)
		rule, _ := strings.CutSuffix(u.GetLabels()[apiruleLabel], "."+u.GetNamespace())
		w.VirtualServices = append(w.VirtualServices, policy.VirtualService{Namespace: u.GetNamespace(), Name: u.GetName(), APIRule: rule, Spec: spec})
	}
	secrets := &corev1.SecretList{}
	if err := r.Client.List(ctx, secrets, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing the managed Secrets: %w", err)
	}
	for i := range secrets.Items {
		s := &secrets.Items[i]
		if owner, ours := cluster.OwnerOf(s); ours && owner.Kind == string(intent.KindGateway) {
			w.Secrets = append(w.Secrets, policy.Secret{Namespace: s.Namespace, Name: s.Name, GatewayNamespace: owner.Namespace, GatewayName: owner.Name})
		}
	}
	return policy.NewSnapshot(w), nil
}

// places are where each server of a Gateway lands.
func places(topology ingress.Topology, gateway client.Object) [][]policy.Place {
	u, ok := gateway.(*unstructured.Unstructured)
	if !ok {
		return nil
	}
	g := ingress.GatewayFrom(u.Object)
	ingresses := topology.Ingresses(g.Selector)
	found := make([][]policy.Place, len(g.Servers))
	for i, server := range g.Servers {
		for _, in := range ingresses {
			for _, target := range topology.TargetPorts(in.Name, g.Selector, server.Port) {
				found[i] = append(found[i], policy.Place{Ingress: in.Name, Namespace: in.Namespace, Port: target.String()})
			}
		}
	}
	return found
}
