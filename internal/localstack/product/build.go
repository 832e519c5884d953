package product

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// build compiles both commands; with the race detector where the caller has it.
func build(ctx context.Context, root, directory string) (map[string]string, error) {
	out := filepath.Join(directory, "bin") + string(filepath.Separator)
	args := []string{"build", "-o", out}
	if raceDetector {
		args = append(args, "-race")
	}
	command := exec.CommandContext(ctx, "go", append(args, "./cmd/webhook", "./cmd/agent")...)
	command.Dir = root
	var stderr bytes.Buffer
	command.Stderr = &stderr
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("building webhook and agent: %w\n%s", err, stderr.String())
	}
	return map[string]string{"webhook": out + "webhook", "agent": out + "agent"}, nil
}
