package admission

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	kjson "sigs.k8s.io/json"

	clocktesting "k8s.io/utils/clock/testing"
	ctrladmission "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"sallyport.dev/sallyport/pkg/mutate"
)

// withManagedFields makes the object as large as one that kubectl has applied.
func withManagedFields(p parts) {
	var fields any
	spec := `{"f:metadata":{"f:annotations":{".":{},"f:mtls.sallyport.dev/mode":{},"f:kubectl.kubernetes.io/last-applied-configuration":{}}},"f:spec":{".":{},"f:selector":{},"f:servers":{}}}`
	if err := json.Unmarshal([]byte(spec), &fields); err != nil {
		panic(err)
	}
	p.metadata()["managedFields"] = []any{parts{
		"manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "networking.istio.io/v1",
		"time": "2026-03-01T12:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields,
	}}
}

// BenchmarkReview is the handler alone, from the bytes of a review to the bytes of
// its answer, beside its floor (decoding the object with the same decoder) and
// beside the same decision served by controller-runtime.
func BenchmarkReview(b *testing.B) {
	for name, review := range map[string]parts{
		"gateway": gatewayReview(withManagedFields),
		"apirule": apiRuleReview("v2", withManagedFields),
		"update":  gatewayReview(withManagedFields, updated),
	} {
		body := review.encode(b)
		object := review.object().encode(b)
		endpoint := benchmarked(b)
		b.Run(name+"/floor=decode-object", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(object)))
			for b.Loop() {
				var decoded map[string]any
				if err := kjson.UnmarshalCaseSensitivePreserveInts([]byte(object), &decoded); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/endpoint", func(b *testing.B) { serve(b, endpoint, body) })
		b.Run(name+"/controller-runtime", func(b *testing.B) {
			serve(b, &ctrladmission.Webhook{Handler: endpoint.handler}, body)
		})
		b.Run(name+"/controller-runtime-allowing-all", func(b *testing.B) {
			serve(b, &ctrladmission.Webhook{Handler: allowAll}, body)
		})
	}
}

func benchmarked(b *testing.B) *Endpoint {
	b.Helper()
	endpoint, err := New(Config{
		Settings: settings(b),
		Cluster: Cluster{
			Namespaces:   namespaceModes{"shop": ""},
			Edge:         noOtherGateways{},
			Capabilities: func() mutate.Capabilities { return mutate.Capabilities{CACertCredentialName: true} },
		},
		Registry: prometheus.NewRegistry(),
		Clock:    clocktesting.NewFakePassiveClock(start),
		Log:      logr.Discard(),
	})
	if err != nil {
		b.Fatal(err)
	}
	return endpoint
}

// discarded is a ResponseWriter that costs next to nothing.
type discarded struct {
	header http.Header
	status int
}

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(p []byte) (int, error) { return len(p), nil }
func (d *discarded) WriteHeader(status int)      { d.status = status }

func serve(b *testing.B, handler http.Handler, body string) {
	b.Helper()
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	reader := strings.NewReader(body)
	r := httptest.NewRequest(http.MethodPost, Path, reader)
	r.Header.Set("Content-Type", "application/json")
	for b.Loop() {
		reader.Reset(body)
		r.Body = io.NopCloser(reader)
		w := &discarded{header: http.Header{}}
		handler.ServeHTTP(w, r)
		if w.status != 0 {
			b.Fatalf("status %d", w.status)
		}
	}
}

var allowAll = ctrladmission.HandlerFunc(func(context.Context, ctrladmission.Request) ctrladmission.Response {
	return ctrladmission.Allowed("")
})

// BenchmarkWorstReview is what somebody who reaches the port can make us do with
// one mebibyte.
func BenchmarkWorstReview(b *testing.B) {
	const size = 1 << 20
	inSpec := func(filling string) string {
		count := min(size/(len(filling)+1), maxValues/2-1000)
		return gatewayReview(func(p parts) {
			p.object()["spec"] = parts{"x": json.RawMessage("[" + strings.Repeat(filling+",", count) + "0]")}
		}).encode(b)
	}
	endpoint := benchmarked(b)
	for name, body := range map[string]string{
		"numbers":       inSpec("1"),
		"empty-objects": inSpec("{}"),
		"empty-lists":   inSpec("[]"),
		"strings":       inSpec(`"\u0041"`),
		"one-string":    inSpec(`"` + strings.Repeat("a", size-3) + `"`),
		"annotations": gatewayReview(func(p parts) {
			annotations := parts{"mtls.sallyport.dev/mode": "mutual"}
			for i := range size / 40 {
				annotations[fmt.Sprintf("mtls.sallyport.dev/x%d", i)] = ""
			}
			p.metadata()["annotations"] = annotations
		}).encode(b),
		"hosts": gatewayReview(func(p parts) {
			var hosts []any
			for i := range size / 20 {
				hosts = append(hosts, fmt.Sprintf("h%d.example.com", i))
			}
			server, _ := p.object()["spec"].(parts)["servers"].([]any)[0].(parts)
			server["hosts"] = hosts
		}).encode(b),
		"servers": gatewayReview(func(p parts) {
			spec, _ := p.object()["spec"].(parts)
			servers, _ := spec["servers"].([]any)
			for len(servers) < maxValues/20 {
				servers = append(servers, servers[0])
			}
			spec["servers"] = servers
		}).encode(b),
	} {
		b.Run(name, func(b *testing.B) { serve(b, endpoint, body) })
	}
}
