package main

import (
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
	// readWithin bounds a TLS handshake, the headers, and the body of one request; a
	// review that takes longer is late anyway. writeWithin bounds the whole of it.
	readWithin  = 2 * time.Second
	writeWithin = 5 * time.Second
	// idleFor is how long a connection may rest between two requests: longer than the
	// API server's own 90 seconds would keep what it has given up.
	idleFor = 90 * time.Second
	// maxHeader bounds the headers of one request, in bytes. The API server's are a
	// few hundred.
	maxHeader = 16 << 10
	// maxConnections bounds the connections of one listener. An API server needs one
	// or two; a connection costs some 30 KiB.
	maxConnections = 256
	// maxStreams bounds the requests at a time on one HTTP/2 connection.
	maxStreams = 128
	// drainWithin is how long requests may take that are being answered at the end.
	drainWithin = 5 * time.Second
)

// server is one listener and what it serves.
type server struct {
	name     string
	secure   bool
	listener net.Listener
	http     *http.Server
}

// listen opens a listener; tlsConfig is nil for plain HTTP.
func listen(ctx context.Context, name, address string, handler http.Handler, tlsConfig *tls.Config, log slog.Handler) (*server, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for %s: %w", name, err)
	}
	return &server{
		name:     name,
		secure:   tlsConfig != nil,
		listener: netutil.LimitListener(listener, maxConnections),
		http: &http.Server{
			Handler:           handler,
			TLSConfig:         tlsConfig,
			ReadHeaderTimeout: readWithin,
			ReadTimeout:       readWithin,
			WriteTimeout:      writeWithin,
			IdleTimeout:       idleFor,
			MaxHeaderBytes:    maxHeader,
			HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
			// Anybody who can reach the port can cause these lines, so they are for debugging.
			ErrorLog: slog.NewLogLogger(log, slog.LevelDebug),
		},
	}, nil
}

// serve answers until the context ends, then lets requests finish that are being
// answered.
func (s *server) serve(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() {
		if s.secure {
			failed <- s.http.ServeTLS(s.listener, "", "")
			return
		}
		failed <- s.http.Serve(s.listener)
	}()
	select {
	case err := <-failed:
		return fmt.Errorf("serving %s: %w", s.name, err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainWithin)
	defer cancel()
	if err := s.http.Shutdown(drain); err != nil {
		return errors.Join(fmt.Errorf("draining %s: %w", s.name, err), s.http.Close())
	}
	<-failed //nolint:errcheck // http.ErrServerClosed: it was asked to stop
	return nil
}
