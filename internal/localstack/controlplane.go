package localstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Deadlines are far above what a machine needs (etcd 0.2 s, the API server 3 s on two
// idle cores): tests run while compilers do.
const (
	apiServerLimit = 2 * time.Minute
	fileMode       = 0o600
	// issuer of ServiceAccount tokens and their default audience.
	issuer = "https://kubernetes.default.svc"
	// istioAudience is what istiod asks of the token of a gateway.
	istioAudience = "istio-ca"
)

// auditPolicy logs one line per finished request, without bodies: enough to count what
// a component asks of the API server. Health checks would only bury them.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted, Panic]
rules:
- level: None
  nonResourceURLs: ["/healthz*", "/livez*", "/readyz*"]
- level: Metadata
`

// startControlPlane starts etcd and kube-apiserver and fills in the administrator's
// configuration. The API server waits for etcd by itself.
func (s *Stack) startControlPlane(ctx context.Context) error {
	var client, peer, secure int
	if err := s.ports.takeAll(&client, &peer, &secure); err != nil {
		return err
	}
	etcdURL := loopbackURL("http", client)
	etcd, err := s.run(Command{Name: nameEtcd, Binary: s.binaries.Etcd, Args: etcdArguments(s.path("etcd"), etcdURL, loopbackURL("http", peer))})
	if err != nil {
		return err
	}
	credentialsDir := s.path("credentials")
	if err := os.Mkdir(credentialsDir, 0o700); err != nil {
		return err
	}
	made, err := newCredentials(credentialsDir, s.clock.Now())
	if err != nil {
		return err
	}
	policy := filepath.Join(credentialsDir, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), fileMode); err != nil {
		return err
	}
	apiServer, err := s.run(Command{
		Name:   nameAPIServer,
		Binary: s.binaries.KubeAPIServer,
		Args:   append(apiServerArguments(made, etcdURL, secure), "--audit-policy-file="+policy, "--audit-log-path="+s.AuditLog()),
	})
	if err != nil {
		return err
	}
	if err := s.administrate(made, secure); err != nil {
		return err
	}
	if err := s.apiServerReady(ctx, apiServer); err != nil {
		return errors.Join(err, etcd.Err())
	}
	return nil
}

func etcdArguments(data, client, peer string) []string {
	return []string{
		"--name=local", "--data-dir=" + data,
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=local=" + peer,
		// Nothing of a stack is meant to survive a power cut.
		"--unsafe-no-fsync", "--log-level=warn",
	}
}

func apiServerArguments(c credentials, etcd string, port int) []string {
	return []string{
		"--etcd-servers=" + etcd,
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port=" + strconv.Itoa(port),
		"--tls-cert-file=" + c.servingCertificate, "--tls-private-key-file=" + c.servingKey,
		"--client-ca-file=" + c.caFile,
		"--authorization-mode=RBAC",
		// No controller makes ServiceAccounts and their tokens for pods here.
		"--disable-admission-plugins=ServiceAccount",
		"--service-account-issuer=" + issuer, "--api-audiences=" + issuer + "," + istioAudience,
		"--service-account-key-file=" + c.serviceAccountKey, "--service-account-signing-key-file=" + c.serviceAccountKey,
		"--service-cluster-ip-range=10.0.0.0/24",
		// Endpoints refuse loopback addresses, and nobody asks for the kubernetes Service.
		"--endpoint-reconciler-type=none",
		"--allow-privileged=true",
		"--shutdown-delay-duration=0s",
	}
}

// administrate makes the administrator's client and writes the kubeconfig.
func (s *Stack) administrate(c credentials, port int) error {
	s.config = &rest.Config{
		Host: loopbackURL("https", port),
		TLSClientConfig: rest.TLSClientConfig{
			CAData: c.ca, CertData: c.adminCertificate, KeyData: c.adminKey,
		},
		// Tests are allowed to be faster than the 5 requests a second of the default.
		QPS: 1000, Burst: 2000,
	}
	if err := s.connect(); err != nil {
		return fmt.Errorf("making a client of the API server: %w", err)
	}
	user := &clientcmdapi.AuthInfo{ClientCertificateData: c.adminCertificate, ClientKeyData: c.adminKey}
	return writeKubeconfig(s.Kubeconfig(), s.config, user)
}

// connect makes the administrator's clients; none of them asks anything yet.
func (s *Stack) connect() (err error) {
	if s.kube, err = kubernetes.NewForConfig(s.config); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), apiextensionsv1.AddToScheme(scheme)); err != nil {
		return err
	}
	// A logger of its own: without one the client complains, half a minute later and with
	// a stack trace, that the process has set none.
	s.client, err = client.New(s.config, client.Options{Scheme: scheme, Log: klog.Background()})
	return err
}

func (s *Stack) apiServerReady(ctx context.Context, p *Process) error {
	return until(ctx, s.clock, apiServerLimit, "kube-apiserver to be ready", p, func(ctx context.Context) error {
		return s.kube.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// writeKubeconfig writes a kubeconfig with one user for the API server of a config.
func writeKubeconfig(path string, config *rest.Config, user *clientcmdapi.AuthInfo) error {
	const name = "sallyport"
	err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{name: {Server: config.Host, CertificateAuthorityData: config.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: user},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	}, path)
	if err != nil {
		return fmt.Errorf("writing %q: %w", path, err)
	}
	return nil
}

func loopbackURL(scheme string, port int) string {
	return scheme + "://127.0.0.1:" + strconv.Itoa(port)
}
