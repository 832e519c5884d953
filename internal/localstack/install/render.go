package install

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"sallyport.dev/sallyport/internal/localstack"
)

// release is the name the chart is rendered under; kubeVersion what its conditions
// see, the version of the local stack's API server.
const (
	release     = "sallyport"
	kubeVersion = "1.37.2"
)

// Render answers with the objects of the chart in a directory, in the order in which
// Helm would create them. Values the chart's schema refuses are an error that carries
// Helm's reasons. The first call builds the helm command, which takes about a minute;
// a caller that wants to show progress calls localstack.Helm before.
func Render(ctx context.Context, chartDir string, values map[string]any, namespace string) ([]*unstructured.Unstructured, error) {
	manifest, err := Manifest(ctx, chartDir, values, namespace)
	if err != nil {
		return nil, err
	}
	objects, err := localstack.ParseYAML(manifest)
	if err != nil {
		return nil, fmt.Errorf("rendering chart %q: %w", chartDir, err)
	}
	return objects, nil
}

// Manifest answers with the same as Render, as the YAML that Helm prints.
func Manifest(ctx context.Context, chartDir string, values map[string]any, namespace string) ([]byte, error) {
	helm, err := localstack.Helm(ctx, nil)
	if err != nil {
		return nil, err
	}
	home, err := os.MkdirTemp("", "sallyport-helm-")
	if err != nil {
		return nil, fmt.Errorf("rendering chart %q: %w", chartDir, err)
	}
	defer os.RemoveAll(home)
	encoded, err := yaml.Marshal(values)
	if err != nil {
		return nil, fmt.Errorf("rendering chart %q: writing its values: %w", chartDir, err)
	}
	command := exec.CommandContext(ctx, helm, "template", release, chartDir,
		"--namespace", namespace, "--kube-version", kubeVersion, "--values", "-")
	command.Env = isolated(home)
	command.Stdin = bytes.NewReader(encoded)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("rendering chart %q: %w\n%s", chartDir, err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// isolated keeps the user's Helm plugins, caches and clusters out of the rendering:
// it depends on the chart and the values alone.
func isolated(home string) []string {
	env := []string{"HOME=" + home, "KUBECONFIG=" + filepath.Join(home, "kubeconfig")}
	for _, kind := range []string{"CACHE", "CONFIG", "DATA"} {
		env = append(env, "HELM_"+kind+"_HOME="+filepath.Join(home, strings.ToLower(kind)))
	}
	return env
}
