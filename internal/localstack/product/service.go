package product

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack"
)

// serviceName is the Service that the webhook configuration names.
const serviceName = "sallyport-webhook"

// configurationName is the webhook configuration.
const configurationName = "sallyport"

// service stands in for the Service in front of the webhook. The API server dials
// the external name of a Service of type ExternalName, on the port that the webhook
// configuration names, and verifies the certificate for <name>.<namespace>.svc all
// the same: so a forwarder on loopback is all it takes.
type service struct {
	port     int
	listener net.Listener

	mu       sync.Mutex
	replicas []*Replica
	turn     int
}

func newService(stack *localstack.Stack) (*service, error) {
	port, err := stack.Port()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("standing in for Service %s: %w", serviceName, err)
	}
	return &service{port: port, listener: listener}, nil
}

func (s *service) add(r *Replica) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replicas = append(s.replicas, r)
}

// redirect leads the API server to the forwarder.
func (s *service) redirect(object *unstructured.Unstructured) {
	if object.GetKind() != "Service" || object.GetName() != serviceName {
		return
	}
	spec, _ := object.Object["spec"].(map[string]any)
	object.Object["spec"] = map[string]any{"type": "ExternalName", "externalName": "127.0.0.1", "ports": spec["ports"]}
}

// serve forwards connections to ready replicas until the context ends.
func (s *service) serve(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { _ = s.listener.Close() })
	defer stop()
	for {
		connection, err := s.listener.Accept()
		if err != nil {
			return
		}
		go s.forward(ctx, connection)
	}
}

// next is a ready replica, each in turn; nil if none is.
func (s *service) next(ctx context.Context) *Replica {
	s.mu.Lock()
	replicas := append([]*Replica{}, s.replicas...)
	s.turn++
	turn := s.turn
	s.mu.Unlock()
	for i := range replicas {
		r := replicas[(turn+i)%len(replicas)]
		if r.Process.Err() == nil && r.check(ctx) == nil {
			return r
		}
	}
	return nil
}

func (s *service) forward(ctx context.Context, from net.Conn) {
	defer func() { _ = from.Close() }()
	r := s.next(ctx)
	if r == nil {
		return
	}
	to, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.Address("webhook"))
	if err != nil {
		return
	}
	defer func() { _ = to.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = from.Close(); _ = to.Close() })
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(to, from)
		_ = to.(*net.TCPConn).CloseWrite() //nolint:forcetypeassert // dialled as tcp
	}()
	_, _ = io.Copy(from, to)
	_ = from.Close()
	<-done
}

// trusted reports whether the API server would trust the webhook: each entry has a
// caBundle that verifies what is served.
func (s *service) trusted(ctx context.Context, c client.Client) error {
	var configuration admissionregistrationv1.MutatingWebhookConfiguration
	if err := c.Get(ctx, client.ObjectKey{Name: configurationName}, &configuration); err != nil {
		return err
	}
	if len(configuration.Webhooks) == 0 {
		return errors.New("the webhook configuration is empty")
	}
	for _, entry := range configuration.Webhooks {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(entry.ClientConfig.CABundle) {
			return fmt.Errorf("webhook %s has no caBundle", entry.Name)
		}
		dialer := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: serviceName + "." + Namespace + ".svc"}}
		connection, err := dialer.DialContext(ctx, "tcp", s.listener.Addr().String())
		if err != nil {
			return fmt.Errorf("webhook %s: %w", entry.Name, err)
		}
		_ = connection.Close()
	}
	return nil
}
