package probe_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/probe"
	"sallyport.dev/sallyport/internal/testpki"
)

const (
	during = "in the handshake"
	after  = "after the handshake"
)

func TestHandshakeTellsWhatBecameOfTheCaller(t *testing.T) {
	e := newEdge(t)
	for _, version := range versions {
		inTime := map[uint16]string{tls.VersionTLS12: during, tls.VersionTLS13: after}[version]
		refused := func(alert string) shape {
			return shape{probe.Refused, probe.CertificateRefused, alert, true, version, 1, inTime}
		}
		answered := shape{probe.Accepted, probe.Answered, "", true, version, 1, ""}
		mutual := func() *tls.Config { return e.config(version) }
		for name, test := range map[string]struct {
			serve   func(net.Conn)
			present *tls.Certificate
			want    shape
		}{
			"a certificate of the gateway's CA is accepted": {overTLS(mutual(), envoy), e.managed, answered},
			"no certificate is refused": {
				overTLS(mutual(), envoy), nil,
				refused(map[uint16]string{tls.VersionTLS12: "handshake_failure", tls.VersionTLS13: "certificate_required"}[version]),
			},
			"a certificate of an unknown CA is refused": {overTLS(mutual(), envoy), e.foreign, refused("unknown_ca")},
			"an expired certificate is refused":         {overTLS(mutual(), envoy), e.expired, refused("certificate_expired")},
			"a revoked certificate is refused":          {refusing(mutual(), 44), e.managed, refused("certificate_revoked")},
			"a refusal that takes longer than the wait is one": {
				overTLS(with(mutual(), func(c *tls.Config) {
					c.VerifyConnection = func(tls.ConnectionState) error {
						time.Sleep(150 * time.Millisecond)
						return errors.New("refused")
					}
				}), envoy), e.managed, refused("bad_certificate"),
			},
			"a server that does not ask accepts anybody": {
				overTLS(with(mutual(), func(c *tls.Config) { c.ClientAuth = tls.NoClientCert }), envoy), e.managed,
				shape{probe.Accepted, probe.Answered, "", false, version, 1, ""},
			},
			"an optional certificate may be left out":       {overTLS(with(mutual(), optional), envoy), nil, answered},
			"an optional certificate is accepted":           {overTLS(with(mutual(), optional), envoy), e.managed, answered},
			"an optional certificate is judged if it comes": {overTLS(with(mutual(), optional), envoy), e.foreign, refused("unknown_ca")},
			"a certificate is presented whatever CA the server names": {
				overTLS(with(mutual(), func(c *tls.Config) {
					c.ClientAuth, c.ClientCAs = tls.RequireAnyClientCert, pool(testpki.Root(t, "other", testpki.Around(time.Now())))
				}), envoy), e.managed, answered,
			},
			"an answer that comes in pieces is one": {
				overTLS(mutual(), func(session io.ReadWriter) {
					session.Read(make([]byte, 512))
					for _, piece := range []string{"H", "TT", "P/1.1 400 Bad Request\r\n\r\n"} {
						io.WriteString(session, piece)
					}
				}), e.managed, answered,
			},
			"an answer that begins before the request is one": {
				overTLS(mutual(), func(session io.ReadWriter) {
					io.WriteString(session, "HT")
					says("TP/1.1 408 Request Timeout\r\n\r\n")(session)
				}), e.managed, answered,
			},
			"an alert about something else is no refusal": {
				refusing(mutual(), 80), e.managed, shape{probe.Unknown, probe.OtherAlert, "internal_error", true, version, 1, inTime},
			},
			"an alert that has no name is no refusal": {
				refusing(mutual(), 200), e.managed, shape{probe.Unknown, probe.OtherAlert, "tls: alert(200)", true, version, 1, inTime},
			},
			"who was not asked was not refused for his certificate": {
				refusing(with(mutual(), func(c *tls.Config) { c.ClientAuth = tls.NoClientCert }), 49), e.managed,
				shape{probe.Unknown, probe.OtherAlert, "access_denied", false, version, 1, inTime},
			},
			"a server that closes instead of an answer has refused nobody": {
				overTLS(mutual(), func(session io.ReadWriter) { session.Read(make([]byte, 512)) }), e.managed,
				shape{probe.Unknown, probe.Reset, "", true, version, 1, after},
			},
			"a server that says farewell instead of an answer has refused nobody": {
				overTLS(mutual(), func(session io.ReadWriter) { session.(*tls.Conn).CloseWrite(); silent(session) }), e.managed,
				shape{probe.Unknown, probe.Reset, "", true, version, 1, after},
			},
			"what is no HTTP is no acceptance": {
				overTLS(mutual(), says("SSH-2.0-OpenSSH_9.9\r\n")), e.managed,
				shape{probe.Unknown, probe.Garbage, "", true, version, 1, after + `: the answer begins with "SSH-2"`},
			},
		} {
			t.Run(tls.VersionName(version)+": "+name, func(t *testing.T) {
				t.Parallel()
				facts := call(t, patient, probe.Target{Address: listen(t, test.serve)}, test.present)
				if got := shapeOf(facts); got != test.want {
					t.Errorf("facts\n%+v, expected\n%+v", got, test.want)
				}
				if len(facts.Chain) == 0 || !bytes.Equal(facts.Chain[0], e.leaf.X509.Raw) {
					t.Error("the facts do not hold the certificate that was shown")
				}
			})
		}
	}
}

