package evaluator

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
)

// transport takes a client's requests to a handler in the same process.
type transport struct{ handler http.Handler }

// RoundTrip has the handler answer. The answer to a watch comes as it is written, any other when it is complete.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Query().Has("watch") {
		return t.watch(request), nil
	}
	recorder := httptest.NewRecorder()
	t.handler.ServeHTTP(recorder, received(request.Context(), request))
	response := recorder.Result()
	response.Request = request
	return response, nil
}

// received is a request as a server has it.
func received(ctx context.Context, request *http.Request) *http.Request {
	r := request.Clone(ctx)
	r.RequestURI, r.RemoteAddr = request.URL.RequestURI(), "127.0.0.1:1"
	if r.Body == nil {
		r.Body = http.NoBody
	}
	return r
}

func (t *transport) watch(request *http.Request) *http.Response {
	ctx, cancel := context.WithCancel(request.Context())
	reader, writer := io.Pipe()
	answer := &stream{header: http.Header{}, body: writer, begun: make(chan struct{})}
	go func() {
		defer cancel()
		t.handler.ServeHTTP(answer, received(ctx, request))
		answer.WriteHeader(http.StatusOK)
		_ = writer.Close() // never fails
	}()
	<-answer.begun
	return &http.Response{
		Status: http.StatusText(answer.status), StatusCode: answer.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: answer.header.Clone(), Body: &streamBody{PipeReader: reader, cancel: cancel}, ContentLength: -1, Request: request,
	}
}

// streamBody ends the request when nobody reads the answer any more.
type streamBody struct {
	*io.PipeReader
	cancel context.CancelFunc
}

// Close ends the request.
func (b *streamBody) Close() error {
	b.cancel()
	return b.PipeReader.Close()
}

// stream is an answer that is read while it is written.
type stream struct {
	header http.Header
	body   *io.PipeWriter
	once   sync.Once
	begun  chan struct{}
	status int
}

// Header is what the answer begins with.
func (s *stream) Header() http.Header { return s.header }

// WriteHeader begins the answer.
func (s *stream) WriteHeader(status int) {
	s.once.Do(func() {
		s.status = status
		close(s.begun)
	})
}

// Write goes on with it, beginning it where nobody did.
func (s *stream) Write(data []byte) (int, error) {
	s.WriteHeader(http.StatusOK)
	return s.body.Write(data)
}

// Flush has nothing to do: each Write is read at once.
func (s *stream) Flush() {}

// CloseNotify never tells anything; the API server asks for it all the same where it flushes.
func (s *stream) CloseNotify() <-chan bool { return nil }
