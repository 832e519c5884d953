package metrics

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

func ask(tb testing.TB, h http.Handler, method, path, encoding string) *httptest.ResponseRecorder {
	tb.Helper()
	answer := httptest.NewRecorder()
	request := httptest.NewRequestWithContext(tb.Context(), method, path, http.NoBody)
	request.Header.Set("Accept-Encoding", encoding)
	h.ServeHTTP(answer, request)
	return answer
}

func TestThreePathsAreServed(t *testing.T) {
	m := everything(t).metrics(t, NewCounters())
	refuse := func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	}
	served := map[string]int{"/metrics": http.StatusOK, "/healthz": http.StatusOK, "/readyz": http.StatusOK}
	for name, test := range map[string]struct {
		guard func(http.Handler) http.Handler
		want  map[string]int
	}{
		"to everybody":  {nil, served},
		"under a guard": {refuse, map[string]int{"/metrics": http.StatusForbidden, "/healthz": http.StatusOK, "/readyz": http.StatusOK}},
	} {
		t.Run(name, func(t *testing.T) {
			h := m.Handler(test.guard, logr.Discard())
			for _, path := range []string{"/", "/metrics", "/metrics/", "/metrics/x", "/healthz", "/healthz/ping", "/readyz", "/livez", "/debug/pprof/", "/debug/vars", "/mutate"} {
				want, ok := test.want[path]
				if !ok {
					want = http.StatusNotFound
				}
				for _, method := range []string{http.MethodGet, http.MethodHead} {
					if got := ask(t, h, method, path, "").Code; got != want {
						t.Errorf("%s %s answers %d, expected %d", method, path, got, want)
					}
				}
				if ok {
					want = http.StatusMethodNotAllowed
				}
				for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
					if got := ask(t, h, method, path, "").Code; got != want {
						t.Errorf("%s %s answers %d, expected %d", method, path, got, want)
					}
				}
			}
		})
	}
}

func TestAScrapeIsCompressedForWhoTakesIt(t *testing.T) {
	h := everything(t).metrics(t, NewCounters()).Handler(nil, logr.Discard())
	plain := ask(t, h, http.MethodGet, Path, "br, identity")
	if got := plain.Header().Get("Content-Type"); got != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("content type %q", got)
	}
	for _, encoding := range []string{"gzip", "deflate, gzip, zstd"} {
		answer := ask(t, h, http.MethodGet, Path, encoding)
		if got := answer.Header().Get("Content-Encoding"); got != "gzip" {
			t.Fatalf("content encoding %q", got)
		}
		reader, err := gzip.NewReader(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(plain.Body.String(), string(text)); diff != "" {
			t.Errorf("(-plain +compressed):\n%s", diff)
		}
	}
}

// Memory is what too many scrapes at a time would take.
func TestScrapesAtATimeAreFew(t *testing.T) {
	began, finish := make(chan struct{}), make(chan struct{})
	w := everything(t)
	w.libraries = prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { began <- struct{}{}; <-finish; return nil, nil })
	h := w.metrics(t, NewCounters()).Handler(nil, logr.Discard())
	codes := make(chan int)
	for range maxScrapes {
		go func() { codes <- ask(t, h, http.MethodGet, Path, "").Code }()
		<-began
	}
	if got := ask(t, h, http.MethodGet, Path, "").Code; got != http.StatusServiceUnavailable {
		t.Errorf("one more answers %d, expected %d", got, http.StatusServiceUnavailable)
	}
	close(finish)
	for range maxScrapes {
		if got := <-codes; got != http.StatusOK {
			t.Errorf("one of them answers %d", got)
		}
	}
	go func() { <-began }()
	if got := ask(t, h, http.MethodGet, Path, "").Code; got != http.StatusOK {
		t.Errorf("the next one answers %d", got)
	}
}

// What cannot be gathered is an error, and not a scrape in which it is missing.
func TestAnErrorIsToldAsOne(t *testing.T) {
	w := everything(t)
	w.libraries = prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return nil, errors.New("broken") })
	answer := ask(t, w.metrics(t, NewCounters()).Handler(nil, logr.Discard()), http.MethodGet, Path, "gzip")
	if answer.Code != http.StatusInternalServerError || strings.Contains(answer.Body.String(), "sallyport_") || answer.Header().Get("Content-Encoding") != "" {
		t.Errorf("%d %q, expected an error and nothing else", answer.Code, answer.Body)
	}
}