func optional(c *tls.Config) { c.ClientAuth = tls.VerifyClientCertIfGiven }

func TestHandshakeTellsAnOpaqueServerWithoutAByte(t *testing.T) {
	e := newEdge(t)
	completed := func(version uint16) shape {
		return shape{probe.Accepted, probe.Completed, "", true, version, 1, ""}
	}
	noTickets := func(c *tls.Config) { c.SessionTicketsDisabled = true }
	for name, test := range map[string]struct {
		config   *tls.Config
		talks    string
		present  *tls.Certificate
		patience time.Duration
		want     shape
	}{
		"TLS 1.2: a completed handshake is an acceptance": {e.config(tls.VersionTLS12), "", e.managed, patient, completed(tls.VersionTLS12)},
		"TLS 1.2: tickets do not matter":                  {with(e.config(tls.VersionTLS12), noTickets), "", e.managed, patient, completed(tls.VersionTLS12)},
		"TLS 1.2: a foreign certificate is refused": {
			e.config(tls.VersionTLS12), "", e.foreign, patient,
			shape{probe.Refused, probe.CertificateRefused, "unknown_ca", true, tls.VersionTLS12, 1, during},
		},
		"TLS 1.3: a session ticket is an acceptance": {e.config(tls.VersionTLS13), "", e.managed, patient, completed(tls.VersionTLS13)},
		"TLS 1.3: a server that talks first":         {e.config(tls.VersionTLS13), "220 mail.example.com ESMTP\r\n", e.managed, patient, completed(tls.VersionTLS13)},
		"TLS 1.3: a foreign certificate is refused": {
			e.config(tls.VersionTLS13), "", e.foreign, patient,
			shape{probe.Refused, probe.CertificateRefused, "unknown_ca", true, tls.VersionTLS13, 1, after},
		},
		"TLS 1.3: no certificate is refused": {
			e.config(tls.VersionTLS13), "", nil, patient,
			shape{probe.Refused, probe.CertificateRefused, "certificate_required", true, tls.VersionTLS13, 1, after},
		},
		"TLS 1.3: without tickets nothing can be told": {
			with(e.config(tls.VersionTLS13), noTickets), "220", e.managed, brief,
			shape{probe.Unknown, probe.Silent, "", true, tls.VersionTLS13, 1, after},
		},
		"TLS 1.3: without tickets not all is read": {
			with(e.config(tls.VersionTLS13), noTickets), string(make([]byte, 1<<20)), e.managed, patient,
			shape{probe.Unknown, probe.Silent, "", true, tls.VersionTLS13, 1, after},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			arrived := make(chan int64, 1)
			address := listen(t, func(connection net.Conn) {
				session := tls.Server(connection, test.config)
				if session.Handshake() == nil {
					io.WriteString(session, test.talks)
				}
				n, _ := io.Copy(io.Discard, session)
				arrived <- n
			})
			begun := time.Now()
			if got := shapeOf(call(t, test.patience, probe.Target{Address: address, Opaque: true}, test.present)); got != test.want {
				t.Errorf("facts\n%+v, expected\n%+v", got, test.want)
			}
			if took := time.Since(begun); took > patient/4 {
				t.Errorf("it took %s", took)
			}
			if n := <-arrived; n != 0 {
				t.Errorf("%d bytes arrived behind an opaque server", n)
			}
		})
	}
}

func TestHandshakeSendsThePROXYHeaderFirst(t *testing.T) {
	e := newEdge(t)
	for _, version := range versions {
		header := make(chan []byte, 1)
		address := listen(t, func(connection net.Conn) {
			first := make([]byte, 16)
			io.ReadFull(connection, first)
			header <- first
			overTLS(e.config(version), envoy)(connection)
		})
		facts := call(t, patient, probe.Target{Address: address, ProxyProtocol: true}, e.managed)
		if facts.Outcome != probe.Accepted {
			t.Errorf("facts %+v behind the PROXY protocol", facts)
		}
		want := []byte{0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x20, 0x00, 0x00, 0x00}
		if got := <-header; !bytes.Equal(got, want) {
			t.Errorf("header % x, expected % x", got, want)
		}
	}
}

