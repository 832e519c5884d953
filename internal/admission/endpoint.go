package admission

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/semaphore"
	"k8s.io/utils/clock"

	ctrladmission "sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

const (
	// Path is where reviews are answered.
	Path = "/mutate"

	// answerWithin is the deadline of one review, below the 3 seconds after which the
	// API server goes on without us.
	answerWithin = 2 * time.Second

	// budget bounds the bytes of all reviews that are being answered, and with them
	// memory: a decoded review is up to 70 times its size (an empty object is 3 bytes
	// on the wire). minShare bounds how many small reviews share it (256).
	budget   = 4 << 20
	minShare = 16 << 10

	// keepBuffer is the largest buffer that is kept for the next review.
	keepBuffer = 256 << 10
	// maxExplanation bounds the text of an HTTP error.
	maxExplanation = 512
)

// Endpoint serves reviews over HTTP. Whatever is no proper review gets an HTTP
// error, never a verdict: an error lets the API server apply its failurePolicy, a
// verdict would refuse the user's object for a fault that is not the user's.
type Endpoint struct {
	handler ctrladmission.Handler
	metrics *metrics
	clock   clock.PassiveClock
	log     logr.Logger
	share   *semaphore.Weighted
	buffers sync.Pool
}

func newEndpoint(handler ctrladmission.Handler, m *metrics, c clock.PassiveClock, log logr.Logger) *Endpoint {
	return &Endpoint{
		handler: handler, metrics: m, clock: c, log: log,
		share:   semaphore.NewWeighted(budget),
		buffers: sync.Pool{New: func() any { return new(bytes.Buffer) }},
	}
}

// refusal is an HTTP error and how it is counted; the zero outcome has been counted
// by the handler.
type refusal struct {
	status  int
	outcome outcome
	cause   error
}

func (r *refusal) Error() string { return r.cause.Error() }

func refuse(status int, reason string, cause error) *refusal {
	return &refusal{status: status, outcome: outcome{kindOther, verdictRefused, reason}, cause: cause}
}

// ServeHTTP implements http.Handler.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := e.clock.Now()
	defer func() { e.metrics.took(e.clock.Since(started)) }()
	defer e.recover(w)

	ctx, cancel := context.WithTimeout(r.Context(), answerWithin)
	defer cancel()
	answer, refused := e.serve(ctx, w, r)
	if refused != nil {
		if refused.outcome != (outcome{}) {
			e.metrics.count(refused.outcome)
		}
		e.log.V(1).Info("refused a review", "status", refused.status, "reason", refused.outcome.reason)
		http.Error(w, printable(refused.Error(), maxExplanation), refused.status)
		return
	}
	answer.write(w)
}

// recover turns a panic into a 500. The value of the panic may quote the object, so
// only its type is logged.
func (e *Endpoint) recover(w http.ResponseWriter) {
	value := recover()
	if value == nil {
		return
	}
	e.metrics.count(outcome{kindOther, verdictFailed, reasonPanic})
	e.log.Error(nil, "recovered from a panic while answering a review", "type", fmt.Sprintf("%T", value), "stack", string(debug.Stack()))
	http.Error(w, "answering the review: internal error", http.StatusInternalServerError)
}

func (e *Endpoint) serve(ctx context.Context, w http.ResponseWriter, r *http.Request) (answer, *refusal) {
	size, refused := checkHeader(r)
	if refused != nil {
		return answer{}, refused
	}
	share := max(size, minShare)
	if !e.share.TryAcquire(share) {
		return answer{}, refuse(http.StatusTooManyRequests, reasonThrottled, errors.New("too many reviews at a time"))
	}
	defer e.share.Release(share)

	review, refused := e.read(http.MaxBytesReader(w, r.Body, size))
	if refused != nil {
		return answer{}, refused
	}
	return e.ask(ctx, review)
}

// checkHeader refuses what can be refused before a byte of the body is read, and
// returns how many bytes the body may have.
func checkHeader(r *http.Request) (int64, *refusal) {
	if r.Method != http.MethodPost {
		return 0, refuse(http.StatusMethodNotAllowed, reasonMalformed, fmt.Errorf("method %.16q, expected %q", r.Method, http.MethodPost))
	}
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/json" {
		return 0, refuse(http.StatusUnsupportedMediaType, reasonMalformed, errors.New("content type must be application/json"))
	}
	if r.Header.Get("Content-Encoding") != "" {
		return 0, refuse(http.StatusUnsupportedMediaType, reasonMalformed, errors.New("a review must not be compressed"))
	}
	if r.ContentLength > MaxBody {
		return 0, refuse(http.StatusRequestEntityTooLarge, reasonTooLarge, fmt.Errorf("body of %d bytes, at most %d are read", r.ContentLength, MaxBody))
	}
	if r.ContentLength < 0 {
		return MaxBody, nil
	}
	return r.ContentLength, nil
}

func (e *Endpoint) read(body io.Reader) (ctrladmission.Request, *refusal) {
	buffer, _ := e.buffers.Get().(*bytes.Buffer)
	defer func() {
		// The decoder copies every string, so nothing points into the buffer any more.
		if buffer.Cap() <= keepBuffer {
			buffer.Reset()
			e.buffers.Put(buffer)
		}
	}()
	if _, err := buffer.ReadFrom(body); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return ctrladmission.Request{}, refuse(http.StatusRequestEntityTooLarge, reasonTooLarge, fmt.Errorf("body of more than %d bytes", tooLarge.Limit))
		}
		return ctrladmission.Request{}, refuse(http.StatusRequestTimeout, reasonInterrupted, errors.New("the body did not arrive in time"))
	}
	review, err := decodeReview(buffer.Bytes())
	switch {
	case errors.Is(err, errTooLarge):
		return ctrladmission.Request{}, refuse(http.StatusRequestEntityTooLarge, reasonTooLarge, err)
	case err != nil:
		return ctrladmission.Request{}, refuse(http.StatusBadRequest, reasonMalformed, err)
	}
	return review, nil
}
