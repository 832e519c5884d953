package probe_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/probe"
)

func TestHandshakeWithAServerThatMisbehaves(t *testing.T) {
	e := newEdge(t)
	// unknown is the shape of a call that ended before the server showed anything.
	unknown := func(reason probe.Reason, detail string) shape {
		return shape{probe.Unknown, reason, "", false, 0, 0, detail}
	}
	for name, test := range map[string]struct {
		serve    func(net.Conn)
		patience time.Duration
		want     shape
	}{
		"it accepts and never answers": {func(c net.Conn) { silent(c) }, brief, unknown(probe.Silent, during)},
		"it answers one byte and stops": {
			func(c net.Conn) { hello(c); c.Write([]byte{22}); silent(c) }, brief, unknown(probe.Silent, during),
		},
		"it stops after the handshake": {
			overTLS(e.config(tls.VersionTLS13), silent), brief, shape{probe.Unknown, probe.Silent, "", true, tls.VersionTLS13, 1, after},
		},
		"it stops within an answer": {
			overTLS(e.config(tls.VersionTLS12), func(session io.ReadWriter) { io.WriteString(session, "HTT"); silent(session) }), brief,
			shape{probe.Unknown, probe.Silent, "", true, tls.VersionTLS12, 1, after},
		},
		"it closes at once":              {func(net.Conn) {}, patient, unknown(probe.Reset, during)},
		"it closes when it has listened": {hello, patient, unknown(probe.Reset, during)},
		"it closes within a record": {
			func(c net.Conn) { hello(c); c.Write([]byte{22, 3, 3, 0, 100, 2}) }, patient, unknown(probe.Reset, during),
		},
		"it resets the connection": {func(c net.Conn) { hello(c); reset(c) }, patient, unknown(probe.Reset, during)},
		"it resets the connection after the handshake": {
			func(c net.Conn) {
				tls.Server(c, e.config(tls.VersionTLS13)).Handshake()
				reset(c)
			}, patient, shape{probe.Unknown, probe.Reset, "", true, tls.VersionTLS13, 1, after},
		},
		"it speaks plain HTTP": {
			func(c net.Conn) { hello(c); io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, patient,
			unknown(probe.Garbage, during+": tls: first record does not look like a TLS handshake"),
		},
		"it sends zeros without end": {
			func(c net.Conn) { endless(c, make([]byte, 1<<16)) }, patient,
			unknown(probe.Garbage, during+": tls: first record does not look like a TLS handshake"),
		},
		"it begins a hello of 16 MiB": {
			func(c net.Conn) {
				endless(c, append([]byte{22, 3, 3, 0x40, 0, 2, 0xff, 0xff, 0xff}, make([]byte, 0x4000-4)...))
			}, patient,
			unknown(probe.Garbage, during+": tls: handshake message of length 16777215 bytes exceeds maximum of 65536 bytes"),
		},
		"it sends an alert before it shows its certificate": {
			func(c net.Conn) { hello(c); c.Write([]byte{21, 3, 3, 0, 2, 2, 40}) }, patient,
			shape{probe.Unknown, probe.OtherAlert, "handshake_failure", false, 0, 0, during},
		},
		"it sends warnings without end": {
			func(c net.Conn) { hello(c); endless(c, []byte{21, 3, 3, 0, 2, 1, 112}) }, patient,
			unknown(probe.Garbage, during+": tls: too many ignored records"),
		},
		"it answers with what no terminal should see": {
			overTLS(e.config(tls.VersionTLS13), says("\x1b[2J\n\"\xff")), patient,
			shape{probe.Unknown, probe.Garbage, "", true, tls.VersionTLS13, 1, after + `: the answer begins with "\x1b[2J\n"`},
		},
		"it shows 10,000 certificates": {
			showing(e, slices.Repeat([][]byte{e.leaf.X509.Raw}, 10_000)), patient,
			unknown(probe.Garbage, fmt.Sprintf("%s: tls: handshake message of length %d bytes exceeds maximum of 262144 bytes", during, 4+10_000*(5+len(e.leaf.X509.Raw)))),
		},
		"it shows 1 MiB": {
			showing(e, [][]byte{e.leaf.X509.Raw, make([]byte, 1<<20)}), patient,
			unknown(probe.Garbage, fmt.Sprintf("%s: tls: handshake message of length %d bytes exceeds maximum of 262144 bytes", during, 4+2*5+len(e.leaf.X509.Raw)+1<<20)),
		},
		"it shows what is no certificate": {
			showing(e, [][]byte{e.leaf.X509.Raw, []byte("\x30\x03junk")}), patient,
			unknown(probe.Garbage, during+": tls: failed to parse certificate from server: x509: malformed tbs certificate"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			facts := call(t, test.patience, probe.Target{Address: listen(t, test.serve)}, e.managed)
			if got := shapeOf(facts); got != test.want {
				t.Errorf("facts\n%+v, expected\n%+v", got, test.want)
			}
		})
	}
}

func reset(connection net.Conn) { connection.(*net.TCPConn).SetLinger(0) }

func endless(connection net.Conn, what []byte) {
	for {
		if _, err := connection.Write(what); err != nil {
			return
		}
	}
}

func showing(e edge, chain [][]byte) func(net.Conn) {
	config := e.config(tls.VersionTLS13)
	config.Certificates[0].Certificate = chain
	return overTLS(config, envoy)
}

func TestHandshakeWithNobodyThere(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for name, test := range map[string]struct{ address, detail string }{
		"nobody listens":           {closed.Addr().String(), "connect: connection refused"},
		"nobody takes connections": {deaf(t), "i/o timeout"},
		"it is no address":         {"127.0.0.1\n\xff\u00e9", "address 127.0.0.1???: missing port in address"},
		"it is no short address":   {strings.Repeat("a", 1000), "address " + strings.Repeat("a", 189) + "..."},
	} {
		t.Run(name, func(t *testing.T) {
			want := shape{probe.Unknown, probe.Unreachable, "", false, 0, 0, test.detail}
			if got := shapeOf(call(t, brief, probe.Target{Address: test.address}, nil)); got != want {
				t.Errorf("facts\n%+v, expected\n%+v", got, want)
			}
		})
	}
}

// deaf is the address of a listener whose queue is full: it leaves callers waiting.
func deaf(t *testing.T) string {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(socket) })
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(socket, 0); err != nil {
		t.Fatal(err)
	}
	bound, err := syscall.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", bound.(*syscall.SockaddrInet4).Port)
	for range 16 {
		waiting, err := net.DialTimeout("tcp", address, brief)
		if err != nil {
			return address
		}
		t.Cleanup(func() { waiting.Close() })
	}
	t.Skip("the system queues every connection")
	return ""
}

