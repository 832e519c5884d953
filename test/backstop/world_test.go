package backstop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/testenv"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/policy"
)

// world is a Namespace with MutualTLSPolicies about it, and whoever writes there.
type world struct {
	namespace string
	labels    map[string]string
	policies  []policy.Policy
	objects   []client.Object
	writer    client.Client
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

// sequencesIn is how many sequences are played in one world.
const sequencesIn = 40

// TestNoSequenceGetsPastAMutualTLSPolicy plays the sequences where MutualTLSPolicies apply that
// nobody thought of: what one of them denies is never stored, nothing else is refused, and of what
// they warn of each is told once. What they say is pkg/policy's word.
func TestNoSequenceGetsPastAMutualTLSPolicy(t *testing.T) {
	const workers = 2 // each brings policies, which cost all others time
	first, last := sequences(t, 160)
	total := last - first + 1
	var next, worlds, accepted, refused atomic.Int64
	next.Store(int64(first - 1))
	worlds.Store(int64((first - 1) / sequencesIn))
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for next.Load() < int64(last) && !t.Failed() {
				w, err := newWorld(t, uint64(worlds.Add(1)))
				if err != nil {
					t.Error(err)
					return
				}
				for range min(sequencesIn, max(total/workers, 1)) {
					n := next.Add(1)
					if n%1000 == 0 {
						fmt.Fprintf(os.Stderr, "sequence %d: %d writes accepted so far, %d refused by a policy\n", n, accepted.Load(), refused.Load())
					}
					p := newPlayer(uint64(n))
					p.as, p.in = w.writer, w
					p.at = within{namespace: w.namespace, label: w.labels[intent.LabelDefaultMode], name: pick(p, names...)}
					if err := p.play(t.Context()); err != nil {
						t.Errorf("sequence %d, %s %s/%s: %v\n%s\n%s", n, p.kind, p.at.namespace, p.at.name, err, strings.Join(p.done, "\n"), w)
						return
					}
					accepted.Add(int64(p.accepted))
					refused.Add(int64(p.refused))
				}
				w.end(t)
			}
		})
	}
	wg.Wait()
	if n := int64(total); accepted.Load() < n || refused.Load() < n {
		t.Errorf("%d writes were accepted and %d refused in %d sequences: one of the two shows little", accepted.Load(), refused.Load(), n)
	}
	t.Logf("%d sequences in worlds up to %d, %d writes accepted, %d refused by a policy", next.Load()-int64(first-1), worlds.Load(), accepted.Load(), refused.Load())
}

// names of objects, of which exceptions speak too.
var names = []string{"a", "b", "orders", "orders-mtls"}

func newWorld(t *testing.T, seed uint64) (*world, error) {
	t.Helper()
	p := &player{Rand: rand.New(rand.NewPCG(seed, 11))} //nolint:gosec // a seed that can be played again
	w := &world{namespace: fmt.Sprintf("world-%d", seed), labels: map[string]string{"team": pick(p, "blue", "red")}}
	if p.IntN(4) == 0 {
		w.labels[intent.LabelDefaultMode] = pick(p, "mutual", "optional")
	}
	config := rest.CopyConfig(server)
	config.QPS, config.WarningHandlerWithContext = -1, w
	var err error
	if w.writer, err = client.New(config, client.Options{}); err != nil {
		return nil, err
	}
	namespace := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace"}}
	namespace.SetName(w.namespace)
	namespace.SetLabels(w.labels)
	if err := admin.Create(t.Context(), namespace); err != nil {
		return nil, err
	}
	for n := range 1 + p.IntN(4) {
		stored, err := w.add(t.Context(), p.policy(fmt.Sprintf("%s-%d", w.namespace, n), w.namespace))
		if err != nil {
			return nil, err
		}
		w.policies = append(w.policies, policy.New(stored, ""))
	}
	return w, w.awaitPolicies(t)
}

// add stores a policy with its status.
func (w *world) add(ctx context.Context, wanted *v1alpha1.MutualTLSPolicy) (*v1alpha1.MutualTLSPolicy, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(wanted)
	if err != nil {
		return nil, err
	}
	object := &unstructured.Unstructured{Object: content}
	status := content["status"]
	if err := admin.Create(ctx, object); err != nil {
		return nil, err
	}
	object.Object["status"] = status
	if err := admin.Status().Update(ctx, object); err != nil {
		return nil, err
	}
	w.objects = append(w.objects, object)
	stored := &v1alpha1.MutualTLSPolicy{}
	return stored, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, stored)
}

