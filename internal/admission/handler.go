package admission

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	kjson "sigs.k8s.io/json"

	ctrladmission "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"sallyport.dev/sallyport/internal/install"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/mutate"
)

// namespaceWait bounds how long a review waits for its Namespace to be heard of. A
// watch is behind by milliseconds; the API server gives up on us after 3 seconds.
const namespaceWait = 500 * time.Millisecond

// The groups of the kinds that are judged, in any of their versions.
const (
	gatewayGroup = "networking.istio.io"
	apiRuleGroup = "gateway.kyma-project.io"
)

// errReview is the cause of every answer to a review that makes no sense.
var errReview = errors.New("malformed review")

// Cluster is what a Handler may know about the cluster. All of it is answered from
// memory.
type Cluster struct {
	// Namespaces answers for the request's Namespace.
	Namespaces Namespaces
	// Edge answers for other Gateways.
	Edge mutate.Edge
	// Capabilities says what the Gateway CRD can express at this moment.
	Capabilities func() mutate.Capabilities
}

// Handler answers reviews of Gateways and APIRules. It implements the
// admission.Handler of controller-runtime, has no state and no side effects.
type Handler struct {
	cluster  Cluster
	settings install.Settings
	metrics  *metrics
	decide   map[string]func(mutate.Request) mutate.Decision
}

// Handle implements admission.Handler. What is not ours to judge (another kind, a
// deletion, a subresource) is allowed: an object we have no opinion on must not
// depend on us. An object that is being deleted is judged like any other, or a
// finalizer would be a way around us.
func (h *Handler) Handle(ctx context.Context, review ctrladmission.Request) ctrladmission.Response {
	response, o := h.answer(ctx, review)
	h.metrics.count(o)
	return response
}

func (h *Handler) answer(ctx context.Context, review ctrladmission.Request) (ctrladmission.Response, outcome) {
	kind := kindOf(review)
	decide := h.decider(review)
	if decide == nil {
		return ctrladmission.Allowed(""), outcome{kind, verdictIgnored, reasonNotOurs}
	}
	request, err := h.gather(ctx, review)
	switch {
	case errors.Is(err, errReview):
		return ctrladmission.Errored(http.StatusBadRequest, err), outcome{kind, verdictRefused, reasonMalformed}
	case err != nil:
		return ctrladmission.Errored(http.StatusGatewayTimeout, err), outcome{kind, verdictRefused, reasonInterrupted}
	}
	decision := decide(request)
	response, err := respond(review, decision)
	if err != nil {
		return ctrladmission.Errored(http.StatusInternalServerError, err), outcome{kind, verdictFailed, reasonEncoding}
	}
	return response, outcome{kind, string(decision.Verdict), string(decision.Reason)}
}

// decider is the function that judges this review; nil if none does.
func (h *Handler) decider(review ctrladmission.Request) func(mutate.Request) mutate.Decision {
	if review.SubResource != "" {
		return nil
	}
	if review.Operation != admissionv1.Create && review.Operation != admissionv1.Update {
		return nil
	}
	return h.decide[kindOf(review)]
}

// kindOf is the kind of the object as metrics call it.
func kindOf(review ctrladmission.Request) string {
	switch {
	case review.Kind.Group == gatewayGroup && review.Kind.Kind == string(intent.KindGateway):
		return string(intent.KindGateway)
	case review.Kind.Group == apiRuleGroup && review.Kind.Kind == string(intent.KindAPIRule):
		return string(intent.KindAPIRule)
	default:
		return kindOther
	}
}

// gather reads all facts a decision is made from.
func (h *Handler) gather(ctx context.Context, review ctrladmission.Request) (mutate.Request, error) {
	object, err := objectOf(review, review.Object)
	if err != nil {
		return mutate.Request{}, fmt.Errorf("reading request.object: %w", err)
	}
	var old map[string]any
	if review.Operation == admissionv1.Update {
		if old, err = objectOf(review, review.OldObject); err != nil {
			return mutate.Request{}, fmt.Errorf("reading request.oldObject: %w", err)
		}
	}
	wait, cancel := context.WithTimeout(ctx, namespaceWait)
	defer cancel()
	// A Namespace that never appears has no label as far as we know. Should it have
	// one, the admission policies still see it and refuse what is not mutual.
	mode, _ := h.cluster.Namespaces.DefaultMode(wait, review.Namespace)
	if ctx.Err() != nil {
		return mutate.Request{}, fmt.Errorf("waiting for namespace: %w", ctx.Err())
	}
	return mutate.Request{
		Object: object, Old: old, Platform: h.platform(mode),
		Edge: h.cluster.Edge, Capabilities: h.cluster.Capabilities(),
	}, nil
}

func (h *Handler) platform(namespaceMode string) intent.Platform {
	platform := h.settings.Platform()
	platform.NamespaceMode = namespaceMode
	return platform
}

// objectOf is an object of the review, held to what the review says about it: the
// parts of a review are written by one API server and agree, so one that
// contradicts itself comes from somebody else.
func objectOf(review ctrladmission.Request, extension runtime.RawExtension) (map[string]any, error) {
	object, err := decoded(extension)
	if err != nil {
		return nil, err
	}
	u := unstructured.Unstructured{Object: object}
	gvk := u.GroupVersionKind()
	if gvk.Group != review.Kind.Group || gvk.Kind != review.Kind.Kind || gvk.Version != review.Kind.Version {
		return nil, fmt.Errorf("%w: apiVersion and kind of the object are not those of the request", errReview)
	}
	if review.Namespace == "" || u.GetNamespace() != review.Namespace {
		return nil, fmt.Errorf("%w: namespace of the object is not that of the request", errReview)
	}
	if review.Name != "" && u.GetName() != review.Name {
		return nil, fmt.Errorf("%w: name of the object is not that of the request", errReview)
	}
	return object, nil
}

// decoded takes the object that Endpoint decoded with the review, or decodes the
// bytes that any other server of this Handler passes on.
func decoded(extension runtime.RawExtension) (map[string]any, error) {
	if u, ok := extension.Object.(*unstructured.Unstructured); ok && u.Object != nil {
		return u.Object, nil
	}
	var object map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(extension.Raw, &object); err != nil {
		return nil, fmt.Errorf("%w: %w", errReview, err)
	}
	if object == nil {
		return nil, fmt.Errorf("%w: null", errReview)
	}
	return object, nil
}