func TestHandshakeAsksForTheServerNameAndHTTP11(t *testing.T) {
	e := newEdge(t)
	asked := make(chan *tls.ClientHelloInfo, 1)
	config := with(e.config(tls.VersionTLS13), func(c *tls.Config) {
		c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			asked <- hello
			return nil, nil
		}
	})
	facts := call(t, patient, probe.Target{Address: listen(t, overTLS(config, envoy)), ServerName: "other.example.com"}, e.managed)
	if facts.Outcome != probe.Accepted {
		t.Errorf("facts %+v", facts)
	}
	hello := <-asked
	if hello.ServerName != "other.example.com" {
		t.Errorf("asked for server name %q", hello.ServerName)
	}
	if len(hello.SupportedProtos) != 1 || hello.SupportedProtos[0] != "http/1.1" {
		t.Errorf("offered protocols %q, expected http/1.1 alone", hello.SupportedProtos)
	}
}

// records keeps what arrives on a connection, to be taken apart (RFC 8446 section 5.1).
type records struct {
	net.Conn
	seen bytes.Buffer
}

func (r *records) Read(into []byte) (int, error) {
	n, err := r.Conn.Read(into)
	r.seen.Write(into[:n])
	return n, err
}

func (r *records) types() (types []byte) {
	for r.seen.Len() >= 5 {
		header := r.seen.Next(5)
		types = append(types, header[0])
		r.seen.Next(int(header[3])<<8 | int(header[4]))
	}
	return types
}

func TestHandshakeWritesNothingToAServerThatRefuses(t *testing.T) {
	e := newEdge(t)
	arrived := make(chan []byte, 1)
	address := listen(t, func(connection net.Conn) {
		record := &records{Conn: connection}
		if tls.Server(record, e.config(tls.VersionTLS13)).Handshake() == nil {
			t.Error("a foreign certificate was accepted")
		}
		io.Copy(io.Discard, record)
		arrived <- record.types()
	})
	if facts := call(t, patient, probe.Target{Address: address}, e.foreign); facts.Outcome != probe.Refused {
		t.Errorf("facts %+v", facts)
	}
	// ClientHello, ChangeCipherSpec, Certificate, CertificateVerify, Finished.
	if got, want := <-arrived, []byte{22, 20, 23, 23, 23}; !bytes.Equal(got, want) {
		t.Errorf("records of types %d arrived, expected %d", got, want)
	}
}

func TestHandshakePresentsTheWholeChain(t *testing.T) {
	e := newEdge(t)
	now := time.Now()
	intermediate := e.ca.CA(t, "intermediate", testpki.Around(now))
	caller := pair(intermediate.Leaf(t, "caller", testpki.Around(now)))
	caller.Certificate = append(caller.Certificate, intermediate.X509.Raw)
	for _, version := range versions {
		if facts := call(t, patient, probe.Target{Address: listen(t, overTLS(e.config(version), envoy))}, caller); facts.Outcome != probe.Accepted {
			t.Errorf("%s: facts %+v", tls.VersionName(version), facts)
		}
	}
}

func TestHandshakeTakesTheNewestVersionUnlessTold(t *testing.T) {
	e := newEdge(t)
	config := with(e.config(0), func(c *tls.Config) { c.MinVersion = tls.VersionTLS12 })
	address := listen(t, overTLS(config, envoy))
	for most, want := range map[uint16]uint16{0: tls.VersionTLS13, tls.VersionTLS12: tls.VersionTLS12, tls.VersionTLS13: tls.VersionTLS13} {
		if facts := call(t, patient, probe.Target{Address: address, MaxVersion: most}, e.managed); facts.Version != want || facts.Outcome != probe.Accepted {
			t.Errorf("at most %s: facts %+v", tls.VersionName(most), facts)
		}
	}
	old := listen(t, overTLS(e.config(tls.VersionTLS11), envoy))
	want := shape{probe.Unknown, probe.OtherAlert, "protocol_version", false, 0, 0, during}
	if got := shapeOf(call(t, patient, probe.Target{Address: old}, e.managed)); got != want {
		t.Errorf("of a server that is too old\n%+v, expected\n%+v", got, want)
	}
}

func TestServedLeafIsWhatTheServerShows(t *testing.T) {
	e := newEdge(t)
	served := with(e.config(0), func(c *tls.Config) { c.ClientAuth = tls.NoClientCert })
	for name, test := range map[string]struct {
		serve func(net.Conn)
		want  []byte
		err   string
	}{
		"a server":           {overTLS(served, envoy), e.leaf.X509.Raw, ""},
		"one that is no TLS": {func(c net.Conn) { hello(c); io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, nil, "tls: first record does not look like a TLS handshake"},
	} {
		t.Run(name, func(t *testing.T) {
			address := listen(t, test.serve)
			got, err := probe.ServedLeaf(context.Background(), address, host)
			if test.err != "" {
				if err == nil || err.Error() != "handshake with "+address+": "+test.err {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil || !bytes.Equal(got, test.want) {
				t.Errorf("leaf %x, error %v", got, err)
			}
		})
	}
	if _, err := probe.ServedLeaf(context.Background(), "127.0.0.1:1", host); err == nil {
		t.Error("nobody listens, and there is no error")
	}
}
