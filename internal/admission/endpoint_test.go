package admission

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// chunked makes a request one whose body has no declared length.
func chunked(r *http.Request) { r.ContentLength = -1 }

func TestBadReviewsGetAnHTTPErrorAndNoVerdict(t *testing.T) {
	good := gatewayReview().encode(t)
	replaced := func(old, replacement string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the review", old)
		}
		return strings.Replace(good, old, replacement, 1)
	}
	changed := func(change func(parts)) string { return gatewayReview(change).encode(t) }
	deep := strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000)

	tests := map[string]struct {
		body    string
		request func(*http.Request)
		status  int
		reason  string
		kind    string
		says    string
	}{
		"empty body":                 {body: "", status: 400, says: "decoding AdmissionReview: unexpected end of JSON input"},
		"no JSON":                    {body: "hello", status: 400, says: "invalid character"},
		"YAML":                       {body: "kind: AdmissionReview\n", status: 400, says: "invalid character"},
		"truncated":                  {body: good[:len(good)/2], status: 400, says: "unexpected end of JSON input"},
		"two reviews":                {body: good + good, status: 400, says: "after top-level value"},
		"a list":                     {body: "[" + good + "]", status: 400, says: "cannot unmarshal array"},
		"null":                       {body: "null", status: 400, says: `found kind "" of version ""`},
		"a review of v1beta1":        {body: replaced("admission.k8s.io/v1", "admission.k8s.io/v1beta1"), status: 400, says: `found kind "AdmissionReview" of version "admission.k8s.io/v1beta1", expected "AdmissionReview" of "admission.k8s.io/v1"`},
		"another kind of document":   {body: replaced(`"AdmissionReview"`, `"ConversionReview"`), status: 400, says: `found kind "ConversionReview"`},
		"no request":                 {body: `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`, status: 400, says: "no request in it"},
		"request is null":            {body: `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":null}`, status: 400, says: "no request in it"},
		"no uid":                     {body: changed(func(p parts) { delete(p.request(), "uid") }), status: 400, says: "request.uid has 0 bytes, expected 1 to 128"},
		"endless uid":                {body: changed(func(p parts) { p.request()["uid"] = strings.Repeat("a", 129) }), status: 400, says: "request.uid has 129 bytes"},
		"uid of the wrong type":      {body: changed(func(p parts) { p.request()["uid"] = 1 }), status: 400, says: "cannot unmarshal number"},
		"key twice in the review":    {body: replaced(`"operation":"CREATE"`, `"operation":"CREATE","operation":"DELETE"`), status: 400, says: `duplicate field "request.operation"`},
		"key twice in the object":    {body: replaced(`"mtls.sallyport.dev/mode":"mutual"`, `"mtls.sallyport.dev/mode":"mutual","mtls.sallyport.dev/mode":"disabled"`), status: 400, says: "duplicate field"},
		"10 000 deep":                {body: replaced(`"spec":{`, `"spec":{"deep":`+deep+","), status: 400, says: "nested deeper than 64 levels at byte"},
		"10 000 deep and truncated":  {body: strings.Repeat("[", 10_000), status: 400, says: "nested deeper than 64 levels at byte 64"},
		"a million values":           {body: replaced(`"spec":{`, `"spec":{"many":[`+strings.Repeat("{},", 1_000_000)+"0],"), status: 413, reason: reasonTooLarge, says: "too large: more than 100000 values at byte"},
		"object is a string":         {body: changed(func(p parts) { p.request()["object"] = "x" }), status: 400, says: "cannot unmarshal string"},
		"object is null":             {body: changed(func(p parts) { p.request()["object"] = nil }), status: 400, kind: "Gateway", says: "reading request.object: malformed review"},
		"object is empty":            {body: changed(func(p parts) { p.request()["object"] = parts{} }), status: 400, kind: "Gateway", says: "apiVersion and kind of the object are not those of the request"},
		"object of another kind":     {body: changed(func(p parts) { p.object()["kind"] = "APIRule" }), status: 400, kind: "Gateway", says: "apiVersion and kind of the object"},
		"object of another group":    {body: changed(func(p parts) { p.object()["apiVersion"] = "example.com/v1" }), status: 400, kind: "Gateway", says: "apiVersion and kind of the object"},
		"object of another version":  {body: changed(func(p parts) { p.object()["apiVersion"] = "networking.istio.io/v1beta1" }), status: 400, kind: "Gateway", says: "apiVersion and kind of the object"},
		"object elsewhere":           {body: changed(func(p parts) { p.metadata()["namespace"] = "labelled" }), status: 400, kind: "Gateway", says: "namespace of the object is not that of the request"},
		"no namespace":               {body: changed(func(p parts) { delete(p.metadata(), "namespace"); delete(p.request(), "namespace") }), status: 400, kind: "Gateway", says: "namespace of the object"},
		"another name":               {body: changed(func(p parts) { p.metadata()["name"] = "other" }), status: 400, kind: "Gateway", says: "name of the object"},
		"metadata is a list":         {body: changed(func(p parts) { p.object()["metadata"] = []any{} }), status: 400, kind: "Gateway", says: "namespace of the object"},
		"update without an old one":  {body: changed(func(p parts) { p.request()["operation"] = "UPDATE" }), status: 400, kind: "Gateway", says: "reading request.oldObject: malformed review"},
		"8 MiB":                      {body: strings.Repeat(" ", 8<<20), status: 413, reason: reasonTooLarge, says: "body of 8388608 bytes, at most 3145728 are read"},
		"8 MiB of unknown length":    {body: strings.Repeat(" ", 8<<20), request: chunked, status: 413, reason: reasonTooLarge, says: "body of more than 3145728 bytes"},
		"one byte too many":          {body: strings.Repeat(" ", MaxBody+1), request: chunked, status: 413, reason: reasonTooLarge, says: "body of more than"},
		"longer than declared":       {body: good, request: func(r *http.Request) { r.ContentLength = 10 }, status: 413, reason: reasonTooLarge, says: "body of more than 10 bytes"},
		"GET":                        {body: good, request: func(r *http.Request) { r.Method = http.MethodGet }, status: 405, says: `method "GET", expected "POST"`},
		"no content type":            {body: good, request: func(r *http.Request) { r.Header.Del("Content-Type") }, status: 415, says: "content type must be application/json"},
		"another content type":       {body: good, request: func(r *http.Request) { r.Header.Set("Content-Type", "application/yaml") }, status: 415, says: "content type must be application/json"},
		"nearly the content type":    {body: good, request: func(r *http.Request) { r.Header.Set("Content-Type", "application/json-patch+json") }, status: 415, says: "content type must be application/json"},
		"compressed":                 {body: good, request: func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, status: 415, says: "must not be compressed"},
		"the sender went away":       {body: good, request: func(r *http.Request) { r.Body = io.NopCloser(brokenBody{}) }, status: 408, reason: reasonInterrupted, says: "did not arrive in time"},
		"terminal codes in the uid":  {body: replaced(`"AdmissionReview"`, `"\u001b[31mReview\u202e"`), status: 400, says: `\x1b[31mReview\u202e`},
		"newlines in the error text": {body: "{\"a\": \x00}", status: 400, says: `invalid character '\x00'`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			endpoint, registry := newTestEndpoint(t)
			w := post(t, endpoint, strings.NewReader(tt.body), func(r *http.Request) {
				if tt.request != nil {
					tt.request(r)
				}
			})
			if w.Code != tt.status {
				t.Fatalf("status %d, expected %d: %s", w.Code, tt.status, w.Body)
			}
			if got := w.Body.String(); !strings.Contains(got, tt.says) || len(got) > maxExplanation+1 || strings.ContainsAny(strings.TrimSuffix(got, "\n"), "\x1b\n\x00\u202e") {
				t.Errorf("text %q, expected %q in it", got, tt.says)
			}
			kind, reason := tt.kind, tt.reason
			if kind == "" {
				kind = kindOther
			}
			if reason == "" {
				reason = reasonMalformed
			}
			if diff := cmp.Diff(map[outcome]float64{{kind, verdictRefused, reason}: 1}, counted(t, registry)); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, errors.New("reset by peer") }

func TestWhatIsNotOursToJudgeIsAllowed(t *testing.T) {
	tests := map[string]func(parts){
		"a deletion": func(p parts) {
			p.request()["operation"] = "DELETE"
			p.request()["oldObject"], p.request()["object"] = p.request()["object"], nil
		},
		"a connection":         func(p parts) { p.request()["operation"] = "CONNECT" },
		"an unknown operation": func(p parts) { p.request()["operation"] = "PERHAPS" },
		"the status":           func(p parts) { updated(p); p.request()["subResource"] = "status" },
		"the scale":            func(p parts) { updated(p); p.request()["subResource"] = "scale" },
		"another kind":         func(p parts) { p.request()["kind"] = parts{"group": "", "version": "v1", "kind": "Secret"} },
		"a Gateway of Gateway API": func(p parts) {
			p.request()["kind"] = parts{"group": "gateway.networking.k8s.io", "version": "v1", "kind": "Gateway"}
		},
		"no kind at all": func(p parts) { delete(p.request(), "kind") },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			endpoint, registry := newTestEndpoint(t)
			response := ask(t, endpoint, gatewayReview(change))
			if !response.Allowed || response.Patch != nil || len(response.Warnings) > 0 {
				t.Errorf("response %+v, expected allowed and nothing else", response)
			}
			if response.UID != "7f0b2a2e-7c1f-4b61-9b0b-0c5d3c1f9a11" {
				t.Errorf("uid %q is not that of the request", response.UID)
			}
			for o := range counted(t, registry) {
				if o.verdict != verdictIgnored || o.reason != reasonNotOurs {
					t.Errorf("counted %+v", o)
				}
			}
		})
	}
}

func TestTooManyBytesAtATimeAreRefusedAtOnce(t *testing.T) {
	endpoint, registry := newTestEndpoint(t)
	if !endpoint.share.TryAcquire(budget - minShare) {
		t.Fatal("the budget is smaller than it says")
	}
	small := gatewayReview().encode(t)
	if w := post(t, endpoint, strings.NewReader(small)); w.Code != http.StatusOK {
		t.Errorf("a small review found no share: %d %s", w.Code, w.Body)
	}
	large := small + strings.Repeat(" ", minShare)
	if w := post(t, endpoint, strings.NewReader(large)); w.Code != http.StatusTooManyRequests {
		t.Errorf("status %d, expected 429", w.Code)
	}
	if got := counted(t, registry)[outcome{kindOther, verdictRefused, reasonThrottled}]; got != 1 {
		t.Errorf("counted %v throttled reviews, expected 1", got)
	}
	endpoint.share.Release(budget - minShare)
	if w := post(t, endpoint, strings.NewReader(large)); w.Code != http.StatusOK {
		t.Errorf("a large review found no share in the end: %d %s", w.Code, w.Body)
	}
	if !endpoint.share.TryAcquire(budget) {
		t.Error("shares were not given back")
	}
}

func TestTheLargestReviewIsAnswered(t *testing.T) {
	endpoint, _ := newTestEndpoint(t)
	body := gatewayReview().encode(t)
	body += strings.Repeat(" ", MaxBody-len(body))
	if w := post(t, endpoint, strings.NewReader(body)); w.Code != http.StatusOK {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	if w := post(t, endpoint, strings.NewReader(body), chunked); w.Code != http.StatusOK {
		t.Errorf("status %d of unknown length: %s", w.Code, w.Body)
	}
}

func TestADryRunGetsTheSameAnswer(t *testing.T) {
	for _, review := range []parts{gatewayReview(), apiRuleReview("v2")} {
		endpoint, _ := newTestEndpoint(t)
		real := post(t, endpoint, strings.NewReader(review.encode(t)))
		review.request()["dryRun"] = true
		dry := post(t, endpoint, strings.NewReader(review.encode(t)))
		if real.Code != http.StatusOK || !bytes.Equal(real.Body.Bytes(), dry.Body.Bytes()) {
			t.Errorf("answers differ:\n%s\n%s", real.Body, dry.Body)
		}
	}
}
