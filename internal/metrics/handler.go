package metrics

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	"github.com/prometheus/common/expfmt"
)

// Path is where metrics are served.
const Path = "/metrics"

// maxScrapes bounds how many scrapes are answered at a time: two Prometheus servers, and
// a person or two beside them.
const maxScrapes = 4

// Handler serves exactly /metrics, /healthz and /readyz. Guard decides who may scrape; nil
// lets everybody. The kubelet is let in always.
func (m *Metrics) Handler(guard func(http.Handler) http.Handler, log logr.Logger) http.Handler {
	var scrapes http.Handler = &scraped{metrics: m, log: log, slots: make(chan struct{}, maxScrapes)}
	if guard != nil {
		scrapes = guard(scrapes)
	}
	ok := func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") }
	mux := http.NewServeMux()
	mux.Handle("GET "+Path, scrapes)
	mux.HandleFunc("GET /healthz", ok)
	mux.HandleFunc("GET /readyz", ok)
	return mux
}

// scraped answers scrapes.
type scraped struct {
	metrics *Metrics
	log     logr.Logger
	slots   chan struct{}
}

// ServeHTTP implements http.Handler.
func (s *scraped) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		http.Error(w, "too many scrapes at a time: try again", http.StatusServiceUnavailable)
		return
	}
	counted, err := s.metrics.counted.Gather()
	if err != nil {
		s.log.Error(err, "gathering metrics")
		http.Error(w, "metrics could not be gathered", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	to, finish := compressed(w, r)
	if err := errors.Join(s.metrics.write(r.Context(), to, counted), finish()); err != nil {
		s.log.V(1).Info("the client of a scrape went away", "error", err.Error())
	}
}

// compressed writes what a client takes: a scrape is the same words thousands of times,
// so the least effort leaves a thirtieth of it.
func compressed(w http.ResponseWriter, r *http.Request) (to io.Writer, finish func() error) {
	if !slices.ContainsFunc(strings.Split(r.Header.Get("Accept-Encoding"), ","), func(encoding string) bool { return strings.TrimSpace(encoding) == "gzip" }) {
		return w, func() error { return nil }
	}
	w.Header().Set("Content-Encoding", "gzip")
	z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) //nolint:errcheck // the level is one there is
	return z, z.Close
}
