package bypass

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// teapot is what the workload answers, and nothing else at the edge.
	teapot = http.StatusTeapot
	// reachedHeader names the route in the workload's answer.
	reachedHeader = "x-reached"
	// callLimit bounds one call; a loaded machine is no verdict.
	callLimit = 20 * time.Second
	// atOnce is how many cells are tried at the same time.
	atOnce = 8
)

// caller is who calls, with a certificate or without one.
type caller struct {
	name string
	// authority is whose caller it is; empty if nobody's.
	authority string
	// dead says that its certificate was revoked or has ended.
	dead        bool
	certificate tls.Certificate
}

// admitted reports whether an authority's server has to let the caller in.
func (c *caller) admitted(authority string) bool {
	return authority == "" || c.authority == authority && !c.dead
}

// session is how a handshake begins: anew, or with the session of an earlier one.
type session struct {
	version uint16
	// begunBy, port and sni are of the handshake that made it, state is what it left;
	// nil for a new one.
	begunBy   *caller
	port, sni string
	state     *tls.ClientSessionState
}

func (s *session) String() string {
	if s.state == nil {
		return tls.VersionName(s.version)
	}
	return fmt.Sprintf("%s with the session of %s at %s:%s", tls.VersionName(s.version), s.begunBy.name, s.sni, s.port)
}

// Get offers the session for whatever name it is asked.
func (s *session) Get(string) (*tls.ClientSessionState, bool) { return s.state, s.state != nil }

// Put keeps what was offered: cells share it.
func (s *session) Put(string, *tls.ClientSessionState) {}

// request is what is said in HTTP of where it shall go.
type request struct {
	// authority is the Host header, or :authority.
	authority string
	// absolute is the host of a request target in absolute form; HTTP/1.1 has that only.
	absolute string
	// forwarded are headers of a proxy.
	forwarded http.Header
}

// host is the one that counts (RFC 9112, section 3.2.2).
func (r request) host() string {
	if r.absolute != "" {
		return r.absolute
	}
	return r.authority
}

func (r request) String() string {
	said := fmt.Sprintf("host %q", r.authority)
	if r.absolute != "" {
		said += fmt.Sprintf(" target %q", r.absolute)
	}
	for name, values := range r.forwarded {
		said += " " + name + ": " + strings.Join(values, ", ")
	}
	return said
}

// cell is one way to call.
type cell struct {
	port    string
	plain   bool // no TLS at all; the fields down to session mean nothing then
	sni     string
	caller  *caller
	session *session
	http2   bool
	request request
}

func (c cell) String() string {
	if c.plain {
		return fmt.Sprintf("port %s, plain HTTP, %s", c.port, c.request)
	}
	return fmt.Sprintf("port %s, SNI %q, %s, ALPN %s, %s, %s", c.port, c.sni, c.request, c.alpn(), c.caller.name, c.session)
}

func (c cell) alpn() string {
	if c.http2 {
		return "h2"
	}
	return "http/1.1"
}

// outcome is what a cell came to.
type outcome struct {
	cell
	verdict string
	resumed bool
}

// who is whom the edge takes the caller for: in a resumed session nobody is asked.
func (o outcome) who() *caller {
	if o.resumed {
		return o.session.begunBy
	}
	return o.caller
}

// The ports of Gateways, by the names that cells have for them.
const (
	portHTTPS  = "443"
	portSecond = "second"
	portHTTP   = "80"
)

// secondPort is a port of the gateways' own, which no Service leads to.
var secondPort int

func address(port string) string {
	g := stack.Gateway(0)
	switch port {
	case portHTTPS:
		return g.HTTPS
	case portHTTP:
		return g.HTTP
	}
	return net.JoinHostPort(g.Address, strconv.Itoa(secondPort))
}

