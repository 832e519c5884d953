// Package faults shows that the agent may die, be cut off or be refused anywhere, and
// that what it leaves is safe and what comes after it is the same as if nothing had
// happened. A proxy stands between the agent and a real API server; gateways are not
// part of it, because what they see is what is stored.
package faults

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/localstack/kyma"
	"sallyport.dev/sallyport/internal/localstack/product"
	"sallyport.dev/sallyport/internal/testenv"
)

// ingress is the namespace of the gateways.
const ingress = "istio-system"

// stack is what all tests share: an API server, the installed chart, and no agent but
// those the tests start.
var stack *localstack.Stack

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(product.Main(m, start))
}

func start(ctx context.Context) (_ *localstack.Stack, installed *product.Product, err error) {
	if stack, err = localstack.Start(ctx, localstack.Options{ControlPlaneOnly: true}); err != nil {
		return stack, nil, err
	}
	for _, manifest := range []string{kyma.CRD, prerequisites} {
		if err = stack.ApplyYAML(ctx, manifest); err != nil {
			return stack, nil, err
		}
	}
	if installed, err = product.Install(ctx, stack, product.Options{TrustDomain: "example.com", ClientSecretNamespaces: []string{clients}}); err != nil {
		return stack, installed, err
	}
	// Its lease goes with it, and the tests' own agents work without one.
	return stack, installed, installed.Agents[0].Process.Stop(ctx)
}

// clients is the namespace where the agent may write callers' Secrets.
const clients = "clients"

const prerequisites = `
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: clients}
---
apiVersion: v1
kind: Pod
metadata: {name: gateway, namespace: istio-system, labels: {istio: ingressgateway}}
spec: {containers: [{name: proxy, image: none}]}
`

// agent is one that reaches the API server through a proxy.
type agent struct {
	*localstack.Process
	proxy *proxy
	wire  *wire
}

// agents counts them: each has a name and a log of its own.
var agents int

// startAgent starts one that works without a lease, unless it gets flags that say how.
func startAgent(t *testing.T, further ...string) *agent {
	t.Helper()
	agents++
	p := newProxy(t, stack.Config())
	w := newWire(t, p.url)
	config, _, err := stack.TokenConfig(t.Context(), product.Namespace, "sallyport-agent")
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("agent-%d", agents)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(clientcmdapi.Config{
		CurrentContext: "proxy",
		Clusters:       map[string]*clientcmdapi.Cluster{"proxy": {Server: "https://" + w.listener.Addr().String(), CertificateAuthorityData: p.ca}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"agent": {Token: config.BearerToken}},
		Contexts:       map[string]*clientcmdapi.Context{"proxy": {Cluster: "proxy", AuthInfo: "agent"}},
	}, kubeconfig); err != nil {
		t.Fatal(err)
	}
	args := []string{
		"--config=" + filepath.Join(stack.Directory(), "volumes", "sallyport-agent-0", "config", "config.yaml"),
		"--kubeconfig=" + kubeconfig, "--namespace=" + product.Namespace,
	}
	if len(further) == 0 {
		args = append(args, "--leader-elect=false")
	}
	port, err := stack.Port()
	if err != nil {
		t.Fatal(err)
	}
	args = append(args, "--metrics-address="+net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	process, err := stack.Run(localstack.Command{Name: name, Binary: filepath.Join(stack.Directory(), "bin", "agent"), Args: append(args, further...)})
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{Process: process, proxy: p, wire: w}
	p.kill = func() { _ = process.Kill() }
	t.Cleanup(func() {
		_ = process.Kill()
		if t.Failed() {
			log, _ := os.ReadFile(process.Log())
			t.Logf("the agent's log:\n%s", log[max(0, len(log)-4000):])
		}
	})
	return a
}

// patience is how long anything may take that is waited for.
const patience = 60 * time.Second

// eventually asks again until the answer is nil.
func eventually(t *testing.T, what string, ask func(ctx context.Context) error) {
	t.Helper()
	testenv.Eventually(t, patience, what, ask)
}

func apply(t *testing.T, manifest string) {
	t.Helper()
	if err := stack.ApplyYAML(t.Context(), manifest); err != nil {
		t.Fatal(err)
	}
}

func get(ctx context.Context, o client.Object, namespace, name string) error {
	return stack.Client().Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, o)
}
