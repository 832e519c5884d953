package startup

import (
	"fmt"
	"log/slog"
	"net"
	"os"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"sallyport.dev/sallyport/internal/install"
)

// CheckAddress says why an address cannot be listened on, nil if it can. The name
// is the flag's.
func CheckAddress(name, address string) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("%s %q must be <host>:<port>, or :<port> for all interfaces", name, address)
	}
	return nil
}

// Level reads the value of --log-level.
func Level(name string) (slog.Level, error) {
	switch name {
	case "info":
		return slog.LevelInfo, nil
	case "debug":
		return slog.LevelDebug, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("--log-level %q must be info, debug or error", name)
}

// Settings reads the file that --config names.
func Settings(path string) (install.Settings, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return install.Settings{}, fmt.Errorf("reading --config: %w", err)
	}
	settings, err := install.Parse(data)
	if err != nil {
		return install.Settings{}, fmt.Errorf("reading --config %s: %w", path, err)
	}
	return settings, nil
}

// Cluster is the way to the API server: the kubeconfig, or without one the pod's
// own ServiceAccount. The API server's priority and fairness limits what we ask,
// not the client. Answers are not compressed: that costs both ends processor time and
// memory, and the way is short.
func Cluster(kubeconfig, userAgent string) (*rest.Config, error) {
	config, err := connection(kubeconfig)
	if err != nil {
		return nil, err
	}
	if err := askSilentConnections(); err != nil {
		return nil, err
	}
	config.QPS, config.DisableCompression = -1, true
	return rest.AddUserAgent(config, userAgent), nil
}

// askSilentConnections makes a connection that died without a word found after 25
// seconds instead of 45: it carries all watches. client-go takes the times from the
// environment alone (k8s.io/apimachinery, pkg/util/net/http.go); what is set there
// already stays.
func askSilentConnections() error {
	for name, seconds := range map[string]string{"HTTP2_READ_IDLE_TIMEOUT_SECONDS": "15", "HTTP2_PING_TIMEOUT_SECONDS": "10"} {
		if _, set := os.LookupEnv(name); set {
			continue
		}
		if err := os.Setenv(name, seconds); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	return nil
}

func connection(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("finding the API server (not in a cluster? give --kubeconfig): %w", err)
		}
		return config, nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading --kubeconfig: %w", err)
	}
	return config, nil
}
