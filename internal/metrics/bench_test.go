package metrics

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-logr/logr"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
)

// BenchmarkScrape is one scrape of an agent with 10,000 callers and 1,000 gateways in two
// replicas, from the request to the last byte.
func BenchmarkScrape(b *testing.B) {
	w := fleet(b)
	w.libraries = ctrlmetrics.Registry
	handler := w.metrics(b, NewCounters()).Handler(nil, logr.Discard())
	for _, encoding := range []string{"identity", "gzip"} {
		b.Run(encoding, func(b *testing.B) {
			b.ReportAllocs()
			answer := httptest.NewRecorder()
			answer.Body.Grow(16 << 20)
			size, series := 0, 0
			for b.Loop() {
				answer.Body.Reset()
				request := httptest.NewRequestWithContext(b.Context(), http.MethodGet, Path, http.NoBody)
				request.Header.Set("Accept-Encoding", encoding)
				handler.ServeHTTP(answer, request)
				size = answer.Body.Len()
			}
			if encoding == "identity" {
				for line := range bytes.Lines(answer.Body.Bytes()) {
					if line[0] != '#' {
						series++
					}
				}
				b.ReportMetric(float64(series), "series")
			}
			b.ReportMetric(float64(size), "bytes")
			b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms/scrape")
		})
	}
}
