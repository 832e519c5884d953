package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// keptFile appears when the process that is left behind has shown everything.
const keptFile = "kept"

// leaveBehind runs the story in a process of its own session, shows what it prints,
// and returns when the story is told. The process stays: it holds the servers and
// stands in for what a cluster would have.
func leaveBehind(ctx context.Context, out io.Writer) error {
	directory, err := os.MkdirTemp("", "sallyport-demo-")
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(directory, "demo.log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.Command(self, "--kept", directory)
	child.Stdout, child.Stderr = log, log
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	return follow(ctx, out, directory, child, ended)
}

// followEvery is how often the log is looked at.
const followEvery = 50 * time.Millisecond

// follow shows the log until the story is told or the process has ended.
func follow(ctx context.Context, out io.Writer, directory string, child *exec.Cmd, ended <-chan error) error {
	log, err := os.Open(filepath.Join(directory, "demo.log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		_, kept := os.Stat(filepath.Join(directory, keptFile))
		if _, err := io.Copy(out, log); err != nil {
			return err
		}
		if kept == nil {
			return nil
		}
		select {
		case err := <-ended:
			_, _ = io.Copy(out, log)
			return errors.Join(errors.New("the story ended early"), err)
		case <-ctx.Done():
			return fmt.Errorf("interrupted: %w", errors.Join(child.Process.Signal(syscall.SIGTERM), <-ended))
		case <-ticker.C:
		}
	}
}
