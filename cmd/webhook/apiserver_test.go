package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// apiServer answers what the webhook may ask: one CRD by its name, lists and watches
// of four kinds. It notes everything else.
type apiServer struct {
	*httptest.Server

	mu         sync.Mutex
	lists      map[string][]any
	crd        map[string]any
	unexpected []string
	gone       chan struct{}
}

func startAPIServer(t *testing.T) *apiServer {
	t.Helper()
	s := &apiServer{gone: make(chan struct{}), lists: map[string][]any{
		"/api/v1/namespaces": {
			object("v1", "Namespace", "", "shop", nil),
			object("v1", "Namespace", "", "labelled", map[string]any{"mtls.sallyport.dev/default-mode": "mutual"}),
		},
		"/api/v1/namespaces/istio-system/services": {},
		"/api/v1/namespaces/istio-system/pods":     {},
		"/apis/networking.istio.io/v1/gateways":    {},
	}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() { close(s.gone); s.Close() })
	return s
}

func object(apiVersion, kind, namespace, name string, labels map[string]any) map[string]any {
	return map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{
		"namespace": namespace, "name": name, "labels": labels, "uid": name, "resourceVersion": "1",
	}}
}

// installGateways makes the Gateway CRD appear, with caCertCredentialName.
func (s *apiServer) installGateways() {
	schema := map[string]any{"type": "string"}
	for _, property := range []string{"caCertCredentialName", "tls"} {
		schema = map[string]any{"type": "object", "properties": map[string]any{property: schema}}
	}
	schema = map[string]any{"type": "array", "items": schema}
	for _, property := range []string{"servers", "spec"} {
		schema = map[string]any{"type": "object", "properties": map[string]any{property: schema}}
	}
	crd := object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "gateways.networking.istio.io", nil)
	crd["spec"] = map[string]any{"versions": []any{map[string]any{
		"name": "v1", "served": true, "storage": true, "schema": map[string]any{"openAPIV3Schema": schema},
	}}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.crd = crd
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	items, known := s.lists[r.URL.Path]
	crd := s.crd
	s.mu.Unlock()
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gateways.networking.istio.io":
		if crd == nil {
			refuse(w, http.StatusNotFound, "NotFound")
			return
		}
		write(w, crd)
	case r.Method == http.MethodGet && known && r.URL.Query().Get("sendInitialEvents") == "true":
		refuse(w, http.StatusUnprocessableEntity, "Invalid") // an API server without streamed lists
	case r.Method == http.MethodGet && known && r.URL.Query().Get("watch") == "true":
		w.Header().Set("Content-Type", "application/json")
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
		case <-s.gone:
		}
	case r.Method == http.MethodGet && known:
		write(w, list(r, items))
	default:
		s.mu.Lock()
		s.unexpected = append(s.unexpected, r.Method+" "+r.URL.String())
		s.mu.Unlock()
		refuse(w, http.StatusForbidden, "Forbidden")
	}
}

func list(r *http.Request, items []any) map[string]any {
	kind, version := "List", "v1"
	switch {
	case strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadataList"):
		kind, version = "PartialObjectMetadataList", "meta.k8s.io/v1"
	case strings.HasSuffix(r.URL.Path, "/services"):
		kind = "ServiceList"
	case strings.HasSuffix(r.URL.Path, "/pods"):
		kind = "PodList"
	case strings.HasSuffix(r.URL.Path, "/gateways"):
		kind, version = "GatewayList", "networking.istio.io/v1"
	}
	return map[string]any{"apiVersion": version, "kind": kind, "metadata": map[string]any{"resourceVersion": "1"}, "items": items}
}

func refuse(w http.ResponseWriter, code int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = fmt.Fprintf(w, `{"apiVersion":"v1","kind":"Status","status":"Failure","code":%d,"reason":%q,"message":%q}`, code, reason, http.StatusText(code))
}

func write(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}

// asked are the requests that were not expected.
func (s *apiServer) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.unexpected...)
}

func (s *apiServer) kubeconfig(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	content := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: %q}}]
users: [{name: test, user: {}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
current-context: test
`, s.URL)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
