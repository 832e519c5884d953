package admission

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"net/http/httptest"

	"sallyport.dev/sallyport/internal/startup"
)

var update = flag.Bool("update", false, "write golden files")

func TestMetricsAreThereFromTheFirstScrape(t *testing.T) {
	_, registry := newTestEndpoint(t)
	err := registry.Register(NewCollector(Facts{
		Build:    startup.Build{Version: "v1.2.3", Revision: "abc", GoVersion: "go1.26.0"},
		NotAfter: func() (time.Time, bool) { return start, true },
		Reloads:  func() (uint64, uint64) { return 3, 1 },
	}))
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	golden := filepath.Join("testdata", "metrics.txt")
	if *update {
		if err := os.WriteFile(golden, w.Body.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), w.Body.String()); diff != "" {
		t.Errorf("metrics (-want +got); run with -update if that is meant:\n%s", diff)
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func TestAnUnknownEndIsAbsent(t *testing.T) {
	collector := NewCollector(Facts{
		NotAfter: func() (time.Time, bool) { return time.Time{}, false },
		Reloads:  func() (uint64, uint64) { return 0, 0 },
	})
	if n := testutil.CollectAndCount(collector, "sallyport_webhook_certificate_not_after_timestamp_seconds"); n != 0 {
		t.Errorf("%d series, expected none", n)
	}
	registry := prometheus.NewRegistry()
	if err := registry.Register(collector); err != nil {
		t.Error(err)
	}
}

func TestMetricsCannotBeRegisteredTwice(t *testing.T) {
	registry := prometheus.NewRegistry()
	if _, err := newMetrics(registry, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := newMetrics(registry, nil); err == nil {
		t.Error("no error for a second registration")
	}
}

func TestDurationsAreMeasured(t *testing.T) {
	endpoint, registry := newTestEndpoint(t)
	post(t, endpoint, bytes.NewReader(nil))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "sallyport_admission_duration_seconds" && family.GetMetric()[0].GetHistogram().GetSampleCount() != 1 {
			t.Errorf("%v, expected one sample", family)
		}
	}
}
