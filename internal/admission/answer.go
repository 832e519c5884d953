package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	ctrladmission "sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// answer is an encoded AdmissionReview with its response.
type answer struct{ body []byte }

func (a answer) write(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(a.body)))
	// A write can only fail because the caller went away.
	_, _ = w.Write(a.body)
}

// ask has the handler answer the review and encodes what it says. A response that
// is neither allowed nor a denial (403) is the handler's way to report an error; it
// has counted it itself.
func (e *Endpoint) ask(ctx context.Context, review ctrladmission.Request) (answer, *refusal) {
	response := e.handler.Handle(ctx, review)
	if err := response.Complete(review); err != nil {
		return answer{}, e.failed(fmt.Errorf("completing response: %w", err))
	}
	if !response.Allowed && response.Result.Code != http.StatusForbidden {
		return answer{}, &refusal{status: int(response.Result.Code), cause: errors.New(response.Result.Message)}
	}
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Response: &response.AdmissionResponse,
	})
	if err != nil {
		return answer{}, e.failed(fmt.Errorf("encoding response: %w", err))
	}
	return answer{body}, nil
}

func (e *Endpoint) failed(cause error) *refusal {
	return &refusal{status: http.StatusInternalServerError, outcome: outcome{kindOther, verdictFailed, reasonEncoding}, cause: cause}
}
