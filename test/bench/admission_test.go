package bench

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/testenv"
	"sallyport.dev/sallyport/pkg/pki"
)

// way is one way that a write goes at admission.
type way struct {
	name string
	// on is the API server that it goes to.
	on *site
	// kind and namespace of what is created, and labels and annotations, choose it.
	kind, namespace     string
	labels, annotations map[string]string
	// mode is the TLS mode that what is created ends up with.
	mode string
	// series begins the API server's own histogram of it; empty where there is none.
	series string
	took   []time.Duration
}

// site is an API server and whoever writes there.
type site struct {
	stack  *localstack.Stack
	person client.Client
}

const (
	webhookSeries  = `apiserver_admission_webhook_admission_duration_seconds_%s{name="`
	mutatingSeries = `apiserver_mutating_admission_policy_check_duration_seconds_%s{`
	judgingSeries  = `apiserver_validating_admission_policy_check_duration_seconds_%s{`
	// demanded is the namespace that a MutualTLSPolicy is about.
	demanded = "demanded"
)

// ways are those of an API server on which nobody judges anything but what is measured, and of one with the product and
// MutualTLSPolicies.
func ways(bare, ours *site) []*way {
	asks := map[string]string{"mtls.sallyport.dev/mode": "mutual"}
	return []*way{
		{name: "floor=no-admission", on: bare, mode: "SIMPLE"},
		{name: "constant-patch-webhook", on: bare, labels: map[string]string{"bench": "constant"}, mode: "MUTUAL", series: webhookSeries + "constant.bench.example.com"},
		{name: "mutating-admission-policy", on: bare, labels: map[string]string{"bench": "policy"}, mode: "MUTUAL", series: mutatingSeries},
		{name: "sallyport", on: ours, annotations: asks, mode: "MUTUAL", series: webhookSeries + "annotated.gateways"},
		{name: "sallyport-not-opted-in", on: ours, mode: "SIMPLE"},
		{name: "sallyport-policy", on: ours, namespace: demanded, mode: "SIMPLE", series: judgingSeries},
		{name: "sallyport-policy-and-webhook", on: ours, namespace: demanded, annotations: asks, mode: "MUTUAL", series: webhookSeries + "annotated.gateways"},
		{name: "unrelated/floor=no-admission", on: bare, kind: "VirtualService"},
		{name: "unrelated/sallyport-policy", on: ours, kind: "VirtualService", namespace: demanded},
	}
}

// bareSite is an API server with Istio's kinds and nothing of ours.
func bareSite(b *testing.B) *site {
	b.Helper()
	s := &site{}
	var err error
	if s.stack, err = localstack.Start(b.Context(), localstack.Options{ControlPlaneOnly: true}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		// The benchmark's own context has ended by now.
		if err := s.stack.Stop(context.WithoutCancel(b.Context())); err != nil {
			b.Error(err)
		}
	})
	if err := s.stack.ApplyYAML(b.Context(), "{apiVersion: v1, kind: Namespace, metadata: {name: "+fleet+"}}"); err != nil {
		b.Fatal(err)
	}
	config := rest.CopyConfig(s.stack.Config())
	config.QPS = -1
	if s.person, err = client.New(config, client.Options{}); err != nil {
		b.Fatal(err)
	}
	return s
}

// demands are a MutualTLSPolicy about the one namespace, and one about another.
const demands = `{apiVersion: v1, kind: Namespace, metadata: {name: ` + demanded + `}}
---
apiVersion: mtls.sallyport.dev/v1alpha1
kind: MutualTLSPolicy
metadata: {name: ours}
spec: {action: Deny, match: {namespaces: [` + demanded + `], hostSuffixes: [example.com]}, require: {minTLS: TLSv1.2, plainHTTP: Forbidden}}
---
apiVersion: mtls.sallyport.dev/v1alpha1
kind: MutualTLSPolicy
metadata: {name: of-others}
spec: {action: Deny, match: {namespaces: [elsewhere]}, require: {mode: Mutual}}
`

// BenchmarkAdmission creates Gateways by dry run, which does all of admission and none
// of the storing, each way in turn. What the API server itself says of the webhook is
// the mean by the sum and the count of its histogram, which begins at 5 ms.
func BenchmarkAdmission(b *testing.B) {
	cluster(b)
	bare, ours := bareSite(b), &site{stack: stack, person: person}
	if err := stack.ApplyYAML(b.Context(), demands); err != nil {
		b.Fatal(err)
	}
	constantWebhook(b, bare)
	constantPolicy(b, bare)
	all := ways(bare, ours)
	for _, w := range all {
		awaitWay(b, w)
	}
	before := make([][2]float64, len(all))
	for i, w := range all {
		before[i] = w.histogram(b)
	}
	b.ResetTimer()
	for b.Loop() {
		for _, w := range all {
			begun := time.Now()
			w.create(b.Context(), b)
			w.took = append(w.took, time.Since(begun))
		}
	}
	b.StopTimer()
	for i, w := range all {
		slices.Sort(w.took)
		at := func(share float64) float64 {
			return w.took[int(share*float64(len(w.took)-1))].Seconds() * 1000
		}
		b.ReportMetric(at(0.5), "p50-ms/"+w.name)
		b.ReportMetric(at(0.99), "p99-ms/"+w.name)
		if w.series == "" {
			continue
		}
		after := w.histogram(b)
		if n := after[1] - before[i][1]; n > 0 {
			b.ReportMetric((after[0]-before[i][0])/n*1000, "server-mean-ms/"+w.name)
		}
	}
}

