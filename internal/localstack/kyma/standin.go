package kyma

import (
	"context"
	_ "embed" // the CRD
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// CRD is the CustomResourceDefinition of APIRules, in YAML.
//
//go:embed apirules.yaml
var CRD string

var (
	ruleGVK    = schema.GroupVersionKind{Group: "gateway.kyma-project.io", Version: "v2", Kind: "APIRule"}
	gatewayGVK = schema.GroupVersionKind{Group: "networking.istio.io", Version: "v1", Kind: "Gateway"}
	serviceGVK = schema.GroupVersionKind{Group: "networking.istio.io", Version: "v1", Kind: "VirtualService"}
)

// The operator's retries: from one second, doubling, to a thousand.
const (
	firstRetry = time.Second
	lastRetry  = 1000 * time.Second
)

// ruleLabel marks a VirtualService with the APIRule it was made for.
const ruleLabel = "apirule.gateway.kyma-project.io/v1beta1"

// StandIn plays the operator's part.
type StandIn struct {
	client client.Client
}

// Run plays the operator's part until the context ends.
func Run(ctx context.Context, c *rest.Config) error {
	skip := true // several stand-ins may live in one process, one for each stack
	mgr, err := ctrl.NewManager(c, ctrl.Options{
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Client:     client.Options{Cache: &client.CacheOptions{Unstructured: false}},
		Controller: config.Controller{SkipNameValidation: &skip},
	})
	if err != nil {
		return fmt.Errorf("starting the stand-in for Kyma's operator: %w", err)
	}
	s := &StandIn{client: mgr.GetClient()}
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, lastRetry)
	err = ctrl.NewControllerManagedBy(mgr).
		Named("kyma-stand-in").
		For(object(ruleGVK), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{RateLimiter: limiter}).
		Complete(s)
	if err != nil {
		return fmt.Errorf("starting the stand-in for Kyma's operator: %w", err)
	}
	return mgr.Start(ctx)
}

func object(gvk schema.GroupVersionKind) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(gvk)
	return u
}

// Reconcile makes the VirtualService of one APIRule.
func (s *StandIn) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	u := object(ruleGVK)
	if err := s.client.Get(ctx, request.NamespacedName, u); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	r := ruleFrom(u)
	problem, err := s.expose(ctx, r)
	if err != nil {
		return reconcile.Result{}, err
	}
	if err := s.tell(ctx, u, problem); err != nil {
		return reconcile.Result{}, err
	}
	if problem != "" {
		return reconcile.Result{}, fmt.Errorf("APIRule %s: %s", request, problem) // the queue's delay is the operator's
	}
	return reconcile.Result{}, nil
}

// expose writes the VirtualService; the problem is for the APIRule's status.
func (s *StandIn) expose(ctx context.Context, r rule) (problem string, err error) {
	if r.gateway == "" {
		return "Gateway not specified", nil
	}
	namespace, name := r.gatewayRef()
	gateway := object(gatewayGVK)
	if err := s.client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, gateway); apierrors.IsNotFound(err) {
		return "Could not get specified Gateway", nil
	} else if err != nil {
		return "", fmt.Errorf("reading Gateway %s/%s: %w", namespace, name, err)
	}
	host, err := r.fullHost(gateway)
	if err != nil {
		return err.Error(), nil //nolint:nilerr // it is told in the status
	}
	all := &unstructured.UnstructuredList{}
	all.SetGroupVersionKind(serviceGVK.GroupVersion().WithKind("VirtualServiceList"))
	if err := s.client.List(ctx, all); err != nil {
		return "", fmt.Errorf("listing VirtualServices: %w", err)
	}
	var own *unstructured.Unstructured
	for i := range all.Items {
		if all.Items[i].GetLabels()[ruleLabel] == r.label() {
			own = &all.Items[i]
			continue
		}
		if hosts, _, _ := unstructured.NestedStringSlice(all.Items[i].Object, "spec", "hosts"); len(hosts) > 0 && hosts[0] == host {
			return fmt.Sprintf("host %s is occupied by another VirtualService", host), nil
		}
	}
	return "", s.write(ctx, r, own, r.spec(host))
}

func (r rule) label() string { return r.name + "." + r.namespace }

func (s *StandIn) write(ctx context.Context, r rule, own *unstructured.Unstructured, spec map[string]any) error {
	if own != nil {
		own.Object["spec"] = spec
		if err := s.client.Update(ctx, own); err != nil {
			return fmt.Errorf("updating VirtualService: %w", err)
		}
		return nil
	}
	made := object(serviceGVK)
	made.SetNamespace(r.namespace)
	made.SetGenerateName(r.name + "-")
	made.SetLabels(map[string]string{ruleLabel: r.label()})
	made.Object["spec"] = spec
	if err := s.client.Create(ctx, made); err != nil {
		return fmt.Errorf("creating VirtualService: %w", err)
	}
	return nil
}

// tell writes the status in the forms of all versions.
func (s *StandIn) tell(ctx context.Context, u *unstructured.Unstructured, problem string) error {
	state, code := "Ready", "OK"
	if problem != "" {
		state, code = "Error", "ERROR"
	}
	u.Object["status"] = map[string]any{"state": state, "description": problem, "APIRuleStatus": map[string]any{"code": code, "desc": problem}}
	if err := s.client.Status().Update(ctx, u); err != nil {
		return fmt.Errorf("writing status of APIRule %s/%s: %w", u.GetNamespace(), u.GetName(), err)
	}
	return nil
}