// try makes the call; sessions are offered and kept by whom it is told.
func (c cell) try(ctx context.Context, sessions tls.ClientSessionCache) outcome {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	o := outcome{cell: c, verdict: refused}
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", address(c.port))
	if err != nil {
		o.verdict = err.Error()
		return o
	}
	defer func() { _ = raw.Close() }()
	connection := raw
	if !c.plain {
		secure := tls.Client(raw, c.config(sessions))
		if err := secure.HandshakeContext(ctx); err != nil {
			return o.unanswered(ctx)
		}
		state := secure.ConnectionState()
		if o.resumed = state.DidResume; state.NegotiatedProtocol != c.alpn() {
			o.verdict = noProtocol
			return o
		}
		connection = secure
	}
	return o.ask(ctx, connection)
}

func (c cell) config(sessions tls.ClientSessionCache) *tls.Config {
	return &tls.Config{
		ServerName: c.sni, NextProtos: []string{c.alpn()}, ClientSessionCache: sessions,
		MinVersion: c.session.version, MaxVersion: c.session.version, //nolint:gosec // TLS 1.2 at least
		InsecureSkipVerify: true, //nolint:gosec // what is asked is whom the edge lets in
		// Left to itself, Go sends no certificate of a CA that the server did not name.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.caller.certificate, nil },
	}
}

// ask sends the request: in TLS 1.3 the refusal of a certificate comes with the answer.
func (o outcome) ask(ctx context.Context, connection net.Conn) outcome {
	dial := func(context.Context, string, string) (net.Conn, error) { return connection, nil }
	transport := &http.Transport{DialContext: dial, DialTLSContext: dial, Protocols: &http.Protocols{}, DisableKeepAlives: !o.http2}
	defer transport.CloseIdleConnections()
	transport.Protocols.SetHTTP1(!o.http2)
	transport.Protocols.SetHTTP2(o.http2)
	answer, err := transport.RoundTrip(o.request.build(ctx, o.plain))
	if err != nil {
		return o.unanswered(ctx)
	}
	_ = answer.Body.Close()
	o.verdict = strconv.Itoa(answer.StatusCode)
	if route := answer.Header.Get(reachedHeader); route != "" || answer.StatusCode == teapot {
		o.verdict = reached + route
	}
	return o
}

// unanswered tells a refusal from an edge that says nothing.
func (o outcome) unanswered(ctx context.Context) outcome {
	if ctx.Err() != nil {
		o.verdict = silence
	}
	return o
}

func (r request) build(ctx context.Context, plain bool) *http.Request {
	target := &url.URL{Scheme: "https", Host: "edge", Path: "/status/418"}
	if plain {
		target.Scheme = "http"
	}
	if r.absolute != "" {
		target.Opaque = "//" + r.absolute + target.Path
	}
	header := r.forwarded.Clone()
	if header == nil {
		header = http.Header{}
	}
	return (&http.Request{Method: http.MethodGet, URL: target, Host: r.authority, Header: header}).WithContext(ctx)
}

// keeper takes the session that a handshake leaves.
type keeper struct{ left chan *tls.ClientSessionState }

func (keeper) Get(string) (*tls.ClientSessionState, bool) { return nil, false }

func (k keeper) Put(_ string, state *tls.ClientSessionState) {
	select {
	case k.left <- state:
	default: // TLS 1.3 leaves two, and one will do
	}
}

// begin makes a session as somebody at a server: in TLS 1.3 it comes with the answer.
func begin(t *testing.T, version uint16, by *caller, port, sni string) *session {
	t.Helper()
	kept := keeper{make(chan *tls.ClientSessionState, 1)}
	s := &session{version: version, begunBy: by, port: port, sni: sni}
	o := cell{port: port, sni: sni, caller: by, session: s, request: request{authority: sni}}.try(t.Context(), kept)
	select {
	case s.state = <-kept.left:
	default:
		t.Fatalf("no session is left: %s: %s", o.cell, o.verdict)
	}
	return s
}

// run tries all cells.
func run(t *testing.T, cells []cell) []outcome {
	t.Helper()
	outcomes := make([]outcome, len(cells))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, c := range cells {
		group.Go(func() error {
			outcomes[i] = c.try(t.Context(), c.session)
			return nil
		})
	}
	_ = group.Wait() // a cell that fails has a verdict
	return outcomes
}
