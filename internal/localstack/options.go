package localstack

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Options say what kind of stack to start. The zero value builds the binaries and
// starts one gateway in a temporary directory, silently.
type Options struct {
	// Binaries to run; the zero value asks Build.
	Binaries Binaries
	// Replicas is the number of gateways, 1 or 2; 0 means 1.
	Replicas int
	// GatewayAnnotations are those of the gateways' pods, for pilot-agent to read.
	GatewayAnnotations map[string]string
	// ControlPlaneOnly starts etcd and kube-apiserver with Istio's resource definitions,
	// and neither istiod nor a gateway: a second or two, for what is decided there.
	ControlPlaneOnly bool
	// Directory holds data, credentials and logs. It has to be empty or absent. Empty
	// means a temporary one, removed by Stop.
	Directory string
	// KeepLogs keeps the temporary directory when the stack stops.
	KeepLogs bool
	// Progress is told what is being started; nil is silence.
	Progress io.Writer
}

// maxReplicas is what the second loopback address allows for.
const maxReplicas = 2

func (o Options) replicas() (int, error) {
	switch {
	case o.Replicas == 0:
		return 1, nil
	case o.Replicas < 0 || o.Replicas > maxReplicas:
		return 0, fmt.Errorf("starting a stack: %d gateways asked for, 1 or %d are possible", o.Replicas, maxReplicas)
	default:
		return o.Replicas, nil
	}
}

// workDirectory makes the directory; temporary says whether it goes with the stack.
func (o Options) workDirectory() (dir string, temporary bool, err error) {
	if o.Directory == "" {
		dir, err = os.MkdirTemp("", "sallyport-")
		return dir, !o.KeepLogs, err
	}
	dir, err = filepath.Abs(o.Directory)
	if err != nil {
		return "", false, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", false, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", false, err
	}
	if len(entries) > 0 {
		return "", false, fmt.Errorf("directory %q is not empty: another stack may run in it; stop that one and remove it", dir)
	}
	return dir, false, nil
}
