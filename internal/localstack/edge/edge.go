// Package edge calls the gateways of a local stack as a client outside of the
// cluster would, and tells how the edge answered: with a response, with a refusal
// in the TLS handshake, or not at all.
//
// It refuses to judge which of the three was right.
package edge

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Answer is what one call met.
type Answer struct {
	// Status is the HTTP status code; 0 if there was no response.
	Status int
	// Header is that of the response.
	Header http.Header
	// Refusal is the TLS alert that the edge sent; empty if it sent none.
	Refusal string
	// Other is why there was neither a response nor a refusal.
	Other error
	// Served is the server's leaf certificate, as far as the handshake got.
	Served *x509.Certificate
}

// String is the answer in a few words.
func (a Answer) String() string {
	switch {
	case a.Status != 0:
		return fmt.Sprintf("%d %s", a.Status, http.StatusText(a.Status))
	case a.Refusal != "":
		return "refused: " + a.Refusal
	}
	return fmt.Sprintf("no answer: %v", a.Other)
}

// Caller is a client with a certificate or without one.
type Caller struct {
	// Certificates to send when the server asks; none for a stranger.
	Certificates []tls.Certificate
	// Roots to verify the server by; nil takes any server.
	Roots *x509.CertPool
	// MaxVersion of TLS; 0 is the newest.
	MaxVersion uint16
	// Sessions resumes TLS sessions; nil makes a full handshake each time.
	Sessions tls.ClientSessionCache
}

// callTimeout bounds one call.
const callTimeout = 5 * time.Second

// Call connects to an address, asks for a server name in the handshake, and sends
// one GET with a Host header. The handshake alone proves nothing: in TLS 1.3 a
// refusal arrives after it, with the first read.
func (c Caller) Call(ctx context.Context, address, serverName, host, path string, header http.Header) Answer {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var a Answer
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		a.Other = err
		return a
	}
	defer func() { _ = connection.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = connection.Close() })
	defer stop()
	session := tls.Client(connection, c.config(serverName, &a))
	if err := session.HandshakeContext(ctx); err != nil {
		return a.failed(err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+path, http.NoBody)
	if err != nil {
		return a.failed(err)
	}
	for key, values := range header {
		request.Header[key] = values
	}
	request.Close = true
	// A refusal may arrive while the request is sent: the read tells it.
	writeErr := request.Write(session)
	response, err := http.ReadResponse(bufio.NewReader(session), request)
	if err != nil {
		return a.failed(errors.Join(err, writeErr))
	}
	_ = response.Body.Close()
	a.Status, a.Header = response.StatusCode, response.Header
	return a
}

func (c Caller) config(serverName string, a *Answer) *tls.Config {
	return &tls.Config{
		ServerName: serverName, MinVersion: tls.VersionTLS12, MaxVersion: c.MaxVersion, RootCAs: c.Roots, ClientSessionCache: c.Sessions,
		// Left to itself, Go sends no certificate of a CA that the server did not name.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if len(c.Certificates) == 0 {
				return &tls.Certificate{}, nil
			}
			return &c.Certificates[0], nil
		},
		InsecureSkipVerify: c.Roots == nil, //nolint:gosec // the caller asked to take any server
		VerifyConnection: func(state tls.ConnectionState) error {
			a.Served = state.PeerCertificates[0]
			return nil
		},
	}
}

// failed sorts an error: an alert that came from the other side is a refusal.
func (a Answer) failed(err error) Answer {
	var remote *net.OpError
	if errors.As(err, &remote) && remote.Op == "remote error" {
		a.Refusal = remote.Err.Error()
		return a
	}
	a.Other = err
	return a
}
