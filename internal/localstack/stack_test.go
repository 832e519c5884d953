package localstack_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	"sallyport.dev/sallyport/internal/localstack"
)

const host = "httpbin.example.com"

// edge is a mutual Gateway by hand, bound to the httpbin Service.
const edge = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: [httpbin.example.com]
    tls: {mode: MUTUAL, credentialName: edge}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: httpbin, namespace: default}
spec:
  hosts: [httpbin.example.com]
  gateways: [default/edge]
  http:
  - route:
    - destination: {host: httpbin.default.svc.cluster.local, port: {number: 80}}
`

func TestStackServesMutualTLSAndLeavesNothingBehind(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	binaries, err := localstack.Build(ctx, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	stack, err := localstack.Start(ctx, localstack.Options{Binaries: binaries, Replicas: 2, Directory: t.TempDir(), Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	defer stack.Stop(context.Background())
	t.Logf("ready after %s", time.Since(started).Round(time.Millisecond))

	ca := newAuthority(t, "callers")
	serverCA := newAuthority(t, "servers")
	install(ctx, t, stack, ca, serverCA)
	for replica, gateway := range stack.Gateways() {
		t.Run(fmt.Sprintf("replica %d", replica), func(t *testing.T) {
			good := ca.leaf(t, "caller.example.com", x509.ExtKeyUsageClientAuth)
			served(t, gateway, serverCA, good)
			refused(t, gateway, serverCA, "no certificate")
			foreign := newAuthority(t, "foreign").leaf(t, "caller.example.com", x509.ExtKeyUsageClientAuth)
			refused(t, gateway, serverCA, "foreign certificate", foreign)
		})
	}
	t.Run("rights of a token", func(t *testing.T) { tokenIsReal(ctx, t, stack) })

	t.Run("a gateway comes back", func(t *testing.T) {
		crashed := stack.Gateway(1)
		if err := crashed.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if status, err := ask(crashed, serverCA); err == nil {
			t.Errorf("a killed gateway answers %d", status)
		}
		if err := crashed.Process.Start(); err != nil {
			t.Fatal(err)
		}
		served(t, crashed, serverCA, ca.leaf(t, "caller.example.com", x509.ExtKeyUsageClientAuth))
	})

	groups := processIDs(t, stack)
	if err := stack.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	for name, pid := range groups {
		if left := alive(t, pid); left != "" {
			t.Errorf("%s is left running after Stop: %s", name, left)
		}
	}
	if _, err := stack.Run(localstack.Command{Name: "late", Binary: "/bin/true"}); err == nil {
		t.Error("a stopped stack started a process")
	}
}

func install(ctx context.Context, t *testing.T, stack *localstack.Stack, ca, serverCA authority) {
	t.Helper()
	if err := stack.Httpbin(ctx, "default", "httpbin", 80); err != nil {
		t.Fatal(err)
	}
	server := serverCA.leaf(t, host, x509.ExtKeyUsageServerAuth)
	for _, object := range []*unstructured.Unstructured{
		secret("edge", corev1.SecretTypeTLS, map[string]any{
			corev1.TLSCertKey:       encode("CERTIFICATE", server.Leaf.Raw),
			corev1.TLSPrivateKeyKey: keyPEM(t, server),
		}),
		secret("edge-cacert", corev1.SecretTypeOpaque, map[string]any{"ca.crt": ca.pem()}),
	} {
		if err := stack.Apply(ctx, object); err != nil {
			t.Fatal(err)
		}
	}
	if err := stack.ApplyYAML(ctx, edge); err != nil {
		t.Fatal(err)
	}
}

func secret(name string, kind corev1.SecretType, data map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": string(kind), "stringData": data,
		"metadata": map[string]any{"name": name, "namespace": localstack.IstioNamespace},
	}}
}

// ask makes one request on a connection of its own.
func ask(gateway localstack.Gateway, roots authority, certificates ...tls.Certificate) (status int, err error) {
	client := http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   clientConfig(roots, certificates),
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, gateway.HTTPS)
			},
		},
	}
	response, err := client.Get("https://" + host + "/status/418")
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

// served waits for the configuration to arrive, then wants the workload's own answer.
func served(t *testing.T, gateway localstack.Gateway, roots authority, certificate tls.Certificate) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		status, err := ask(gateway, roots, certificate)
		if status == http.StatusTeapot {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("with a good certificate: status %d, error %v, want 418", status, err)
		}
		select {
		case <-t.Context().Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// refused wants the alert of TLS, not just any failure. It writes nothing: a request
// could fail because the server has closed, before its alert is read.
func refused(t *testing.T, gateway localstack.Gateway, roots authority, how string, certificates ...tls.Certificate) {
	t.Helper()
	conn, err := tls.Dial("tcp", gateway.HTTPS, clientConfig(roots, certificates))
	if err == nil {
		defer conn.Close()
		if err = conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, err = conn.Read(make([]byte, 1))
	}
	var alert *net.OpError
	if !errors.As(err, &alert) || alert.Op != "remote error" {
		t.Errorf("with %s: %v, want a TLS alert", how, err)
		return
	}
	t.Logf("with %s: %v", how, err)
}

// clientConfig sends its certificate whatever the server says it trusts.
func clientConfig(roots authority, certificates []tls.Certificate) *tls.Config {
	config := &tls.Config{RootCAs: roots.pool(), ServerName: host}
	if len(certificates) > 0 {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &certificates[0], nil
		}
	}
	return config
}

func tokenIsReal(ctx context.Context, t *testing.T, stack *localstack.Stack) {
	if err := stack.ApplyYAML(ctx, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: visitor, namespace: default}}"); err != nil {
		t.Fatal(err)
	}
	config, kubeconfig, err := stack.TokenConfig(ctx, "default", "visitor")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(kubeconfig); err != nil {
		t.Error(err)
	}
	visitor, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = visitor.CoreV1().Secrets(localstack.IstioNamespace).List(ctx, metav1.ListOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("listing Secrets as an account without rights: %v, want forbidden", err)
	}
	audit, err := os.ReadFile(stack.AuditLog())
	if err != nil || !strings.Contains(string(audit), "system:serviceaccount:default:visitor") {
		t.Errorf("the audit log does not know the account (error %v)", err)
	}
}

// processIDs are the groups of all servers, and the Envoys below pilot-agent.
func processIDs(t *testing.T, stack *localstack.Stack) map[string]int {
	t.Helper()
	ids := map[string]int{}
	for _, name := range []string{"etcd", "kube-apiserver", "istiod", "gateway-0", "gateway-1", "go-httpbin"} {
		process, ok := stack.Process(name)
		if !ok || process.Err() != nil {
			t.Fatalf("%s does not run", name)
		}
		ids[name] = process.PID()
	}
	return ids
}

// alive lists what is left of a process group, zombies aside: those hold nothing.
func alive(t *testing.T, group int) string {
	t.Helper()
	processes, err := exec.Command("ps", "-A", "-o", "pgid=,stat=,args=").Output()
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for line := range strings.Lines(string(processes)) {
		fields := strings.Fields(line)
		if len(fields) > 1 && fields[0] == strconv.Itoa(group) && !strings.HasPrefix(fields[1], "Z") {
			left = append(left, strings.TrimSpace(line))
		}
	}
	return strings.Join(left, "; ")
}
