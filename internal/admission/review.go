package admission

import (
	"errors"
	"fmt"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	kjson "sigs.k8s.io/json"

	ctrladmission "sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

const (
	// MaxBody bounds a review, in bytes. etcd takes objects of at most 1.5 MiB, and
	// an update brings two of them; Gateways and APIRules are a hundredth of that.
	MaxBody = 3 << 20
	// maxDepth bounds nesting. A Gateway with its managed fields is less than 20
	// deep, and everything that walks an object may recurse.
	maxDepth = 64
	// maxValues bounds how many values a review may have. Time and memory follow this
	// number, not the bytes: a mebibyte of empty objects takes 60 ms and 70 MiB. A
	// Gateway of a thousand servers, sent twice with its managed fields, has half of it.
	maxValues = 100_000
	// maxUID bounds the id that is sent back. The API server's are 36 bytes long.
	maxUID = 128
)

// review is the part of AdmissionReview v1 that is read. The rest (who asks, with
// which options) is skipped, so it cannot decide anything.
type review struct {
	metav1.TypeMeta `json:",inline"`
	Request         *reviewRequest `json:"request"`
}

type reviewRequest struct {
	UID         types.UID                   `json:"uid"`
	Kind        metav1.GroupVersionKind     `json:"kind"`
	Resource    metav1.GroupVersionResource `json:"resource"`
	SubResource string                      `json:"subResource"`
	Name        string                      `json:"name"`
	Namespace   string                      `json:"namespace"`
	Operation   admissionv1.Operation       `json:"operation"`
	DryRun      *bool                       `json:"dryRun"`
	Object      map[string]any              `json:"object"`
	OldObject   map[string]any              `json:"oldObject"`
}

// decodeReview reads one AdmissionReview v1. The objects are decoded in the same
// pass, into maps, with integers kept as int64: a typed Gateway would drop the
// fields its module does not know, and a float64 would change large numbers.
func decodeReview(body []byte) (ctrladmission.Request, error) {
	if err := checkShape(body); err != nil {
		return ctrladmission.Request{}, fmt.Errorf("decoding AdmissionReview: %w", err)
	}
	var r review
	strict, err := kjson.UnmarshalStrict(body, &r, kjson.DisallowDuplicateFields)
	if err != nil {
		return ctrladmission.Request{}, fmt.Errorf("decoding AdmissionReview: %w", err)
	}
	if len(strict) > 0 {
		// Two parsers may pick different ones of two equal keys, so neither counts.
		return ctrladmission.Request{}, fmt.Errorf("decoding AdmissionReview: %w", strict[0])
	}
	if r.Kind != "AdmissionReview" || r.APIVersion != admissionv1.SchemeGroupVersion.String() {
		return ctrladmission.Request{}, fmt.Errorf("decoding AdmissionReview: found kind %.64q of version %.64q, expected %q of %q",
			r.Kind, r.APIVersion, "AdmissionReview", admissionv1.SchemeGroupVersion.String())
	}
	if r.Request == nil {
		return ctrladmission.Request{}, errors.New("decoding AdmissionReview: no request in it")
	}
	if r.Request.UID == "" || len(r.Request.UID) > maxUID {
		return ctrladmission.Request{}, fmt.Errorf("decoding AdmissionReview: request.uid has %d bytes, expected 1 to %d", len(r.Request.UID), maxUID)
	}
	return r.Request.admission(), nil
}

func (r *reviewRequest) admission() ctrladmission.Request {
	return ctrladmission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		UID: r.UID, Kind: r.Kind, Resource: r.Resource, SubResource: r.SubResource,
		Name: r.Name, Namespace: r.Namespace, Operation: r.Operation, DryRun: r.DryRun,
		Object: extension(r.Object), OldObject: extension(r.OldObject),
	}}
}

// extension carries a decoded object in the place of its bytes.
func extension(object map[string]any) runtime.RawExtension {
	if object == nil {
		return runtime.RawExtension{}
	}
	return runtime.RawExtension{Object: &unstructured.Unstructured{Object: object}}
}

// checkShape refuses deep nesting and too many values before anything is built from
// the body. It only counts what stands outside of strings; what is no JSON the
// decoder refuses.
func checkShape(body []byte) error {
	depth, values, quoted := 0, 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth, values = depth+1, values+1
		case c == ',':
			values++
		case c == '}' || c == ']':
			depth--
		}
		if depth > maxDepth {
			return fmt.Errorf("nested deeper than %d levels at byte %d", maxDepth, i)
		}
		if values > maxValues {
			return fmt.Errorf("%w: more than %d values at byte %d", errTooLarge, maxValues, i)
		}
	}
	return nil
}

// errTooLarge is the cause where it is the size that is refused.
var errTooLarge = errors.New("too large")
