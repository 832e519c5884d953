package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/localstack/edge"
	"sallyport.dev/sallyport/pkg/pki"
)

// The tutorial's Gateway, without its tls block, and the APIRule on it.
const gatewayYAML = `apiVersion: networking.istio.io/v1alpha3
kind: Gateway
metadata:
  name: kyma-mtls-gateway
  namespace: default
  annotations: {mtls.sallyport.dev/mode: mutual}     # the whole change
spec:
  selector: {app: istio-ingressgateway, istio: ingressgateway}
  servers:
  - port: {number: 443, name: mtls, protocol: HTTPS}
    hosts: ["*.mtls.example.com"]
`

const tutorialRuleYAML = `apiVersion: gateway.kyma-project.io/v1beta1
kind: APIRule
metadata: {name: httpbin-mtls, namespace: default}
spec:
  gateway: kyma-mtls-gateway.default.svc.cluster.local
  host: httpbin.mtls.example.com
  service: {name: httpbin, port: 80}
  rules:
  - {path: "/.*", methods: [GET], accessStrategies: [{handler: allow}]}
`

const ruleYAML = `apiVersion: gateway.kyma-project.io/v2
kind: APIRule
metadata:
  name: orders
  namespace: default
  annotations: {mtls.sallyport.dev/mode: mutual}     # the whole change
spec:
  hosts: [orders.example.com]
  service: {name: httpbin, port: 80}
  rules:
  - {path: "/*", methods: [GET], noAuth: true}
`

const callerYAML = `apiVersion: mtls.sallyport.dev/v1alpha1
kind: ClientCertificate
metadata: {name: billing, namespace: default}
spec: {authorityRef: {name: default}, secretName: billing-client}
`

// path is what every call asks for; teapot is the answer of the workload.
const (
	path   = "/status/418"
	teapot = 418
)

// callEvery is how often the caller tries until it is accepted.
const callEvery = 5 * time.Millisecond

// patience is how long the first accepted call may take.
const patience = 30 * time.Second

// story is what the demo shows.
type story struct {
	stack   *localstack.Stack
	out     io.Writer
	address string
	friend  edge.Caller
	secret  corev1.Secret
}

func (s *story) say(format string, arguments ...any) {
	_, _ = fmt.Fprintf(s.out, format+"\n", arguments...)
}

func (s *story) tell(ctx context.Context) error {
	s.say("\n(a) The tutorial's Gateway with one annotation and no tls block, an APIRule on it, and a caller:\n\n%s", indented(gatewayYAML))
	begun := time.Now()
	for _, manifest := range []string{gatewayYAML, callerYAML, tutorialRuleYAML} {
		if err := s.stack.ApplyYAML(ctx, manifest); err != nil {
			return err
		}
	}
	if err := s.meet(ctx); err != nil {
		return err
	}
	s.say("    the caller has its certificate %s after the apply", since(begun))
	if err := s.answers(ctx, "httpbin.mtls.example.com", begun); err != nil {
		return err
	}
	s.say("\n(b) An APIRule v2 that carries nothing but the annotation; its Gateway is made for it:\n\n%s", indented(ruleYAML))
	begun = time.Now()
	if err := s.stack.ApplyYAML(ctx, ruleYAML); err != nil {
		return err
	}
	return s.answers(ctx, "orders.example.com", begun)
}

// meet waits for the caller's certificate.
func (s *story) meet(ctx context.Context) error {
	return every(ctx, "the caller's certificate", func(ctx context.Context) error {
		if err := s.stack.Client().Get(ctx, client.ObjectKey{Namespace: "default", Name: "billing-client"}, &s.secret); err != nil {
			return err
		}
		pair, err := tls.X509KeyPair(s.secret.Data["tls.crt"], s.secret.Data["tls.key"])
		if err != nil {
			return err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(s.secret.Data["ca.crt"]) {
			return errors.New("ca.crt holds no certificate")
		}
		s.friend = edge.Caller{Certificates: []tls.Certificate{pair}, Roots: roots}
		return nil
	})
}

// answers shows the three answers for a host.
func (s *story) answers(ctx context.Context, host string, begun time.Time) error {
	err := every(ctx, "the first accepted call", func(ctx context.Context) error {
		if a := s.friend.Call(ctx, s.address, host, host, path, nil); a.Status != teapot {
			return fmt.Errorf("answer: %s", a)
		}
		return nil
	})
	if err != nil {
		return err
	}
	accepted := since(begun)
	foreign, err := foreigner()
	if err != nil {
		return err
	}
	s.say("    https://%s%s", host, path)
	for _, c := range []struct {
		who     string
		caller  edge.Caller
		refused bool
	}{
		{"no certificate", edge.Caller{Roots: s.friend.Roots}, true},
		{"a foreign CA's certificate", foreign, true},
		{"the issued certificate", s.friend, false},
	} {
		a := c.caller.Call(ctx, s.address, host, host, path, nil)
		s.say("      with %-28s %s", c.who+":", a)
		if c.refused && a.Refusal == "" || !c.refused && a.Status != teapot {
			return fmt.Errorf("with %s the answer is %q", c.who, a)
		}
	}
	s.say("    first accepted handshake %s after the apply", accepted)
	return nil
}

// foreigner is a caller with the right name from a CA that nobody trusts.
func foreigner() (edge.Caller, error) {
	now := time.Now()
	key, err := pki.GenerateKey(pki.ECDSAP256)
	if err != nil {
		return edge.Caller{}, err
	}
	root, err := pki.NewRoot(pki.RootRequest{CommonName: "foreign", Key: key, Lifetime: time.Hour}, now)
	if err != nil {
		return edge.Caller{}, err
	}
	leaf, err := root.IssueClient(pki.ClientRequest{CommonName: "billing", Identity: "spiffe://example.org/ns/default/client/billing", Lifetime: time.Hour}, key, now)
	if err != nil {
		return edge.Caller{}, err
	}
	pair, err := tls.X509KeyPair(leaf.CertificatePEM(), leaf.KeyPEM())
	return edge.Caller{Certificates: []tls.Certificate{pair}}, err
}

// every tries until there is no error.
func every(ctx context.Context, what string, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(callEvery)
	defer ticker.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, err)
		case <-ticker.C:
		}
	}
}

func since(begun time.Time) time.Duration { return time.Since(begun).Round(time.Millisecond) }

func indented(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ") + "\n"
}

// explain writes the caller's files and says how to use and stop what is left
// running.
func (s *story) explain(directory string) error {
	for file, content := range map[string][]byte{"client.crt": s.secret.Data["tls.crt"], "client.key": s.secret.Data["tls.key"], "ca.crt": s.secret.Data["ca.crt"]} {
		if err := os.WriteFile(filepath.Join(directory, file), content, 0o600); err != nil {
			return err
		}
	}
	host, port, _ := strings.Cut(s.address, ":")
	s.say(`
Everything is left running. To use it:
  export KUBECONFIG=%[1]s
  kubectl get mte,mca,mcc -A
  cd %[2]s
  curl --cacert ca.crt --cert client.crt --key client.key --resolve orders.example.com:%[4]s:%[3]s https://orders.example.com:%[4]s%[5]s
To stop it:
  kill %[6]d`, s.stack.Kubeconfig(), directory, host, port, path, os.Getpid())
	return os.WriteFile(filepath.Join(directory, keptFile), nil, 0o600)
}
