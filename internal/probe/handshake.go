package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	// alertWait is how long nothing is written after the handshake. With TLS 1.3 a
	// caller completes the handshake before the server has seen his certificate (RFC
	// 8446 section 2): the refusal comes with the first read, and a write to a server
	// that has closed could lose it to a reset.
	alertWait = 100 * time.Millisecond
	// longest bounds a call whose context does not.
	longest = 10 * time.Second
	// request has no Host, so that an HTTP/1.1 server has to answer it with 400 itself
	// (RFC 9112 section 3.2), and no workload sees it.
	request = "GET / HTTP/1.1\r\nConnection: close\r\n\r\n"
	// httpBegin is how an HTTP/1.1 answer begins (RFC 9112 section 4).
	httpBegin = "HTTP/"
	// maxUnasked bounds what an opaque server may say without having been asked.
	maxUnasked = 512
	// proxyHeader is version 2 of the PROXY protocol with the command LOCAL (section 2.2
	// of its specification): the connection is the proxy's own, and has no addresses.
	proxyHeader = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
)

// curves are what is offered for the key exchange. The post-quantum ones of crypto/tls
// are left out, as they cost a quarter of a call, and nothing is sent that has to be kept
// secret. A server that takes nothing else answers with an alert, and is unknown.
var curves = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}

// interrupted is a deadline that is over, whatever the clock says.
var interrupted = time.Unix(1, 0)

// Where a call was when it ended, for people.
const (
	inHandshake    = "in the handshake"
	afterHandshake = "after the handshake"
)

// Handshake calls a server once and tells what it showed and what became of the caller.
// It presents the certificate, or none, whatever CAs the server names. The context
// carries the deadline.
func Handshake(ctx context.Context, t Target, present *tls.Certificate) Facts {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	c, err := dial(ctx, t, present)
	if err != nil {
		return Facts{Outcome: Unknown, Reason: Unreachable, Detail: printable(cause(err).Error())}
	}
	defer c.close()
	if err := c.handshake(); err != nil {
		return c.ended(err, inHandshake)
	}
	if t.Opaque {
		return c.awaitTicket()
	}
	return c.ask(ctx)
}

// call is one connection and what was seen on it. It belongs to one goroutine, in which
// crypto/tls runs the callbacks too.
type call struct {
	target  Target
	raw     net.Conn
	session *tls.Conn
	// forget ends the watch on the context.
	forget func() bool
	// ticketed is whether the server sent a session ticket.
	ticketed bool
	facts    Facts
}

// dial connects. The end of the context interrupts every read and write from then on.
func dial(ctx context.Context, t Target, present *tls.Certificate) (*call, error) {
	dialer := net.Dialer{KeepAlive: -1} // it ends before the first keepalive
	connection, err := dialer.DialContext(ctx, "tcp", t.Address)
	if err != nil {
		return nil, err
	}
	c := &call{target: t, raw: connection}
	c.session = tls.Client(connection, c.config(present))
	c.forget = context.AfterFunc(ctx, func() { _ = connection.SetDeadline(interrupted) })
	return c, nil
}

func (c *call) close() {
	c.forget()
	_ = c.raw.Close()
}

// config takes any server: Check judges what it showed.
func (c *call) config(present *tls.Certificate) *tls.Config {
	if present == nil {
		present = &tls.Certificate{}
	}
	config := &tls.Config{
		ServerName: c.target.ServerName, MinVersion: tls.VersionTLS12, MaxVersion: c.target.MaxVersion,
		NextProtos: []string{"http/1.1"}, CurvePreferences: curves, SessionTicketsDisabled: true,
		InsecureSkipVerify: true, //nolint:gosec // see above
		VerifyConnection: func(state tls.ConnectionState) error {
			c.facts.Version = state.Version
			for _, shown := range state.PeerCertificates {
				c.facts.Chain = append(c.facts.Chain, shown.Raw)
			}
			return nil
		},
		// Left to itself, crypto/tls presents no certificate of a CA that was not named.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			c.facts.Asked = true
			return present, nil
		},
	}
	if c.target.Opaque {
		config.SessionTicketsDisabled, config.ClientSessionCache = false, (*tickets)(c)
	}
	return config
}