// awaitPolicies waits until the API server judges by what was stored: it learns of policies in their
// order, and denies the last.
func (w *world) awaitPolicies(t *testing.T) error {
	t.Helper()
	_, err := w.add(t.Context(), &v1alpha1.MutualTLSPolicy{
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
	probe := parse(fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: waiting, namespace: awaiting}
spec: {selector: {istio: %s}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example.com]}]}`, w.namespace))
	testenv.Eventually(t, time.Minute, "the policies of "+w.namespace, func(ctx context.Context) error {
		if w.writer.Create(ctx, probe.DeepCopy(), client.DryRunAll) == nil {
			return errors.New("not in force yet")
		}
		return nil
	})
	return nil
}

// policy is one that nobody thought of, about a namespace.
func (p *player) policy(name, namespace string) *v1alpha1.MutualTLSPolicy {
	spec := v1alpha1.MutualTLSPolicySpec{
		Action: pick(p, v1alpha1.ActionDeny, v1alpha1.ActionDeny, v1alpha1.ActionWarn, v1alpha1.ActionWarn, v1alpha1.ActionAudit),
		Match:  v1alpha1.PolicyMatch{Namespaces: pick(p, []string{namespace}, []string{"elsewhere", namespace})},
	}
	if p.IntN(20) == 0 {
		spec.Match.Namespaces = []string{"elsewhere"}
	}
	if p.IntN(4) == 0 {
		spec.Match.NamespaceLabels = pick(p, map[string]v1alpha1.LabelValue{"team": "blue"}, map[string]v1alpha1.LabelValue{"team": "red", "more": ""})
	}
	if p.IntN(4) == 0 {
		spec.Match.GatewaySelector = pick(p, map[string]v1alpha1.LabelValue{"istio": "ingressgateway"}, map[string]v1alpha1.LabelValue{"istio": "ingressgateway", "app": "x"})
	}
	if p.IntN(3) == 0 {
		spec.Match.HostSuffixes = pick(p, []string{"shop.example.com"}, []string{"example.com"}, []string{"corp", "a.shop.example.com"}, []string{"com"})
	}
	spec.Require.Mode = pick(p, "", v1alpha1.ModeMutual, v1alpha1.ModeMutual, v1alpha1.ModeOptional)
	spec.Require.MinTLS = pick(p, "", "", v1alpha1.TLS12, v1alpha1.TLS13)
	spec.Require.PlainHTTP = pick(p, v1alpha1.PlainHTTPAllowed, v1alpha1.PlainHTTPForbidden)
	if spec.Require.Mode != "" && p.IntN(2) == 0 {
		spec.Require.Authorities = pick(p, []v1alpha1.NamespacedReference{{Namespace: namespace, Name: "corp"}},
			[]v1alpha1.NamespacedReference{{Namespace: namespace, Name: "default"}, {Namespace: "platform", Name: "corp"}},
			[]v1alpha1.NamespacedReference{{Namespace: namespace, Name: "corp"}, {Namespace: "platform", Name: "corp"}, {Namespace: namespace, Name: "default"}})
	}
	if spec.Require.Mode == "" && spec.Require.MinTLS == "" {
		spec.Require.PlainHTTP = v1alpha1.PlainHTTPForbidden
	}
	made := &v1alpha1.MutualTLSPolicy{
		TypeMeta: metav1.TypeMeta{APIVersion: "mtls.sallyport.dev/v1alpha1", Kind: "MutualTLSPolicy"}, ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec,
	}
	p.except(made, namespace)
	if p.IntN(2) == 0 {
		made.Labels = map[string]string{ourPrefix + "action": string(spec.Action), ourPrefix + "opt-in": strconv.FormatBool(spec.OptIn)}
	}
	return made
}

// except leaves some objects alone, of which some not any more.
func (p *player) except(made *v1alpha1.MutualTLSPolicy, namespace string) {
	for _, name := range names {
		for _, kind := range []v1alpha1.ObjectKind{v1alpha1.ObjectGateway, v1alpha1.ObjectAPIRule} {
			if p.IntN(8) > 0 {
				continue
			}
			in := pick(p, namespace, namespace, namespace, "elsewhere")
			made.Spec.Exceptions = append(made.Spec.Exceptions, v1alpha1.PolicyException{Kind: kind, Namespace: in, Name: name, ExpirationTime: metav1.Now(), Reason: "to see"})
			if p.IntN(2) == 0 {
				made.Status.EndedExceptions = append(made.Status.EndedExceptions, v1alpha1.EndedException{Kind: kind, Namespace: in, Name: name})
			}
		}
	}
}

// vary mostly makes an object one that nothing but a MutualTLSPolicy minds, and always gives it hosts and a
// selector that policies speak of.
func (w *world) vary(p *player, o *unstructured.Unstructured) {
	if w == nil {
		return
	}
	if p.IntN(4) > 0 {
		p.plausible(o)
	}
	spec := table(o.Object, "spec")
	if p.kind == "APIRule" {
		host := pick(p, "a.example.com", "pay.shop.example.com", "orders", "evilexample.com", "x.corp")
		if _, old := spec["host"]; old {
			spec["host"] = host
		} else {
			spec["hosts"] = []any{host}
		}
		return
	}
	servers, _ := spec["servers"].([]any)
	for _, s := range servers {
		if server, _ := s.(map[string]any); p.IntN(2) == 0 {
			server["hosts"] = pick(p, []any{"shop.example.com"}, []any{"SHOP.Example.com"}, []any{"*.shop.example.com"}, []any{"*.com"}, []any{"evilshop.example.com"}, []any{"shop.example.com.evil.io"},
				[]any{"./pay.shop.example.com", "x.corp"}, []any{"*/a.shop.example.com."}, []any{"CORP"})
		}
	}
	spec["selector"] = pick(p, map[string]any{"istio": "ingressgateway"}, map[string]any{"istio": "ingressgateway", "app": "x"}, map[string]any{"istio": "other"}, map[string]any{"app": "x"}, map[string]any{})
	if p.IntN(6) == 0 {
		delete(spec, "selector")
	}
}

// plausible gives an object what somebody may well write, opted in or not.
func (p *player) plausible(o *unstructured.Unstructured) {
	asked := map[string]string{}
	mode := pick(p, "mutual", "mutual", "mutual", "optional", "disabled", "")
	if mode != "" {
		asked[ourPrefix+"mode"] = mode
	}
	if mode != "" || p.in.labels[intent.LabelDefaultMode] != "" {
		if authorities := pick(p, "", "corp", "corp, platform/corp"); authorities != "" && (p.kind == "Gateway" || authorities == "corp") {
			asked[ourPrefix+"authorities"] = authorities
		}
		if least := pick(p, "", "TLSv1.2", "TLSv1.3", "TLSv1.3"); least != "" {
			asked[ourPrefix+"min-tls"] = least
		}
	}
	if p.kind == "APIRule" && p.IntN(6) == 0 {
		asked["gateway.kyma-project.io/original-version"] = "v1beta1"
		asked["gateway.kyma-project.io/v1beta1-spec"] = strconv.Itoa(p.IntN(3))
	}
	o.SetAnnotations(asked)
	if p.kind == "APIRule" {
		spec := p.rule()
		spec["rules"] = []any{map[string]any{"path": "/*", "methods": []any{"GET"}, "noAuth": true}}
		spec["gateway"] = pick(p, "shop/edge", p.at.namespace+"/"+p.at.name+"-mtls", p.at.name+"-mtls."+p.at.namespace+".svc.cluster.local")
		delete(spec, "externalGateway")
		o.Object["spec"] = spec
		return
	}
	o.Object["spec"] = p.plausibleGateway(asked)
}

// plausibleGateway is complete where something asks for it.
func (p *player) plausibleGateway(asked map[string]string) map[string]any {
	settings := map[string]any{"mode": pick(p, "SIMPLE", "MUTUAL", "PASSTHROUGH"), "credentialName": "own"}
	if settings["mode"] != "PASSTHROUGH" && p.IntN(2) == 0 {
		settings["minProtocolVersion"] = pick(p, "TLS_AUTO", "TLSV1_0", "TLSV1_2", "TLSV1_3")
	}
	mode := asked[ourPrefix+"mode"]
	if mode == "" {
		mode = p.in.labels[intent.LabelDefaultMode]
	}
	if mutual := map[string]string{"mutual": "MUTUAL", "optional": "OPTIONAL_MUTUAL"}[mode]; mutual != "" {
		settings["mode"], settings["minProtocolVersion"] = mutual, "TLSV1_2"
		if asked[ourPrefix+"min-tls"] == "TLSv1.3" {
			settings["minProtocolVersion"] = "TLSV1_3"
		}
	}
	servers := []any{map[string]any{
		"port": map[string]any{"number": int64(443), "name": "https", "protocol": pick(p, "HTTPS", "https", "TLS")}, "hosts": []any{"a.example.com"}, "tls": settings,
	}}
	if p.IntN(4) == 0 {
		plain := map[string]any{"port": map[string]any{"number": int64(80), "name": "plain", "protocol": pick(p, "HTTP", "http2", "TCP")}, "hosts": []any{"a.example.com"}}
		if p.IntN(2) == 0 {
			plain["tls"] = map[string]any{"httpsRedirect": pick(p, true, true, false)}
		}
		servers = pick(p, []any{plain}, append(servers, plain))
	}
	return map[string]any{"servers": servers}
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

// compareWarnings says in what the warnings of the last write differ from what was to be warned of.
func (w *world) compareWarnings(kind string, old, now map[string]any) error {
	if w == nil {
		return nil
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
		return fmt.Errorf("the API server warned of %v, and was to warn of %v", found, wanted)
	}
	return nil
}

// String is what applies here, for whoever looks at a failure.
func (w *world) String() string {
	var out strings.Builder
	fmt.Fprintf(&out, "Namespace %s with %v\n", w.namespace, slices.Sorted(maps.Keys(w.labels)))
	for _, object := range w.objects {
		u, _ := object.(*unstructured.Unstructured)
		fmt.Fprintf(&out, "%s: %v, status %v\n", u.GetName(), u.Object["spec"], u.Object["status"])
	}
	return out.String()
}

// end takes the policies away.
func (w *world) end(t *testing.T) {
	t.Helper()
	for _, object := range w.objects {
		if err := admin.Delete(t.Context(), object); err != nil {
			t.Error(err)
		}
	}
}
