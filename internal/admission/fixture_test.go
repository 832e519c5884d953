package admission

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"sallyport.dev/sallyport/internal/install"
	"sallyport.dev/sallyport/pkg/mutate"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// parts are a review, to be changed before it is encoded.
type parts map[string]any

func (p parts) request() parts { return p["request"].(parts) }

func (p parts) object() parts { return p.request()["object"].(parts) }

func (p parts) metadata() parts { return p.object()["metadata"].(parts) }

func (p parts) encode(t testing.TB) string {
	t.Helper()
	encoded, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// gatewayReview is a review of a Gateway that is created.
func gatewayReview(changes ...func(parts)) parts {
	p := parts{
		"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
		"request": parts{
			"uid":       "7f0b2a2e-7c1f-4b61-9b0b-0c5d3c1f9a11",
			"kind":      parts{"group": "networking.istio.io", "version": "v1", "kind": "Gateway"},
			"resource":  parts{"group": "networking.istio.io", "version": "v1", "resource": "gateways"},
			"name":      "edge",
			"namespace": "shop",
			"operation": "CREATE",
			"userInfo":  parts{"username": "someone", "groups": []any{"system:authenticated"}},
			"options":   parts{"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
			"dryRun":    false,
			"oldObject": nil,
			"object": parts{
				"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
				"metadata": parts{
					"name": "edge", "namespace": "shop",
					"annotations": parts{"mtls.sallyport.dev/mode": "mutual"},
				},
				"spec": parts{
					"selector": parts{"istio": "ingressgateway"},
					"servers": []any{parts{
						"port":  parts{"number": 443, "name": "https", "protocol": "HTTPS"},
						"hosts": []any{"shop.example.com"},
					}},
				},
			},
		},
	}
	for _, change := range changes {
		change(p)
	}
	return p
}

// apiRuleReview is a review of an APIRule of one version that is created.
func apiRuleReview(version string, changes ...func(parts)) parts {
	p := gatewayReview()
	r := p.request()
	r["kind"] = parts{"group": "gateway.kyma-project.io", "version": version, "kind": "APIRule"}
	r["resource"] = parts{"group": "gateway.kyma-project.io", "version": version, "resource": "apirules"}
	r["name"] = "orders"
	r["object"] = parts{
		"apiVersion": "gateway.kyma-project.io/" + version, "kind": "APIRule",
		"metadata": parts{
			"name": "orders", "namespace": "shop",
			"annotations": parts{"mtls.sallyport.dev/mode": "mutual"},
		},
		"spec": parts{
			"hosts":   []any{"orders.example.com"},
			"service": parts{"name": "orders", "port": 8000},
			"rules":   []any{parts{"path": "/*", "methods": []any{"GET"}, "noAuth": true}},
		},
	}
	for _, change := range changes {
		change(p)
	}
	return p
}

// updated makes the review one of an update that changes nothing yet.
func updated(p parts) {
	p.request()["operation"] = "UPDATE"
	p.request()["oldObject"] = p.request()["object"]
}

// noOtherGateways is the edge of an empty cluster.
type noOtherGateways struct{}

func (noOtherGateways) Gateway(string, string) (map[string]any, bool) { return nil, false }
func (noOtherGateways) Conflicts(map[string]any) []mutate.Conflict    { return nil }

// namespaceModes are Namespaces that are all known at once.
type namespaceModes map[string]string

func (n namespaceModes) DefaultMode(_ context.Context, namespace string) (string, bool) {
	mode, known := n[namespace]
	return mode, known
}

func settings(t testing.TB) install.Settings {
	t.Helper()
	s, err := install.Parse([]byte("trustDomain: example.com\ndefaultAuthority: platform/edge\n"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newTestEndpoint answers with the real decisions in a cluster with the Namespaces
// shop and labelled, and no Gateway.
func newTestEndpoint(t testing.TB) (*Endpoint, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	endpoint, err := New(Config{
		Settings: settings(t),
		Cluster: Cluster{
			Namespaces:   namespaceModes{"shop": "", "labelled": "mutual"},
			Edge:         noOtherGateways{},
			Capabilities: func() mutate.Capabilities { return mutate.Capabilities{CACertCredentialName: true} },
		},
		Registry: registry,
		Clock:    clocktesting.NewFakePassiveClock(start),
		Log:      logr.Discard(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return endpoint, registry
}

// post sends a review as the API server does.
func post(t testing.TB, handler http.Handler, body io.Reader, changes ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, Path, body)
	r.Header.Set("Content-Type", "application/json")
	for _, change := range changes {
		change(r)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

// ask sends a review that must be answered, and returns the response.
func ask(t testing.TB, handler http.Handler, review parts) admissionv1.AdmissionResponse {
	t.Helper()
	w := post(t, handler, strings.NewReader(review.encode(t)))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return responseIn(t, w)
}

func responseIn(t testing.TB, w *httptest.ResponseRecorder) admissionv1.AdmissionResponse {
	t.Helper()
	var answered admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &answered); err != nil {
		t.Fatalf("answer is no AdmissionReview: %v: %s", err, w.Body)
	}
	if answered.APIVersion != "admission.k8s.io/v1" || answered.Kind != "AdmissionReview" || answered.Response == nil || answered.Request != nil {
		t.Fatalf("answer is no AdmissionReview v1 with a response: %s", w.Body)
	}
	return *answered.Response
}

// counted are the outcomes counted so far, without those at 0.
func counted(t testing.TB, registry *prometheus.Registry) map[outcome]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[outcome]float64{}
	for _, family := range families {
		if family.GetName() != "sallyport_admission_reviews_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, pair := range m.GetLabel() {
				labels[pair.GetName()] = pair.GetValue()
			}
			if value := m.GetCounter().GetValue(); value != 0 {
				found[outcome{labels["kind"], labels["verdict"], labels["reason"]}] = value
			}
		}
	}
	return found
}
