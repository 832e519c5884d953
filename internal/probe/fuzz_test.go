package probe_test

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"sallyport.dev/sallyport/internal/probe"
)

// What a server may answer, before TLS and within it, is no reason to panic, to wait, or
// to take it for more than it is.
func FuzzAnswer(f *testing.F) {
	e := newEdge(f)
	for place := range byte(5) {
		for _, answer := range []string{
			"", "H", "HTTP/", "HTTP/1.1 400 Bad Request\r\n\r\n", "HTTQ", "SSH-2.0-OpenSSH_9.9\r\n", "\x00", "\xff\xfe\x1b[2J",
			"\x15\x03\x03\x00\x02\x02\x28", "\x15\x03\x01\x00\x02\x01\x00", "\x15\x03\x03\x00\x01\x28",
			"\x16\x03\x03\x00\x04\x02\xff\xff\xff", "\x16\x03\x03\x00\x04\x0e\x00\x00\x00", "\x14\x03\x03\x00\x01\x01", "\x80\x2e\x01\x00\x02",
			"\x17\x03\x03\xff\xff",
		} {
			f.Add(place, answer)
		}
	}
	var place atomic.Int32
	var answer atomic.Value
	address := listen(f, func(connection net.Conn) {
		text := answer.Load().(string)
		switch where := place.Load(); where {
		case 0: // instead of TLS
			hello(connection)
			io.WriteString(connection, text)
		case 1, 2: // within TLS
			overTLS(e.config(versions[where-1]), func(session io.ReadWriter) { io.WriteString(session, text) })(connection)
		default: // past TLS
			tls.Server(connection, e.config(versions[where-3])).Handshake()
			io.WriteString(connection, text)
		}
	})
	f.Fuzz(func(t *testing.T, where byte, text string) {
		place.Store(int32(where % 5))
		answer.Store(text)
		facts := call(t, patient, probe.Target{Address: address}, e.managed)
		bounded(t, facts)
		within := where%5 == 1 || where%5 == 2
		if accepted := facts.Outcome == probe.Accepted; accepted != (within && strings.HasPrefix(text, "HTTP/")) {
			t.Errorf("answer %q in place %d: facts %+v", text, where%5, shapeOf(facts))
		}
		if facts.Outcome == probe.Refused {
			t.Errorf("answer %q in place %d is taken for a refusal", text, where%5)
		}
	})
}
