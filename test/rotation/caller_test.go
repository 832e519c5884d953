package rotation

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"sallyport.dev/sallyport/internal/localstack/edge"
	"sallyport.dev/sallyport/pkg/pki"
)

// Kind is how a caller keeps its credentials.
type kind string

const (
	// prompt takes certificate and trust as soon as new ones are there.
	prompt kind = "prompt"
	// thrifty keeps both to the last moment of its certificate.
	thrifty kind = "thrifty"
	// stubborn keeps its certificate to the last moment, and what it trusts until every root of it ends.
	stubborn kind = "stubborn"
	// long is prompt with new connections, and makes few: it calls over HTTP/2 for as long as one holds.
	long kind = "long"
)

// lastMoment is how long before its end a certificate is still used.
const lastMoment = 1200 * time.Millisecond

// caller calls the edge with what it has taken.
type caller struct {
	kind  kind
	shelf *shelf
	has   credentials
	// sessions resumes TLS sessions; nil makes a full handshake each time.
	sessions tls.ClientSessionCache
	version  uint16
	client   *http.Client
	calls    int
}

// onboard takes what is on the shelf, when it is the caller's way to.
func (c *caller) onboard(now time.Time) {
	newest := c.shelf.take()
	ends := c.has.pair.Leaf == nil || !now.Before(c.has.pair.Leaf.NotAfter.Add(-lastMoment))
	switch {
	case c.has.pair.Leaf == nil, c.kind == prompt, c.kind == long, ends && c.kind == thrifty, allEnd(c.has.trust, now):
		c.has = newest
	case ends: // it keeps its roots
		c.has.pair = newest.pair
	}
}

func allEnd(roots []pki.Certificate, now time.Time) bool {
	for _, root := range roots {
		if now.Before(root.NotAfter().Add(-lastMoment)) {
			return false
		}
	}
	return true
}

func (c *caller) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, root := range c.has.trust {
		pool.AddCert(root.X509())
	}
	return pool
}

// target is one host at one replica.
type target struct{ address, serverName string }

// call makes one call, and says why it was not answered as it has to be; nil if it was.
func (c *caller) call(ctx context.Context, at target) (*x509.Certificate, error) {
	c.calls++
	if c.kind == long {
		return nil, c.callLong(ctx, at)
	}
	who := edge.Caller{Certificates: []tls.Certificate{c.has.pair}, Roots: c.roots(), MaxVersion: c.version, Sessions: c.sessions}
	answer := who.Call(ctx, at.address, at.serverName, at.serverName, "/status/418", nil)
	if answer.Status != http.StatusTeapot {
		return answer.Served, errors.New(answer.String())
	}
	return answer.Served, nil
}

// callLong calls over a connection that stays; a new one is made when the edge closes it.
func (c *caller) callLong(ctx context.Context, at target) error {
	if c.client == nil {
		dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", at.address)
		}
		c.client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
			DialContext: dial, ForceAttemptHTTP2: true, MaxConnsPerHost: 1,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{c.has.pair}, RootCAs: c.roots()},
		}}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+at.serverName+"/status/418", http.NoBody)
	if err != nil {
		return err
	}
	response, err := c.client.Do(request)
	if err != nil {
		c.client.CloseIdleConnections()
		c.client = nil
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusTeapot || response.ProtoMajor != 2:
		return fmt.Errorf("%s over %s", response.Status, response.Proto)
	}
	return nil
}
