package localstack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	// IstioNamespace is where istiod and the gateways belong, and where the gateways
	// read their Secrets.
	IstioNamespace = "istio-system"
	// TrustDomain is the mesh's; it has nothing to do with Sallyport's own.
	TrustDomain = "cluster.local"

	nameIstiod  = "istiod"
	istiodLimit = 2 * time.Minute
	// istiodName is what istiod's certificate says, whatever address it is dialled at.
	istiodName = "istiod." + IstioNamespace + ".svc"
	// rootConfigMap is where istiod publishes the CA of its own certificates.
	rootConfigMap = "istio-ca-root-cert"
)

// istiodPorts are where istiod listens.
type istiodPorts struct{ monitoring, http, https, grpc, secureGRPC, introspection int }

// meshConfig is Istio's mesh-wide configuration; each gateway logs its requests.
const meshConfig = `trustDomain: %s
accessLogFile: /dev/stdout
defaultConfig:
  discoveryAddress: 127.0.0.1:%d
`

// installCRDs makes Istio's kinds.
func (s *Stack) installCRDs(ctx context.Context) error {
	crds, err := s.istioCRDs()
	if err != nil {
		return err
	}
	// All at once, and created: nothing owns their fields yet, and working out who owns
	// what of a megabyte of schema is what server-side apply would spend its time on.
	group, ctx := errgroup.WithContext(ctx)
	for _, crd := range crds {
		group.Go(func() error {
			if err := s.client.Create(ctx, crd); err != nil {
				return fmt.Errorf("creating %s: %w", identify(crd), err)
			}
			return s.established(ctx, crd.GetName())
		})
	}
	return group.Wait()
}

// readCRDs reads Istio's manifest, which takes half a second.
func readCRDs(path string) ([]*unstructured.Unstructured, error) {
	manifest, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading Istio's resource definitions: %w", err)
	}
	return ParseYAML(manifest)
}

// startIstiod starts istiod and waits until it answers and has published its CA.
func (s *Stack) startIstiod(ctx context.Context) error {
	if err := s.ApplyYAML(ctx, "{apiVersion: v1, kind: Namespace, metadata: {name: "+IstioNamespace+"}}"); err != nil {
		return err
	}
	p := &s.istiod
	if err := s.ports.takeAll(&p.monitoring, &p.http, &p.https, &p.grpc, &p.secureGRPC, &p.introspection); err != nil {
		return err
	}
	directory, mesh := s.path("istiod"), s.path("mesh.yaml")
	if err := os.Mkdir(directory, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(mesh, fmt.Appendf(nil, meshConfig, TrustDomain, p.secureGRPC), fileMode); err != nil {
		return err
	}
	process, err := s.run(Command{
		Name: nameIstiod, Binary: s.binaries.PilotDiscovery, Directory: directory,
		Args: istiodArguments(s.Kubeconfig(), mesh, s.istiod), Env: istiodEnvironment(),
	})
	if err != nil {
		return err
	}
	return until(ctx, s.clock, istiodLimit, "istiod to be ready", process, func(ctx context.Context) error {
		return answers(ctx, loopbackURL("http", p.http)+"/ready")
	})
}

func istiodArguments(kubeconfig, mesh string, p istiodPorts) []string {
	at := func(port int) string { return strings.TrimPrefix(loopbackURL("", port), "://") }
	return []string{
		"discovery", "--kubeconfig", kubeconfig,
		"--meshConfig", mesh, "--networksConfig", os.DevNull, "--domain", TrustDomain,
		"--monitoringAddr", at(p.monitoring), "--httpAddr", at(p.http), "--httpsAddr", at(p.https),
		"--grpcAddr", at(p.grpc), "--secureGRPCAddr", at(p.secureGRPC),
		"--ctrlz_port", fmt.Sprint(p.introspection),
	}
}

func istiodEnvironment() []string {
	return []string{
		"POD_NAME=istiod-0", "POD_NAMESPACE=" + IstioNamespace, "REVISION=default", "CLUSTER_ID=Kubernetes",
		// The Envoy of the wheel is the upstream one, without Istio's own filters.
		"PILOT_ENABLE_METADATA_EXCHANGE=false", "PILOT_ENABLE_ALPN_FILTER=false", "PILOT_ENABLE_TELEMETRY_LABEL=false",
	}
}

// answers asks a loopback URL once and wants 200.
func answers(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := loopbackClient().Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

// loopbackClient has no proxy, whatever HTTP_PROXY says, and keeps no connection open.
func loopbackClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
}
