package localstack

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// gatewayName is the Service, ServiceAccount and pod prefix of Istio's own chart;
	// Gateways select its pods with istio=ingressgateway.
	gatewayName  = "istio-ingressgateway"
	gatewayLimit = 2 * time.Minute
)

// Gateway is one replica of the ingress: a pod by name, a pilot-agent with its Envoy.
type Gateway struct {
	// Pod is the name of its pod in IstioNamespace.
	Pod string
	// Address is its pod IP, a loopback address of its own.
	Address string
	// HTTPS is host:port of what a Gateway server on port 443 becomes.
	HTTPS string
	// HTTP is host:port of what a Gateway server on port 80 becomes.
	HTTP string
	// Admin is the base URL of Envoy's admin interface.
	Admin string
	// Process is pilot-agent with its Envoy.
	Process *Process

	directory                                     string
	https, http, admin, agent, status, prometheus int
}

// Gateways are the replicas, in the order of their pods' names.
func (s *Stack) Gateways() []Gateway { return append([]Gateway(nil), s.gateways...) }

// Gateway is one replica, counted from 0. It is the zero Gateway for one that the
// stack does not have.
func (s *Stack) Gateway(replica int) Gateway {
	if replica < 0 || replica >= len(s.gateways) {
		return Gateway{}
	}
	return s.gateways[replica]
}

func (s *Stack) startGateways(ctx context.Context, replicas int) error {
	for replica := range replicas {
		gateway, err := s.newGateway(replica)
		if err != nil {
			return err
		}
		s.gateways = append(s.gateways, gateway)
	}
	if err := s.ApplyYAML(ctx, ingressManifest(s.gateways)); err != nil {
		return err
	}
	root, err := s.rootCertificate(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for i := range s.gateways {
		group.Go(func() error { return s.startGateway(ctx, &s.gateways[i], root) })
	}
	return group.Wait()
}

func (s *Stack) newGateway(replica int) (Gateway, error) {
	g := Gateway{
		Pod: gatewayName + "-" + strconv.Itoa(replica),
		// Envoy listens on every address; the second one is there to tell pods apart.
		Address:   "127.0.0." + strconv.Itoa(replica+1),
		directory: s.path("gateway-" + strconv.Itoa(replica)),
	}
	if err := s.ports.takeAll(&g.https, &g.http, &g.admin, &g.agent, &g.status, &g.prometheus); err != nil {
		return Gateway{}, err
	}
	g.HTTPS = net.JoinHostPort(g.Address, strconv.Itoa(g.https))
	g.HTTP = net.JoinHostPort(g.Address, strconv.Itoa(g.http))
	g.Admin = loopbackURL("http", g.admin)
	return g, nil
}

// rootCertificate waits for the CA that istiod publishes in each namespace.
func (s *Stack) rootCertificate(ctx context.Context) (string, error) {
	istiod, _ := s.Process(nameIstiod)
	var root string
	err := until(ctx, s.clock, istiodLimit, "istiod to publish its CA", istiod, func(ctx context.Context) error {
		published, err := s.kube.CoreV1().ConfigMaps(IstioNamespace).Get(ctx, rootConfigMap, metav1.GetOptions{})
		if err == nil {
			root = published.Data["root-cert.pem"]
		}
		return err
	})
	return root, err
}

// startGateway makes the pod, starts pilot-agent as its container would be started, and
// waits until Envoy has its configuration.
func (s *Stack) startGateway(ctx context.Context, g *Gateway, root string) error {
	if err := s.podReady(ctx, *g); err != nil {
		return err
	}
	token, err := s.token(ctx, IstioNamespace, gatewayName, []string{istioAudience})
	if err != nil {
		return err
	}
	if err := s.mountGateway(*g, token, root); err != nil {
		return err
	}
	environment, err := s.gatewayEnvironment(*g)
	if err != nil {
		return err
	}
	g.Process, err = s.run(Command{
		Name: filepath.Base(g.directory), Binary: s.binaries.PilotAgent, Directory: g.directory, Env: environment,
		Args: []string{
			"proxy", "router", "--domain", IstioNamespace + ".svc." + TrustDomain,
			"--proxyLogLevel=warning", "--log_output_level=default:info", "--concurrency", "2",
		},
	})
	if err != nil {
		return err
	}
	return until(ctx, s.clock, gatewayLimit, "gateway "+g.Pod+" to be ready", g.Process, func(ctx context.Context) error {
		return answers(ctx, loopbackURL("http", g.status)+"/healthz/ready")
	})
}

// podReady makes the pod and says what its kubelet would say of it.
func (s *Stack) podReady(ctx context.Context, g Gateway) error {
	if err := s.ApplyYAML(ctx, podManifest(g)); err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{"status": corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: g.Address, PodIPs: []corev1.PodIP{{IP: g.Address}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	}})
	if err != nil {
		return err
	}
	_, err = s.kube.CoreV1().Pods(IstioNamespace).Patch(ctx, g.Pod, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return fmt.Errorf("setting the status of pod %s: %w", g.Pod, err)
	}
	return nil
}

