package admission

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	ctrladmission "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/mutate"
)

// deciding is an endpoint whose decisions are given, for both kinds.
func deciding(t testing.TB, decide func(mutate.Request) mutate.Decision) (*Endpoint, *prometheus.Registry) {
	t.Helper()
	endpoint, registry := newTestEndpoint(t)
	handler, ok := endpoint.handler.(*Handler)
	if !ok {
		t.Fatalf("handler is a %T", endpoint.handler)
	}
	handler.decide = map[string]func(mutate.Request) mutate.Decision{"Gateway": decide, "APIRule": decide}
	return endpoint, registry
}

func TestADecisionIsMadeFromAllFacts(t *testing.T) {
	tests := map[string]struct {
		review   parts
		platform string
		updated  bool
	}{
		"Gateway v1":       {review: gatewayReview()},
		"APIRule v2":       {review: apiRuleReview("v2")},
		"APIRule v2alpha1": {review: apiRuleReview("v2alpha1")},
		"APIRule v1beta1":  {review: apiRuleReview("v1beta1")},
		"an update":        {review: gatewayReview(updated), updated: true},
		"a generated name": {review: gatewayReview(func(p parts) {
			delete(p.metadata(), "name")
			p.metadata()["generateName"] = "edge-"
			delete(p.request(), "name")
		})},
		"Gateway v1alpha3":  {review: gatewayReview(func(p parts) { setVersion(p, "v1alpha3") })},
		"Gateway v1beta1":   {review: gatewayReview(func(p parts) { setVersion(p, "v1beta1") })},
		"unknown namespace": {review: gatewayReview(func(p parts) { inNamespace(p, "elsewhere") })},
		"labelled namespace": {
			review:   gatewayReview(func(p parts) { inNamespace(p, "labelled") }),
			platform: "mutual",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var asked mutate.Request
			endpoint, registry := deciding(t, func(r mutate.Request) mutate.Decision {
				asked = r
				return mutate.Decision{Verdict: mutate.Allowed, Reason: "Complete"}
			})
			response := ask(t, endpoint, tt.review)
			want := mutate.Request{
				Object: decode(t, tt.review.object()),
				Platform: intent.Platform{
					TrustDomain:      "example.com",
					DefaultAuthority: types.NamespacedName{Namespace: "platform", Name: "edge"},
					NamespaceMode:    tt.platform,
				},
				Edge:         noOtherGateways{},
				Capabilities: mutate.Capabilities{CACertCredentialName: true},
			}
			if tt.updated {
				want.Old = want.Object
			}
			if diff := cmp.Diff(want, asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
			wantResponse := admissionv1.AdmissionResponse{
				UID: "7f0b2a2e-7c1f-4b61-9b0b-0c5d3c1f9a11", Allowed: true, Result: &metav1.Status{Code: http.StatusOK},
				AuditAnnotations: map[string]string{"verdict": "Allowed", "reason": "Complete"},
			}
			if diff := cmp.Diff(wantResponse, response); diff != "" {
				t.Errorf("response (-want +got):\n%s", diff)
			}
			kind, _ := tt.review.object()["kind"].(string)
			if diff := cmp.Diff(map[outcome]float64{{kind, "Allowed", "Complete"}: 1}, counted(t, registry)); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

func setVersion(p parts, version string) {
	p.request()["kind"] = parts{"group": "networking.istio.io", "version": version, "kind": "Gateway"}
	p.object()["apiVersion"] = "networking.istio.io/" + version
}

func inNamespace(p parts, namespace string) {
	p.request()["namespace"] = namespace
	p.metadata()["namespace"] = namespace
}

// decode is an object as it should arrive: integers as int64.
func decode(t *testing.T, object parts) map[string]any {
	t.Helper()
	decoded, err := decoded(runtime.RawExtension{Raw: []byte(object.encode(t))})
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

func TestNumbersKeepTheirValue(t *testing.T) {
	var asked mutate.Request
	endpoint, _ := deciding(t, func(r mutate.Request) mutate.Decision {
		asked = r
		return mutate.Decision{Verdict: mutate.Allowed, Reason: "Complete"}
	})
	ask(t, endpoint, gatewayReview(func(p parts) {
		p.object()["spec"] = parts{"large": json.Number("9007199254740993"), "fraction": json.Number("1.5"), "port": 443}
	}))
	want := map[string]any{"large": int64(9007199254740993), "fraction": 1.5, "port": int64(443)}
	if diff := cmp.Diff(want, asked.Object["spec"]); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
}

func TestAPatchIsSentAsItWasDecided(t *testing.T) {
	endpoint, registry := deciding(t, func(mutate.Request) mutate.Decision {
		return mutate.Decision{
			Verdict: mutate.Patched, Reason: "Injected", Warnings: []string{"servers now ask callers for a certificate"},
			Operations: []mutate.Operation{
				{Op: "test", Path: "/spec/servers/0/tls/mode", Value: "SIMPLE"},
				{Op: "replace", Path: "/spec/servers/0/tls/mode", Value: "MUTUAL"},
			},
		}
	})
	patchType := admissionv1.PatchTypeJSONPatch
	want := admissionv1.AdmissionResponse{
		UID: "7f0b2a2e-7c1f-4b61-9b0b-0c5d3c1f9a11", Allowed: true, Result: &metav1.Status{Code: http.StatusOK},
		Patch:            []byte(`[{"op":"test","path":"/spec/servers/0/tls/mode","value":"SIMPLE"},{"op":"replace","path":"/spec/servers/0/tls/mode","value":"MUTUAL"}]`),
		PatchType:        &patchType,
		Warnings:         []string{"servers now ask callers for a certificate"},
		AuditAnnotations: map[string]string{"verdict": "Patched", "reason": "Injected"},
	}
	if diff := cmp.Diff(want, ask(t, endpoint, gatewayReview())); diff != "" {
		t.Errorf("response (-want +got):\n%s", diff)
	}
	if got := counted(t, registry)[outcome{"Gateway", "Patched", "Injected"}]; got != 1 {
		t.Errorf("counted %v, expected 1", got)
	}
}

func TestADenialSaysWhyToPeopleAndPrograms(t *testing.T) {
	const message = "spec.servers[0].tls.mode: found PASSTHROUGH; remove it"
	endpoint, registry := deciding(t, func(mutate.Request) mutate.Decision {
		return mutate.Decision{Verdict: mutate.Denied, Reason: "NotMutual", Message: message}
	})
	want := admissionv1.AdmissionResponse{
		UID: "7f0b2a2e-7c1f-4b61-9b0b-0c5d3c1f9a11",
		Result: &metav1.Status{
			Status: "Failure", Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: message,
			Details: &metav1.StatusDetails{
				Group: "gateway.kyma-project.io", Kind: "APIRule", Name: "orders",
				Causes: []metav1.StatusCause{{Type: "NotMutual", Message: message}},
			},
		},
		AuditAnnotations: map[string]string{"verdict": "Denied", "reason": "NotMutual"},
	}
	if diff := cmp.Diff(want, ask(t, endpoint, apiRuleReview("v2"))); diff != "" {
		t.Errorf("response (-want +got):\n%s", diff)
	}
	if got := counted(t, registry)[outcome{"APIRule", "Denied", "NotMutual"}]; got != 1 {
		t.Errorf("counted %v, expected 1", got)
	}
}

func TestOurOwnFaultsAreErrorsAndNoDenials(t *testing.T) {
	tests := map[string]struct {
		decide func(mutate.Request) mutate.Decision
		want   outcome
		says   string
	}{
		"a panic": {
			decide: func(r mutate.Request) mutate.Decision { panic(r.Object) },
			want:   outcome{kindOther, verdictFailed, reasonPanic}, says: "answering the review: internal error",
		},
		"a verdict nobody knows": {
			decide: func(mutate.Request) mutate.Decision { return mutate.Decision{Verdict: "Perhaps"} },
			want:   outcome{"Gateway", verdictFailed, reasonEncoding}, says: `answering review: unknown verdict "Perhaps"`,
		},
		"a patch that cannot be encoded": {
			decide: func(mutate.Request) mutate.Decision {
				return mutate.Decision{Verdict: mutate.Patched, Operations: []mutate.Operation{{Op: "add", Path: "/x", Value: func() {}}}}
			},
			want: outcome{"Gateway", verdictFailed, reasonEncoding}, says: "encoding patch",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			endpoint, registry := deciding(t, tt.decide)
			w := post(t, endpoint, strings.NewReader(gatewayReview().encode(t)))
			if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), tt.says) {
				t.Errorf("answer %d %q, expected 500 and %q", w.Code, w.Body, tt.says)
			}
			if diff := cmp.Diff(map[outcome]float64{tt.want: 1}, counted(t, registry)); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
			if !endpoint.share.TryAcquire(budget) {
				t.Error("the share was not given back")
			}
		})
	}
}

func TestAPanicIsLoggedWithoutTheObject(t *testing.T) {
	var log capturedLog
	endpoint, _ := deciding(t, func(r mutate.Request) mutate.Decision { panic(r.Object) })
	endpoint.log = logr.New(&log)
	post(t, endpoint, strings.NewReader(gatewayReview().encode(t)))
	text := log.String()
	if !strings.Contains(text, "recovered from a panic while answering a review") || !strings.Contains(text, "map[string]interface {}") || !strings.Contains(text, "handler_test.go") {
		t.Errorf("log does not say what happened where: %s", text)
	}
	if strings.Contains(text, "shop.example.com") {
		t.Errorf("log quotes the object: %s", text)
	}
}

func TestAReviewThatTakesTooLongIsNotAnswered(t *testing.T) {
	endpoint, registry := newTestEndpoint(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := post(t, endpoint, strings.NewReader(gatewayReview().encode(t)), func(r *http.Request) { *r = *r.WithContext(ctx) })
	if w.Code != http.StatusGatewayTimeout {
		t.Errorf("status %d, expected 504: %s", w.Code, w.Body)
	}
	if diff := cmp.Diff(map[outcome]float64{{"Gateway", verdictRefused, reasonInterrupted}: 1}, counted(t, registry)); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

func TestTheHandlerServesUnderControllerRuntimeToo(t *testing.T) {
	endpoint, _ := newTestEndpoint(t)
	webhook := &ctrladmission.Webhook{Handler: endpoint.handler}
	for name, review := range map[string]parts{"Gateway": gatewayReview(), "APIRule": apiRuleReview("v2"), "update": gatewayReview(updated)} {
		ours := ask(t, endpoint, review)
		theirs := responseIn(t, post(t, webhook, strings.NewReader(review.encode(t))))
		if diff := cmp.Diff(ours, theirs); diff != "" {
			t.Errorf("%s (-ours +theirs):\n%s", name, diff)
		}
	}
}
