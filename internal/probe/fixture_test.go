package probe_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/probe"
	"sallyport.dev/sallyport/internal/testpki"
)

// host is what every server here is called.
const host = "orders.example.com"

// Deadlines: patient is for what happens at once, brief for what never does.
const (
	patient = 20 * time.Second
	brief   = 400 * time.Millisecond
)

var versions = []uint16{tls.VersionTLS12, tls.VersionTLS13}

// edge is a gateway's CA and certificate, and those of its callers.
type edge struct {
	ca, leaf                  testpki.Issued
	managed, foreign, expired *tls.Certificate
}

func newEdge(t testing.TB) edge {
	t.Helper()
	now := time.Now()
	ca := testpki.Root(t, "own", testpki.Around(now))
	return edge{
		ca: ca, leaf: ca.Leaf(t, host, testpki.Around(now)),
		managed: pair(ca.Leaf(t, "caller", testpki.Around(now))),
		foreign: pair(testpki.Root(t, "foreign", testpki.Around(now)).Leaf(t, "caller", testpki.Around(now))),
		expired: pair(ca.Leaf(t, "caller", testpki.Span{From: now.Add(-2 * time.Minute), To: now.Add(-time.Minute)})),
	}
}

func pair(i testpki.Issued) *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{i.X509.Raw}, PrivateKey: i.Key}
}

func pool(of ...testpki.Issued) *x509.CertPool {
	p := x509.NewCertPool()
	for _, i := range of {
		p.AddCert(i.X509)
	}
	return p
}

// config is that of a gateway in mode MUTUAL.
func (e edge) config(version uint16) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{*pair(e.leaf)}, MinVersion: version, MaxVersion: version,
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool(e.ca),
	}
}

// with is a configuration with a change.
func with(c *tls.Config, change func(*tls.Config)) *tls.Config {
	change(c)
	return c
}

// listen serves every connection until the test ends, and tells where.
func listen(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer connection.Close()
				serve(connection)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		serving.Wait()
	})
	return listener.Addr().String()
}

// overTLS serves what comes after a completed handshake.
func overTLS(config *tls.Config, serve func(io.ReadWriter)) func(net.Conn) {
	return func(connection net.Conn) {
		session := tls.Server(connection, config)
		if session.Handshake() == nil {
			serve(session)
		}
	}
}

// envoy answers a request that has no Host as Envoy does.
func envoy(session io.ReadWriter) {
	reader := bufio.NewReader(session)
	for {
		line, err := reader.ReadString('\n')
		if err != nil || strings.HasPrefix(line, "Host:") {
			return
		}
		if line == "\r\n" {
			io.WriteString(session, "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
			return
		}
	}
}

// silent takes what comes and says nothing.
func silent(session io.ReadWriter) { io.Copy(io.Discard, session) }

// says answers a request with some bytes.
func says(answer string) func(io.ReadWriter) {
	return func(session io.ReadWriter) {
		session.Read(make([]byte, 512))
		io.WriteString(session, answer)
	}
}

// hello waits for the caller's first bytes, so that closing resets nothing.
func hello(connection net.Conn) { connection.Read(make([]byte, 4096)) }

// refusing is a server that sends any alert where it judges the caller's certificate.
// crypto/tls sends few of them itself. With TLS 1.2 it sends the alert in the clear, as
// a server does before its ChangeCipherSpec.
func refusing(config *tls.Config, number byte) func(net.Conn) {
	return func(connection net.Conn) {
		config, secrets := config.Clone(), &bytes.Buffer{}
		config.KeyLogWriter = secrets
		config.VerifyConnection = func(state tls.ConnectionState) error {
			record := []byte{21, 3, 3, 0, 2, 2, number}
			if state.Version == tls.VersionTLS13 {
				record = sealed(state.CipherSuite, secrets.String(), number)
			}
			connection.Write(record)
			return errors.New("refused")
		}
		tls.Server(connection, config).Handshake()
	}
}

// sealed is an alert as the first record that a TLS 1.3 server sends after its Finished
// (RFC 8446 sections 5.2, 5.3 and 7.3).
func sealed(suite uint16, keyLog string, number byte) []byte {
	length, newHash := 16, func() hash.Hash { return sha256.New() }
	if suite == tls.TLS_AES_256_GCM_SHA384 {
		length, newHash = 32, func() hash.Hash { return sha512.New384() }
	}
	_, line, _ := strings.Cut(keyLog, "SERVER_TRAFFIC_SECRET_0 ")
	var random, text string
	fmt.Sscan(line, &random, &text)
	secret := must(hex.DecodeString(text))
	expand := func(label string, length int) []byte {
		label = "tls13 " + label
		info := string([]byte{0, byte(length), byte(len(label))}) + label + "\x00"
		return must(hkdf.Expand(newHash, secret, info, length))
	}
	aead := must(cipher.NewGCM(must(aes.NewCipher(expand("key", length)))))
	inner := []byte{2, number, 21}
	header := []byte{23, 3, 3, 0, byte(len(inner) + aead.Overhead())}
	return append(header, aead.Seal(nil, expand("iv", aead.NonceSize()), inner, header)...)
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// call makes one call to a target on this machine.
func call(t testing.TB, patience time.Duration, target probe.Target, present *tls.Certificate) probe.Facts {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if target.ServerName == "" {
		target.ServerName = host
	}
	return probe.Handshake(ctx, target, present)
}

// shape is what of facts does not depend on keys.
type shape struct {
	Outcome probe.Outcome
	Reason  probe.Reason
	Alert   string
	Asked   bool
	Version uint16
	Shown   int
	Detail  string
}

func shapeOf(f probe.Facts) shape {
	return shape{f.Outcome, f.Reason, f.Alert, f.Asked, f.Version, len(f.Chain), f.Detail}
}
