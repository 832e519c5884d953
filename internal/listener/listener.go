package listener

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

const (
	// readWithin bounds a TLS handshake, the headers, and the body of one request; an
	// admission review that takes longer is late anyway.
	readWithin = 2 * time.Second
	// writeWithin bounds the whole of a request, where nothing else is asked for.
	writeWithin = 5 * time.Second
	// idleFor is how long a connection may rest between two requests: longer than the
	// API server's own 90 seconds would keep what it has given up.
	idleFor = 90 * time.Second
	// maxHeader bounds the headers of one request, in bytes. The API server's are a
	// few hundred, and a token of a ServiceAccount is one or two thousand.
	maxHeader = 16 << 10
	// maxConnections bounds the connections of one listener. An API server needs one
	// or two; a connection costs some 30 KiB.
	maxConnections = 256
	// maxStreams bounds the requests at a time on one HTTP/2 connection.
	maxStreams = 128
)

// DrainWithin is how long requests may take that are being answered at the end.
const DrainWithin = 5 * time.Second

// Config says what to listen for.
type Config struct {
	// Name of the listener, for errors.
	Name string
	// Address is <host>:<port>.
	Address string
	// Handler answers.
	Handler http.Handler
	// TLS is nil for plain HTTP.
	TLS *tls.Config
	// WriteWithin bounds the whole of a request; 0 is five seconds.
	WriteWithin time.Duration
	// Log takes what the server has to say of bad clients.
	Log slog.Handler
}

// Server is an open port and what is served on it.
type Server struct {
	// HTTP is the server.
	HTTP *http.Server
	// Listener is the port. With TLS its connections are encrypted.
	Listener net.Listener

	name   string
	secure bool
}

// Listen opens the port, so that a wrong address is an error at once. Nobody is
// answered before Serve.
func Listen(ctx context.Context, c Config) (*Server, error) {
	var config net.ListenConfig
	port, err := config.Listen(ctx, "tcp", c.Address)
	if err != nil {
		return nil, fmt.Errorf("listening for %s: %w", c.Name, err)
	}
	s := &Server{name: c.Name, secure: c.TLS != nil, Listener: netutil.LimitListener(port, maxConnections)}
	encryption := c.TLS
	if s.secure {
		encryption = c.TLS.Clone()
		encryption.NextProtos = []string{"h2", "http/1.1"}
		s.Listener = tls.NewListener(s.Listener, encryption)
	}
	s.HTTP = &http.Server{
		Handler:           c.Handler,
		TLSConfig:         encryption,
		ReadHeaderTimeout: readWithin,
		ReadTimeout:       readWithin,
		WriteTimeout:      cmp.Or(c.WriteWithin, writeWithin),
		IdleTimeout:       idleFor,
		MaxHeaderBytes:    maxHeader,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		// Anybody who can reach the port can cause these lines, so they are for debugging.
		ErrorLog: slog.NewLogLogger(c.Log, slog.LevelDebug),
	}
	return s, nil
}

// Name is the listener's.
func (s *Server) Name() string { return s.name }

// URL is the address that is listened on.
func (s *Server) URL() string {
	scheme := "http://"
	if s.secure {
		scheme = "https://"
	}
	return scheme + s.Listener.Addr().String()
}

// Close closes a port that is not served.
func (s *Server) Close() error { return s.Listener.Close() }

// Serve answers until the context ends, then lets requests finish that are being
// answered.
func (s *Server) Serve(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- s.HTTP.Serve(s.Listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serving %s: %w", s.name, err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), DrainWithin)
	defer cancel()
	if err := s.HTTP.Shutdown(drain); err != nil {
		return errors.Join(fmt.Errorf("draining %s: %w", s.name, err), s.HTTP.Close())
	}
	<-failed //nolint:errcheck // http.ErrServerClosed: it was asked to stop
	return nil
}
