package sequence

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/policy"
)

// world is a Namespace with MutualTLSPolicies about it, and whoever writes there.
type world struct {
	namespace string
	labels    map[string]string
	policies  []policy.Policy
	objects   []client.Object
	// admin makes the world, and writer writes in it.
	admin, writer client.Client
	// warnings are what the API server said to the writer since they were last looked at.
	warnings []string
}

// HandleWarningHeaderWithContext takes one warning.
func (w *world) HandleWarningHeaderWithContext(_ context.Context, _ int, _, text string) {
	w.warnings = append(w.warnings, text)
}

// listen forgets what was said before.
func (w *world) listen() {
	if w != nil {
		w.warnings = nil
	}
}

// newWorld makes a world, and waits until the API server judges by it.
func newWorld(ctx context.Context, s Server, seed uint64) (*world, error) {
	p := &player{Rand: rand.New(rand.NewPCG(seed, 11))}
	w := &world{namespace: fmt.Sprintf("world-%d", seed), labels: map[string]string{"team": pick(p, "blue", "red")}, admin: s.Admin}
	if p.IntN(4) == 0 {
		w.labels[intent.LabelDefaultMode] = pick(p, "mutual", "optional")
	}
	config := rest.CopyConfig(s.Config)
	config.QPS, config.WarningHandlerWithContext = -1, w
	var err error
	if w.writer, err = client.New(config, client.Options{Mapper: s.Admin.RESTMapper()}); err != nil {
		return nil, err
	}
	namespace := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace"}}
	namespace.SetName(w.namespace)
	namespace.SetLabels(w.labels)
	if err := w.admin.Create(ctx, namespace); err != nil {
		return nil, err
	}
	for n := range 1 + p.IntN(4) {
		stored, err := w.add(ctx, p.policy(fmt.Sprintf("%s-%d", w.namespace, n), w.namespace))
		if err != nil {
			return nil, err
		}
		w.policies = append(w.policies, policy.New(stored, ""))
	}
	return w, w.awaitPolicies(ctx)
}

// add stores a policy with its status.
func (w *world) add(ctx context.Context, wanted *v1alpha1.MutualTLSPolicy) (*v1alpha1.MutualTLSPolicy, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(wanted)
	if err != nil {
		return nil, err
	}
	object := &unstructured.Unstructured{Object: content}
	status := content["status"]
	if err := w.admin.Create(ctx, object); err != nil {
		return nil, err
	}
	object.Object["status"] = status
	if err := w.admin.Status().Update(ctx, object); err != nil {
		return nil, err
	}
	w.objects = append(w.objects, object)
	stored := &v1alpha1.MutualTLSPolicy{}
	return stored, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, stored)
}

// awaitPolicies waits until the API server judges by what was stored: it learns of policies in their
// order, and denies the last.
func (w *world) awaitPolicies(ctx context.Context) error {
	_, err := w.add(ctx, &v1alpha1.MutualTLSPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "mtls.sallyport.dev/v1alpha1", Kind: "MutualTLSPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace + "-last"},
		Spec: v1alpha1.MutualTLSPolicySpec{
			Match:   v1alpha1.PolicyMatch{Namespaces: []string{"awaiting"}, GatewaySelector: map[string]v1alpha1.LabelValue{"istio": v1alpha1.LabelValue(w.namespace)}},
			Require: v1alpha1.PolicyRequirements{PlainHTTP: v1alpha1.PlainHTTPForbidden}, Action: v1alpha1.ActionDeny,
		},
	})
	if err != nil {
		return err
	}
	probe := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": map[string]any{"name": "waiting", "namespace": "awaiting"},
		"spec": map[string]any{"selector": map[string]any{"istio": w.namespace}, "servers": []any{map[string]any{
			"port": map[string]any{"number": int64(80), "name": "http", "protocol": "HTTP"}, "hosts": []any{"a.example.com"},
		}}},
	}}
	err = wait.PollUntilContextTimeout(ctx, 10*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		return w.writer.Create(ctx, probe.DeepCopy(), client.DryRunAll) != nil, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the policies of %s: %w", w.namespace, err)
	}
	last := w.objects[len(w.objects)-1]
	w.objects = w.objects[:len(w.objects)-1]
	return w.admin.Delete(ctx, last)
}

// demanded are what the policies of one action demand of a write, `<policy> <reason>` each.
func (w *world) demanded(action v1alpha1.PolicyAction, kind string, old, now map[string]any) []string {
	if w == nil || unchanged(old, now) {
		return nil
	}
	u := unstructured.Unstructured{Object: now}
	object := policy.Object{
		Kind: intent.Kind(kind), Namespace: u.GetNamespace(), Name: u.GetName(), Annotations: u.GetAnnotations(), Labels: u.GetLabels(),
		NamespaceLabels: w.labels, Spec: table(now, "spec"),
	}
	var found []string
	for _, p := range w.policies {
		if p.Action() != action {
			continue
		}
		for _, violation := range p.Judge(object) {
			found = append(found, p.Name()+" "+string(violation.Reason))
		}
	}
	slices.Sort(found)
	return found
}

// denies is why a write must be refused; empty if it must not.
func (w *world) denies(kind string, old, now map[string]any) string {
	return strings.Join(w.demanded(v1alpha1.ActionDeny, kind, old, now), ", ")
}

// told finds the policy and the field in a warning.
var told = regexp.MustCompile(`ValidatingAdmissionPolicy 'sallyport-policy-warn-[a-z]+' with binding '[^']+': (\S+): MutualTLSPolicy (\S+) `)

// reasons are what a field tells.
var reasons = map[string]policy.Reason{"/mode]": policy.ReasonMode, "/authorities]": policy.ReasonAuthority, ".protocol": policy.ReasonPlainHTTP, ".tls": policy.ReasonMinTLS, "/min-tls]": policy.ReasonMinTLS}

// compareWarnings counts the warnings of the last write, and says in what they differ from what was to be warned of.
func (w *world) compareWarnings(kind string, old, now map[string]any) (warned int, err error) {
	if w == nil {
		return 0, nil
	}
	var found []string
	for _, text := range w.warnings {
		parts := told.FindStringSubmatch(text)
		if parts == nil {
			continue
		}
		for suffix, reason := range reasons {
			if strings.HasSuffix(parts[1], suffix) {
				found = append(found, parts[2]+" "+string(reason))
			}
		}
	}
	slices.Sort(found)
	if wanted := w.demanded(v1alpha1.ActionWarn, kind, old, now); !slices.Equal(found, wanted) {
		return len(found), fmt.Errorf("the API server warned of %v, and was to warn of %v", found, wanted)
	}
	return len(found), nil
}

// String is what applies here, for whoever looks at a failure.
func (w *world) String() string {
	if w == nil {
		return "no MutualTLSPolicy"
	}
	var out strings.Builder
	fmt.Fprintf(&out, "Namespace %s with %v\n", w.namespace, w.labels)
	for _, object := range w.objects {
		u, _ := object.(*unstructured.Unstructured)
		fmt.Fprintf(&out, "%s: %v, status %v\n", u.GetName(), u.Object["spec"], u.Object["status"])
	}
	return out.String()
}

// end takes the policies away.
func (w *world) end(ctx context.Context) error {
	for _, object := range w.objects {
		if err := w.admin.Delete(ctx, object); err != nil {
			return err
		}
	}
	return nil
}