// handshake is TLS with what has to come before it.
func (c *call) handshake() error {
	if c.target.ProxyProtocol {
		if _, err := io.WriteString(c.raw, proxyHeader); err != nil {
			return err
		}
	}
	return c.session.Handshake()
}

// ask sends a request when the server has had the time to refuse, and judges the first
// bytes of the answer.
func (c *call) ask(ctx context.Context) Facts {
	quiet := time.AfterFunc(alertWait, func() { _ = c.raw.SetReadDeadline(interrupted) })
	answer, err := c.read(nil)
	quiet.Stop()
	if errors.Is(err, os.ErrDeadlineExceeded) && c.resume(ctx) {
		// If this fails, the read tells why: there may be an alert.
		_, _ = io.WriteString(c.session, request)
		answer, err = c.read(answer)
	}
	f := c.facts
	switch {
	case string(answer) == httpBegin:
		f.Outcome, f.Reason = Accepted, Answered
	case !strings.HasPrefix(httpBegin, string(answer)):
		f.Outcome, f.Reason = Unknown, Garbage
		f.Detail = printable(fmt.Sprintf("%s: the answer begins with %+q", afterHandshake, answer))
	default:
		return c.ended(err, afterHandshake)
	}
	return f
}

// resume lifts the interruption of a read, unless it was the end of the context. A read
// that timed out leaves crypto/tls as it was.
func (c *call) resume(ctx context.Context) bool {
	_ = c.raw.SetReadDeadline(time.Time{})
	return ctx.Err() == nil // else the line above may have lifted that interruption
}

// read goes on with an answer until it is or is not one of HTTP.
func (c *call) read(answer []byte) ([]byte, error) {
	for len(answer) < len(httpBegin) && strings.HasPrefix(httpBegin, string(answer)) {
		var more [len(httpBegin)]byte
		n, err := c.session.Read(more[:len(httpBegin)-len(answer)])
		answer = append(answer, more[:n]...)
		if err != nil {
			return answer, err
		}
	}
	return answer, nil
}

// awaitTicket recognises an acceptance without sending anything. With TLS 1.2 the server
// judges the certificate before it completes the handshake (RFC 5246 section 7.3). With
// TLS 1.3 it sends a session ticket after the caller's Finished (RFC 8446 section 4.6.1).
func (c *call) awaitTicket() Facts {
	f := c.facts
	f.Outcome, f.Reason = Accepted, Completed
	if f.Version < tls.VersionTLS13 {
		return f
	}
	_, err := io.CopyN(io.Discard, c.session, maxUnasked)
	switch {
	case c.ticketed:
		return f
	case err == nil: // It said enough, but not what was waited for.
		err = os.ErrDeadlineExceeded
	}
	return c.ended(err, afterHandshake)
}

// tickets is a call as the store of its session tickets: it keeps none.
type tickets call

// Get resumes nothing: every call is to be judged anew.
func (*tickets) Get(string) (*tls.ClientSessionState, bool) { return nil, false }

// Put interrupts the read that brought the ticket.
func (t *tickets) Put(string, *tls.ClientSessionState) {
	t.ticketed = true
	_ = t.raw.SetReadDeadline(interrupted)
}

// ended tells what an error means that ended a call before it was accepted.
func (c *call) ended(err error, where string) Facts {
	f := c.facts
	f.Outcome, f.Detail = Unknown, where
	var broken syscall.Errno
	if a, ok := received(err); ok {
		// Who was not asked for a certificate was not refused for it.
		f.Reason, f.Alert = OtherAlert, a.name
		if a.judges && f.Asked {
			f.Outcome, f.Reason = Refused, CertificateRefused
		}
		return f
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		f.Reason = Silent
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &broken):
		f.Reason = Reset
	default:
		f.Reason, f.Detail = Garbage, printable(where+": "+cause(err).Error())
	}
	return f
}

// cause is an error without the addresses, as the caller's port differs each time.
func cause(err error) error {
	var operation *net.OpError
	if errors.As(err, &operation) {
		return operation.Err
	}
	return err
}
