package faults

import (
	"bytes"
	"context"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
)

// fault is what the proxy does to one request.
type fault int

const (
	// pass lets it through.
	pass fault = iota
	// dieBefore kills the agent, and the API server never hears of the request.
	dieBefore
	// dieAfter lets the API server carry the request out, and kills the agent before it
	// hears the answer.
	dieAfter
	// refuse answers in the API server's place, with a status that a busy one gives.
	refuse
	// mute lets a watch begin and delivers nothing of it, and never ends it.
	mute
	// hold keeps a request back until it is released, and has it carried out then.
	hold
)

// proxy stands between the agent and the API server. Requests go on with the token
// that they came with.
type proxy struct {
	*httputil.ReverseProxy
	url string
	// ca is what its certificate is verified by.
	ca []byte

	mu sync.Mutex
	// judge decides about a request; nil passes all.
	judge func(r *http.Request) fault
	// kill ends the agent.
	kill func()
	// written is told of the writes that the API server accepted; nil for nobody.
	written func(r *http.Request)
	// release ends what hold keeps back.
	release chan struct{}
	// answered are the API server's answers to what was kept back.
	answered []int
	// status is what refuse answers with.
	status int
	// calls counts what came, by what became of it.
	calls map[fault]int
}

func newProxy(t testing.TB, config *rest.Config) *proxy {
	t.Helper()
	transport, err := rest.TransportFor(rest.AnonymousClientConfig(config))
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{calls: map[fault]int{}, release: make(chan struct{}), status: http.StatusInternalServerError}
	p.ReverseProxy = &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1, // a watch is read as it comes
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	// Tokens are sent over TLS only.
	server := httptest.NewUnstartedServer(p)
	server.EnableHTTP2 = true // as the API server
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	p.url = server.URL
	p.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return p
}

// set changes what is done from now on, and begins to count anew.
func (p *proxy) set(judge func(r *http.Request) fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.judge, p.calls = judge, map[fault]int{}
}

func (p *proxy) count(f fault) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[f]
}

func (p *proxy) decide(r *http.Request) (fault, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	verdict := pass
	if p.judge != nil {
		verdict = p.judge(r)
	}
	p.calls[verdict]++
	return verdict, p.status
}

// ServeHTTP implements http.Handler.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	verdict, status := p.decide(r)
	switch verdict {
	case pass:
		p.pass(w, r)
	case dieBefore:
		p.kill()
		panic(http.ErrAbortHandler)
	case dieAfter:
		p.carryOut(r)
		p.kill()
		panic(http.ErrAbortHandler)
	case refuse:
		w.Header().Set("Retry-After", "0")
		http.Error(w, http.StatusText(status), status)
	case hold:
		kept, err := detached(r)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		<-p.release
		answer := &nobody{header: http.Header{}}
		p.ReverseProxy.ServeHTTP(answer, kept)
		p.mu.Lock()
		p.answered = append(p.answered, answer.status)
		p.mu.Unlock()
	case mute:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
}

// onWritten has somebody told of the writes that the API server accepts.
func (p *proxy) onWritten(f func(*http.Request)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.written = f
}

// pass lets a request through, and tells of a write that was accepted.
func (p *proxy) pass(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	written := p.written
	p.mu.Unlock()
	if written == nil || !isWrite(r) {
		p.ReverseProxy.ServeHTTP(w, r)
		return
	}
	answer := &noted{ResponseWriter: w}
	p.ReverseProxy.ServeHTTP(answer, r)
	if answer.status < http.StatusBadRequest {
		written(r)
	}
}

// noted keeps the status of an answer.
type noted struct {
	http.ResponseWriter
	status int
}

func (n *noted) WriteHeader(status int) {
	n.status = status
	n.ResponseWriter.WriteHeader(status)
}

// carryOut has the API server answer, to nobody.
func (p *proxy) carryOut(r *http.Request) {
	if again, err := detached(r); err == nil {
		p.ReverseProxy.ServeHTTP(&nobody{header: http.Header{}}, again)
	}
}

// detached is a request that does not end with the agent, or with its patience.
func detached(r *http.Request) (*http.Request, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	again := r.Clone(context.WithoutCancel(r.Context()))
	again.Body = io.NopCloser(bytes.NewReader(body))
	return again, nil
}

// nobody takes an answer.
type nobody struct {
	header http.Header
	status int
}

func (n *nobody) Header() http.Header       { return n.header }
func (*nobody) Write(b []byte) (int, error) { return len(b), nil }
func (n *nobody) WriteHeader(status int)    { n.status = status }

// isWrite reports whether a request changes what the product answers for. Leases and
// Events may come and go at any time.
func isWrite(r *http.Request) bool {
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		return false
	}
	for _, other := range []string{"/leases", "/events", "/tokenreviews", "/subjectaccessreviews"} {
		if strings.Contains(r.URL.Path, other) {
			return false
		}
	}
	return true
}

// at strikes at the n-th write, counted from 1, and lets all others through.
func at(n int, strike fault) func(*http.Request) fault {
	seen := 0
	return func(r *http.Request) fault {
		if !isWrite(r) {
			return pass
		}
		if seen++; seen == n {
			return strike
		}
		return pass
	}
}