// mountGateway lays out what the pod's volumes hold, below the agent's working directory.
func (s *Stack) mountGateway(g Gateway, token, root string) error {
	template, err := os.ReadFile(s.binaries.EnvoyBootstrap)
	if err != nil {
		return fmt.Errorf("reading Envoy's bootstrap template: %w", err)
	}
	if err := os.MkdirAll(g.path("etc/istio/proxy"), 0o755); err != nil {
		return err
	}
	for name, content := range map[string]string{
		"var/run/secrets/tokens/istio-token":            token,
		"var/run/secrets/istio/root-cert.pem":           root,
		"var/lib/istio/envoy/envoy_bootstrap_tmpl.json": string(template),
		"etc/istio/pod/labels":                          "app=\"istio-ingressgateway\"\nistio=\"ingressgateway\"\n",
		"etc/istio/pod/annotations":                     downwardAPI(s.podAnnotations),
	} {
		if err := os.MkdirAll(filepath.Dir(g.path(name)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(g.path(name), []byte(content), fileMode); err != nil {
			return err
		}
	}
	return nil
}

// downwardAPI is how a volume shows the annotations of its pod.
func downwardAPI(annotations map[string]string) string {
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		fmt.Fprintf(&text, "%s=%q\n", key, annotations[key])
	}
	return text.String()
}

func (g Gateway) path(name string) string {
	return filepath.Join(g.directory, filepath.FromSlash(name))
}

func (s *Stack) gatewayEnvironment(g Gateway) ([]string, error) {
	istiod := net.JoinHostPort("127.0.0.1", strconv.Itoa(s.istiod.secureGRPC))
	proxy, err := json.Marshal(map[string]any{
		"discoveryAddress": istiod,
		"binaryPath":       s.binaries.Envoy,
		"configPath":       g.path("etc/istio/proxy"),
		"proxyAdminPort":   g.admin,
		"statusPort":       g.agent,
	})
	if err != nil {
		return nil, err
	}
	root := g.path("var/run/secrets/istio/root-cert.pem")
	return []string{
		"POD_NAME=" + g.Pod, "POD_NAMESPACE=" + IstioNamespace, "SERVICE_ACCOUNT=" + gatewayName,
		"INSTANCE_IP=" + g.Address, "ISTIO_META_CLUSTER_ID=Kubernetes", "ISTIO_META_WORKLOAD_NAME=" + gatewayName,
		// istiod is dialled at an address; its certificate carries its Service's name.
		"CA_ADDR=" + istiod, "ISTIOD_SAN=" + istiodName, "XDS_ROOT_CA=" + root, "CA_ROOT_CA=" + root,
		"ENVOY_STATUS_PORT=" + strconv.Itoa(g.status), "ENVOY_PROMETHEUS_PORT=" + strconv.Itoa(g.prometheus),
		"PROXY_CONFIG=" + string(proxy),
	}, nil
}
