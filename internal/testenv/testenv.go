package testenv

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/localstack/kyma"
)

// Environment is a running API server.
type Environment struct {
	// Config reaches it as an administrator.
	Config *rest.Config
	// Scheme has the kinds that the agent's has.
	Scheme *runtime.Scheme

	namespaces atomic.Int64
}

// Run starts an API server, fills the environment in, runs the tests of a package, and
// stops the server. It answers with the exit code; for TestMain.
func Run(m *testing.M, e *Environment) int {
	code, err := run(m, e)
	if err != nil {
		fmt.Fprintf(os.Stderr, "testenv: %v\n", err)
		return 1
	}
	return code
}

func run(m *testing.M, e *Environment) (code int, err error) {
	binaries, err := localstack.Build(context.Background(), os.Stderr)
	if err != nil {
		return 0, err
	}
	assets, err := os.MkdirTemp("", "sallyport-testenv-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(assets)
	for name, path := range map[string]string{"etcd": binaries.Etcd, "kube-apiserver": binaries.KubeAPIServer} {
		if err := os.Symlink(path, filepath.Join(assets, name)); err != nil {
			return 0, err
		}
	}
	if e.Scheme, err = scheme(); err != nil {
		return 0, err
	}
	rules := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.Unmarshal([]byte(kyma.CRD), rules); err != nil {
		return 0, fmt.Errorf("reading the CRD of APIRules: %w", err)
	}
	root, err := localstack.Root()
	if err != nil {
		return 0, err
	}
	server := &envtest.Environment{
		BinaryAssetsDirectory: assets,
		Scheme:                e.Scheme,
		CRDInstallOptions: envtest.CRDInstallOptions{
			Paths: []string{filepath.Join(root, "config", "crd"), binaries.IstioCRDs}, ErrorIfPathMissing: true,
			CRDs: []*apiextensionsv1.CustomResourceDefinition{rules},
		},
	}
	if e.Config, err = server.Start(); err != nil {
		return 0, fmt.Errorf("starting the API server: %w", err)
	}
	defer func() {
		if stopErr := server.Stop(); err == nil {
			err = stopErr
		}
	}()
	return m.Run(), nil
}

func scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Admin is a client that may do everything and reads from the API server.
func (e *Environment) Admin(t testing.TB) client.Client { return e.As(t, e.Config) }

// As is a client with another configuration, such as one that impersonates.
func (e *Environment) As(t testing.TB, config *rest.Config) client.Client {
	t.Helper()
	c, err := client.New(config, client.Options{Scheme: e.Scheme})
	if err != nil {
		t.Fatalf("making a client: %v", err)
	}
	return c
}

// Namespace makes a namespace of a new name.
func (e *Environment) Namespace(t testing.TB, prefix string) *corev1.Namespace {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: prefix + "-" + strconv.FormatInt(e.namespaces.Add(1), 10)}}
	if err := e.Admin(t).Create(t.Context(), namespace); err != nil {
		t.Fatalf("creating a namespace: %v", err)
	}
	return namespace
}
