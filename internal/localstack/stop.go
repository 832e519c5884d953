package localstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// stopWith stops the stack when the context ends.
func (s *Stack) stopWith(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Nobody waits for this answer; who calls Stop as well waits until it is done.
	s.unwatch = context.AfterFunc(ctx, func() { _ = s.Stop(context.Background()) })
}

// keepDirectory makes a temporary directory outlive the stack.
func (s *Stack) keepDirectory() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.temporary = false
}

// Stop ends everything: first what Run started, politely and in reverse order, then the
// servers, whose data goes anyway. When it returns no process is left. Stopping again,
// or after Detach, does nothing.
func (s *Stack) Stop(ctx context.Context) error {
	var err error
	s.stop.Do(func() { err = s.stopAll(ctx) })
	if err != nil {
		return fmt.Errorf("stopping the stack: %w", err)
	}
	return nil
}

func (s *Stack) stopAll(ctx context.Context) error {
	processes, temporary := s.end()
	var errs []error
	for _, p := range slices.Backward(processes) {
		if p.guest {
			errs = append(errs, p.Stop(ctx))
		}
	}
	var group errgroup.Group
	for _, p := range processes {
		switch {
		case p.guest:
		case p.command.Binary == s.binaries.PilotAgent:
			// Politely, so that it collects its Envoy, and none is left to an init
			// process that a container may not have.
			group.Go(func() error { return p.Stop(ctx) })
		default:
			group.Go(p.Kill)
		}
	}
	errs = append(errs, group.Wait())
	s.watchdog.close()
	s.ports.release()
	if temporary {
		errs = append(errs, os.RemoveAll(s.directory))
	}
	return errors.Join(errs...)
}

// end marks the stack as over: nothing starts any more.
func (s *Stack) end() (processes []*Process, temporary bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.unwatch()
	return slices.Clone(s.processes), s.temporary
}

// Detach leaves everything running when this process ends, and answers with the path of
// a script that stops it. Nothing supervises the processes from then on. A stack that
// has stopped cannot be detached.
func (s *Stack) Detach() (script string, err error) {
	err = errors.New("it has stopped")
	s.stop.Do(func() { script, err = s.detach() })
	if err != nil {
		return "", fmt.Errorf("leaving the stack running: %w", err)
	}
	return script, nil
}

func (s *Stack) detach() (string, error) {
	processes, temporary := s.end()
	path := s.path("stop")
	if err := os.WriteFile(path, []byte(stopScript(processes, s.directory, temporary)), 0o700); err != nil {
		s.watchdog.close() // it kills them all: nothing could stop them later
		return "", err
	}
	s.watchdog.release()
	s.ports.release()
	return path, nil
}

// stopHead defines what the script calls once per process. It looks at the program
// behind a process id first: after a reboot the id may be somebody else's.
const stopHead = `#!/bin/sh
# Stops the local stack of this directory.
end() {
  case "$(ps -o args= -p "$2" 2>/dev/null)" in
    "$3"*) kill -s "$1" -- "-$2" 2>/dev/null ;;
  esac
}
`

func stopScript(processes []*Process, directory string, temporary bool) string {
	var script strings.Builder
	script.WriteString(stopHead)
	for _, signal := range []string{"TERM", "KILL"} {
		for _, p := range slices.Backward(processes) {
			fmt.Fprintf(&script, "end %s %d %s # %s\n", signal, p.PID(), shellQuote(p.command.Binary), p.Name())
		}
		if signal == "TERM" {
			script.WriteString("sleep 1\n")
		}
	}
	if temporary {
		fmt.Fprintf(&script, "rm -rf %s\n", shellQuote(filepath.Clean(directory)))
	}
	script.WriteString("exit 0\n")
	return script.String()
}

func shellQuote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }
