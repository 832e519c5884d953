package admission

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"

	"sallyport.dev/sallyport/pkg/mutate"
)

// FuzzReview sends any bytes. There is an answer, it is the same each time, it never
// blames us (500), and a patch in it applies to the object it was made for.
func FuzzReview(f *testing.F) {
	seeds := []parts{
		gatewayReview(), gatewayReview(updated), apiRuleReview("v2"), apiRuleReview("v2alpha1"), apiRuleReview("v1beta1", updated),
		gatewayReview(func(p parts) { p.object()["spec"] = []any{1, nil, "x"} }),
		gatewayReview(func(p parts) { p.metadata()["annotations"] = parts{"mtls.sallyport.dev/Mode": "\x1b[31m\u202e"} }),
	}
	for _, seed := range seeds {
		f.Add([]byte(seed.encode(f)))
	}
	f.Add([]byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1"}}`))
	f.Add([]byte(strings.Repeat("[", 100)))
	f.Add([]byte("{}"))
	endpoint, _ := newTestEndpoint(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		w := post(t, endpoint, bytes.NewReader(body))
		if again := post(t, endpoint, bytes.NewReader(body)); again.Code != w.Code || !bytes.Equal(again.Body.Bytes(), w.Body.Bytes()) {
			t.Fatalf("two answers to one review: %d %s, %d %s", w.Code, w.Body, again.Code, again.Body)
		}
		switch w.Code {
		case http.StatusOK:
			checkAnswer(t, body, responseIn(t, w))
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		default:
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
	})
}

// checkAnswer holds a response to what the API server demands of it.
func checkAnswer(t *testing.T, body []byte, response admissionv1.AdmissionResponse) {
	t.Helper()
	review, err := decodeReview(body)
	if err != nil {
		t.Fatalf("answered what does not decode: %v", err)
	}
	if response.UID == "" || response.UID != review.UID {
		t.Errorf("uid %q, expected %q", response.UID, review.UID)
	}
	if !response.Allowed && (response.Result.Message == "" || response.Result.Code != http.StatusForbidden) {
		t.Errorf("a denial that says nothing: %+v", response.Result)
	}
	for _, warning := range response.Warnings {
		if len(warning) > maxWarning {
			t.Errorf("a warning of %d bytes", len(warning))
		}
	}
	if response.Patch == nil {
		return
	}
	var operations []mutate.Operation
	if err := json.Unmarshal(response.Patch, &operations); err != nil || len(operations) == 0 {
		t.Fatalf("patch %s: %v", response.Patch, err)
	}
	object, err := decoded(review.Object)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mutate.Apply(object, operations); err != nil {
		t.Errorf("patch %s does not apply: %v", response.Patch, err)
	}
}

// FuzzObject sends proper reviews of objects whose metadata and spec are any JSON.
func FuzzObject(f *testing.F) {
	for _, review := range []parts{gatewayReview(), apiRuleReview("v2")} {
		spec, _ := review.object()["spec"].(parts)
		annotations, _ := review.metadata()["annotations"].(parts)
		f.Add(review.object()["kind"] == "APIRule", annotations.encode(f), spec.encode(f), spec.encode(f))
		f.Add(review.object()["kind"] == "APIRule", annotations.encode(f), spec.encode(f), "")
	}
	f.Add(false, `{"mtls.sallyport.dev/mode":"optional","mtls.sallyport.dev/allowed-clients":"client/a"}`, `{"servers":[{"port":{"number":443,"protocol":"TLS"},"tls":{"mode":"SIMPLE"},"hosts":["*"]}]}`, `null`)
	f.Add(true, `null`, `{"gateway":"a/b","host":"x","rules":[{"request":{"headers":{"x":"y"}}}]}`, `{}`)
	endpoint, _ := newTestEndpoint(f)
	f.Fuzz(func(t *testing.T, rule bool, annotations, spec, old string) {
		review := gatewayReview()
		if rule {
			review = apiRuleReview("v2")
		}
		if !json.Valid([]byte(annotations)) || !json.Valid([]byte(spec)) {
			return
		}
		if json.Valid([]byte(old)) {
			before := parts{"metadata": review.metadata(), "spec": json.RawMessage(old)}
			before["apiVersion"], before["kind"] = review.object()["apiVersion"], review.object()["kind"]
			review.request()["operation"], review.request()["oldObject"] = "UPDATE", before
		}
		review.object()["metadata"] = parts{"name": review.metadata()["name"], "namespace": "shop", "annotations": json.RawMessage(annotations)}
		review.object()["spec"] = json.RawMessage(spec)
		body := []byte(review.encode(t))
		w := post(t, endpoint, bytes.NewReader(body))
		switch w.Code {
		case http.StatusOK:
			checkAnswer(t, body, responseIn(t, w))
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge: // nested too deep, a key twice, too many values
		default:
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
	})
}
