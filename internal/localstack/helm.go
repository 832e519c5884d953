package localstack

import (
	"context"
	"io"
	"path/filepath"
)

const nameHelm = "helm"

// Helm finds or makes the helm command this repository pins, in the way Build does,
// and answers with its path. No stack needs it to run; installing the chart does.
func Helm(ctx context.Context, out io.Writer) (string, error) {
	b, err := newBuilder(ctx, newProgress(out))
	if err != nil {
		return "", err
	}
	dir, err := b.ensure(ctx, tool{
		name: nameHelm, module: filepath.Join("tools", "helm"), pins: []string{"go.mod", "go.sum"},
		pkg: "helm.sh/helm/v3/cmd/helm", ldflags: stripped, about: "a minute", files: []string{nameHelm},
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, nameHelm), nil
}
