package metrics

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestWritesThatLostAreCounted(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/taken") {
			w.WriteHeader(http.StatusConflict)
		}
	}))
	defer server.Close()
	counters := NewCounters()
	client := &http.Client{Transport: counters.CountConflicts(http.DefaultTransport)}
	for _, call := range []struct {
		method, path string
		counts       float64
	}{
		{http.MethodPut, "/api/v1/namespaces/shop/secrets/taken", 1},
		{http.MethodPatch, "/api/v1/namespaces/shop/secrets/taken", 1},
		{http.MethodPut, "/api/v1/namespaces/shop/secrets/free", 0},
		{http.MethodPost, "/api/v1/namespaces/shop/secrets/taken", 0}, // it exists already
		{http.MethodPut, "/apis/coordination.k8s.io/v1/namespaces/x/leases/taken", 0},
		{http.MethodGet, "/api/v1/namespaces/shop/secrets/taken", 0},
	} {
		before := testutil.ToFloat64(counters.conflicts)
		request, err := http.NewRequestWithContext(t.Context(), call.method, server.URL+call.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if got := testutil.ToFloat64(counters.conflicts) - before; got != call.counts {
			t.Errorf("%s %s counts %g, expected %g", call.method, call.path, got, call.counts)
		}
	}
}
