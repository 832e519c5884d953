package admission

import (
	"encoding/json"
	"fmt"
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	ctrladmission "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"sallyport.dev/sallyport/pkg/mutate"
)

// The audit annotations of every decision. The API server puts the name of the
// webhook in front of them.
const (
	auditVerdict = "verdict"
	auditReason  = "reason"
)

// respond turns a decision into the answer to the review it was made for.
func respond(review ctrladmission.Request, d mutate.Decision) (ctrladmission.Response, error) {
	response := ctrladmission.Response{AdmissionResponse: admissionv1.AdmissionResponse{
		Allowed:          d.Verdict != mutate.Denied,
		Warnings:         boundWarnings(d.Warnings),
		AuditAnnotations: map[string]string{auditVerdict: string(d.Verdict), auditReason: string(d.Reason)},
	}}
	switch d.Verdict {
	case mutate.Allowed:
		response.Result = &metav1.Status{Code: http.StatusOK}
	case mutate.Denied:
		response.Result = denial(review, d)
	case mutate.Patched:
		patch, err := json.Marshal(d.Operations)
		if err != nil {
			return ctrladmission.Response{}, fmt.Errorf("encoding patch: %w", err)
		}
		patchType := admissionv1.PatchTypeJSONPatch
		response.Patch, response.PatchType = patch, &patchType
		response.Result = &metav1.Status{Code: http.StatusOK}
	default:
		return ctrladmission.Response{}, fmt.Errorf("answering review: unknown verdict %q", d.Verdict)
	}
	return response, nil
}

// denial is what the user sees. The cause repeats the reason for programs, which
// must not have to read the message.
func denial(review ctrladmission.Request, d mutate.Decision) *metav1.Status {
	message := printable(d.Message, maxMessage)
	return &metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: message,
		Details: &metav1.StatusDetails{
			Group: review.Kind.Group, Kind: review.Kind.Kind, Name: review.Name,
			Causes: []metav1.StatusCause{{Type: metav1.CauseType(d.Reason), Message: message}},
		},
	}
}
