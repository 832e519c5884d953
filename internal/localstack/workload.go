package localstack

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

const workloadLimit = 30 * time.Second

// idleLimit is how long go-httpbin keeps a connection open on which nothing is asked: longer than
// Envoy, which keeps it for an hour, so that no call is sent into one that is just being closed.
const idleLimit = 24 * time.Hour

// Httpbin makes go-httpbin answer behind a Service: a VirtualService may name
// <name>.<namespace>.svc.cluster.local and the port as a destination. The namespace has
// to exist. The first call starts the program; all Services share it.
func (s *Stack) Httpbin(ctx context.Context, namespace, name string, port int) error {
	local, err := s.startHttpbin(ctx)
	if err != nil {
		return err
	}
	return s.Expose(ctx, namespace, name, port, local)
}

// Expose leads the host and port of a Service to an HTTP server on a loopback port.
func (s *Stack) Expose(ctx context.Context, namespace, name string, port, loopbackPort int) error {
	if err := s.ApplyYAML(ctx, fmt.Sprintf(workloadYAML, namespace, name, port, loopbackPort)); err != nil {
		return fmt.Errorf("exposing 127.0.0.1:%d as %s.%s:%d: %w", loopbackPort, name, namespace, port, err)
	}
	return nil
}

func (s *Stack) startHttpbin(ctx context.Context) (port int, err error) {
	s.httpbinMu.Lock()
	defer s.httpbinMu.Unlock()
	if s.httpbinPort != 0 {
		return s.httpbinPort, nil
	}
	if port, err = s.ports.take(); err != nil {
		return 0, err
	}
	process, err := s.run(Command{
		Name: nameHttpbin, Binary: s.binaries.Httpbin,
		Args: []string{"-host", "127.0.0.1", "-port", strconv.Itoa(port), "-srv-read-timeout", idleLimit.String()},
	})
	if err != nil {
		return 0, err
	}
	err = until(ctx, s.clock, workloadLimit, "go-httpbin to be ready", process, func(ctx context.Context) error {
		return answers(ctx, loopbackURL("http", port)+"/status/200")
	})
	if err != nil {
		return 0, err
	}
	s.httpbinPort = port
	return port, nil
}