// create stores nothing and returns what would be.
func (w *way) create(ctx context.Context, b *testing.B) *unstructured.Unstructured {
	b.Helper()
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
		"metadata": map[string]any{"namespace": cmp.Or(w.namespace, fleet), "name": "it"},
		"spec": map[string]any{"selector": map[string]any{"istio": "ingressgateway"}, "servers": []any{map[string]any{
			"port":  map[string]any{"number": int64(443), "name": "https", "protocol": "HTTPS"},
			"hosts": []any{"pay.example.com"},
			"tls":   map[string]any{"mode": "SIMPLE", "credentialName": "pay"},
		}}},
	}}
	if w.annotations != nil {
		unstructured.RemoveNestedField(o.Object, "spec", "servers")
		_ = unstructured.SetNestedSlice(o.Object, []any{map[string]any{
			"port":  map[string]any{"number": int64(443), "name": "https", "protocol": "HTTPS"},
			"hosts": []any{"pay.example.com"},
		}}, "spec", "servers")
	}
	if w.kind != "" {
		o.SetKind(w.kind)
		o.Object["spec"] = map[string]any{"hosts": []any{"pay.example.com"}, "http": []any{map[string]any{"route": []any{map[string]any{"destination": map[string]any{"host": "pay"}}}}}}
	}
	o.SetLabels(w.labels)
	o.SetAnnotations(w.annotations)
	if err := w.on.person.Create(ctx, o, client.DryRunAll); err != nil {
		b.Fatal(err)
	}
	return o
}

// awaitWay waits until the API server goes the way.
func awaitWay(b *testing.B, w *way) {
	b.Helper()
	testenv.Eventually(b, patience, w.name, func(ctx context.Context) error {
		made := w.create(ctx, b).Object
		if w.mode == "" {
			return nil
		}
		servers, _, err := unstructured.NestedSlice(made, "spec", "servers")
		if err != nil {
			return err
		}
		if mode, _, err := unstructured.NestedString(servers[0].(map[string]any), "tls", "mode"); err != nil || mode != w.mode {
			return fmt.Errorf("mode is %q, expected %q: %w", mode, w.mode, err)
		}
		return nil
	})
}

// histogram is the sum in seconds and the count of the API server's histogram.
func (w *way) histogram(b *testing.B) [2]float64 {
	b.Helper()
	if w.series == "" {
		return [2]float64{}
	}
	config := rest.CopyConfig(w.on.stack.Config())
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		b.Fatal(err)
	}
	text, err := clients.RESTClient().Get().AbsPath("/metrics").DoRaw(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	var values [2]float64
	for i, kind := range []string{"sum", "count"} {
		lines := bufio.NewScanner(bytes.NewReader(text))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if !strings.HasPrefix(lines.Text(), fmt.Sprintf(w.series, kind)) {
				continue
			}
			value, err := strconv.ParseFloat(lines.Text()[strings.LastIndexByte(lines.Text(), ' ')+1:], 64)
			if err != nil {
				b.Fatal(err)
			}
			values[i] += value
		}
	}
	return values
}

const constantPatch = `[{"op":"replace","path":"/spec/servers/0/tls/mode","value":"MUTUAL"}]`

// constantWebhook is the least that a webhook can do: it decodes the review and answers
// with a patch that does not depend on it.
func constantWebhook(b *testing.B, at *site) {
	b.Helper()
	ca := floorCA(b)
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		b.Fatal(err)
	}
	pair, err := ca.IssueServer(pki.ServerRequest{Hosts: []string{"localhost"}, Key: key, Lifetime: 24 * time.Hour}, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	certificate, err := tls.X509KeyPair(pair.CertificatePEM(), pair.KeyPEM())
	if err != nil {
		b.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(answerConstantly), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	b.Cleanup(func() { server.Close() })
	configuration := &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "constant"},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name: "constant.bench.example.com", AdmissionReviewVersions: []string{"v1"},
			SideEffects:    ptr.To(admissionregistrationv1.SideEffectClassNone),
			ObjectSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"bench": "constant"}},
			ClientConfig: admissionregistrationv1.WebhookClientConfig{
				URL:      ptr.To(fmt.Sprintf("https://localhost:%d/", listener.Addr().(*net.TCPAddr).Port)),
				CABundle: ca.Certificate().PEM(),
			},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{"networking.istio.io"}, APIVersions: []string{"*"}, Resources: []string{"gateways"}},
			}},
		}},
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(configuration)
	if err != nil {
		b.Fatal(err)
	}
	object["apiVersion"], object["kind"] = "admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"
	if err := at.person.Create(b.Context(), &unstructured.Unstructured{Object: object}); err != nil {
		b.Fatal(err)
	}
}

func answerConstantly(w http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil || review.Request == nil {
		http.Error(w, "no review", http.StatusBadRequest)
		return
	}
	review.Response = &admissionv1.AdmissionResponse{
		UID: review.Request.UID, Allowed: true, Patch: []byte(constantPatch), PatchType: ptr.To(admissionv1.PatchTypeJSONPatch),
	}
	review.Request = nil
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review)
}

// constantPolicy does the same inside the API server.
func constantPolicy(b *testing.B, at *site) {
	b.Helper()
	const text = `{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingAdmissionPolicy, metadata: {name: constant}, spec: {
  reinvocationPolicy: Never, failurePolicy: Fail,
  matchConstraints: {objectSelector: {matchLabels: {bench: policy}}, resourceRules: [{apiGroups: [networking.istio.io], apiVersions: ["*"], resources: [gateways], operations: [CREATE]}]},
  mutations: [{patchType: JSONPatch, jsonPatch: {expression: '[JSONPatch{op: "replace", path: "/spec/servers/0/tls/mode", value: "MUTUAL"}]'}}]}}
---
{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingAdmissionPolicyBinding, metadata: {name: constant}, spec: {policyName: constant}}`
	if err := at.stack.ApplyYAML(b.Context(), text); err != nil {
		b.Fatal(err)
	}
}