func TestHandshakeEndsWithItsContext(t *testing.T) {
	e := newEdge(t)
	address := listen(t, overTLS(e.config(tls.VersionTLS13), silent))
	for _, opaque := range []bool{false, true} {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(50*time.Millisecond, cancel)
		done := make(chan probe.Facts, 1)
		go func() {
			done <- probe.Handshake(ctx, probe.Target{Address: address, ServerName: host}, e.managed)
		}()
		select {
		case facts := <-done:
			if facts.Outcome != probe.Unknown {
				t.Errorf("opaque %t: facts %+v", opaque, facts)
			}
		case <-time.After(patient):
			t.Fatalf("opaque %t: the call goes on without its context", opaque)
		}
	}
}

func TestHandshakeTakesAnyServerName(t *testing.T) {
	e := newEdge(t)
	address := listen(t, overTLS(e.config(tls.VersionTLS13), envoy))
	for _, name := range []string{"a\nb\"c", "\x00", "*.example.com", "[", "127.0.0.1", strings.Repeat("a.", 1000), strings.Repeat("a", 1<<17)} {
		facts := call(t, patient, probe.Target{Address: address, ServerName: name}, e.managed)
		if facts.Outcome != probe.Accepted && facts.Outcome != probe.Unknown {
			t.Errorf("server name %.20q: facts %+v", name, shapeOf(facts))
		}
		bounded(t, facts)
	}
}

// bounded checks what is true of all facts.
func bounded(t *testing.T, f probe.Facts) {
	t.Helper()
	if len(f.Detail) > 200 || strings.ContainsFunc(f.Detail, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("detail %q is long or not printable", f.Detail)
	}
	reasons := map[probe.Outcome][]probe.Reason{
		probe.Accepted: {probe.Answered, probe.Completed},
		probe.Refused:  {probe.CertificateRefused},
		probe.Unknown:  {probe.Unreachable, probe.Reset, probe.Silent, probe.OtherAlert, probe.Garbage},
	}
	if !slices.Contains(reasons[f.Outcome], f.Reason) {
		t.Errorf("outcome %s has reason %q", f.Outcome, f.Reason)
	}
	if (f.Alert != "") != (f.Reason == probe.CertificateRefused || f.Reason == probe.OtherAlert) {
		t.Errorf("reason %s with alert %q", f.Reason, f.Alert)
	}
}
