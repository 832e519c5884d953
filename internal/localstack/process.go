package localstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// stopGrace is how long a process may take to end after it was asked to; etcd and the
// API server need well under a second, pilot-agent ends with its Envoy.
const stopGrace = 3 * time.Second

// Command is a process to run beside the stack's own.
type Command struct {
	// Name tells it apart in log file names and errors; one process per name.
	Name string
	// Binary is the path of the program.
	Binary string
	Args   []string
	// Env is added to a minimal environment (PATH, HOME, TMPDIR): what the developer's
	// shell exports must not decide how a test goes.
	Env []string
	// Directory is its working directory; empty means the stack's.
	Directory string
}

// Process is a supervised child in a session of its own. Its methods may be called
// from any goroutine.
type Process struct {
	command  Command
	log      string
	watchdog *watchdog
	// guest tells what Run started from the stack's own servers.
	guest bool

	mu      sync.Mutex
	running *running
}

// running is one run of a process, from its start to its end.
type running struct {
	pid   int
	ended chan struct{}
	err   error // how it ended; read after ended is closed
}

func newProcess(c Command, directory string, w *watchdog) *Process {
	return &Process{command: c, log: filepath.Join(directory, c.Name+".log"), watchdog: w}
}

// Name is the name it was started under.
func (p *Process) Name() string { return p.command.Name }

// Log is the path of the file its output goes to; a restart appends to it.
func (p *Process) Log() string { return p.log }

// PID is the process id of the current or the last run, and of its process group.
func (p *Process) PID() int {
	if run := p.current(); run != nil {
		return run.pid
	}
	return 0
}

// Done is closed when the current run has ended.
func (p *Process) Done() <-chan struct{} {
	if run := p.current(); run != nil {
		return run.ended
	}
	ended := make(chan struct{})
	close(ended)
	return ended
}

// Err says how the current run ended, with the end of its log; nil while it runs.
func (p *Process) Err() error {
	run := p.current()
	if run == nil {
		return fmt.Errorf("%s was never started", p.command.Name)
	}
	select {
	case <-run.ended:
		return p.failure(run.err)
	default:
		return nil
	}
}

func (p *Process) current() *running {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running
}

func (p *Process) failure(cause error) error {
	if cause == nil {
		cause = errors.New("exit status 0")
	}
	return fmt.Errorf("%s ended: %w\nlast lines of %s:\n%s", p.command.Name, cause, p.log, tail(p.log, tailLines))
}

// Start runs it again after it ended; while it runs that is an error.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running != nil {
		select {
		case <-p.running.ended:
		default:
			return fmt.Errorf("starting %s: it runs already", p.command.Name)
		}
	}
	// Appending, and straight to the file: what the process says survives us.
	log, err := os.OpenFile(p.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("starting %s: %w", p.command.Name, err)
	}
	defer log.Close()
	child := exec.Command(p.command.Binary, p.command.Args...)
	child.Dir = p.command.Directory
	child.Env = append(minimalEnvironment(), p.command.Env...)
	child.Stdout, child.Stderr = log, log
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.command.Name, err)
	}
	run := &running{pid: child.Process.Pid, ended: make(chan struct{})}
	if err := p.watchdog.add(run.pid); err != nil {
		signalGroup(run.pid, syscall.SIGKILL)
		_ = child.Wait()
		return fmt.Errorf("starting %s: the stack has stopped, or its watchdog was killed: %w", p.command.Name, err)
	}
	p.running = run
	go p.reap(child, run)
	return nil
}

// reap waits for the end of a run. What the child started ends with it: nobody
// supervises an Envoy whose pilot-agent is gone.
func (p *Process) reap(child *exec.Cmd, run *running) {
	run.err = child.Wait()
	signalGroup(run.pid, syscall.SIGKILL)
	p.watchdog.remove(run.pid)
	close(run.ended)
}

// Stop asks it to end, waits, and kills it when it takes longer than three seconds or
// the context ends. Stopping what has ended is no error.
func (p *Process) Stop(ctx context.Context) error {
	return p.end(ctx, syscall.SIGTERM)
}

// Kill ends it at once, as a crash would.
func (p *Process) Kill() error {
	return p.end(context.Background(), syscall.SIGKILL)
}

// Restart stops it and starts it again, with the same arguments and log file.
func (p *Process) Restart(ctx context.Context) error {
	if err := p.Stop(ctx); err != nil {
		return err
	}
	return p.Start()
}

// Signal sends a signal to the process and everything it started: SIGSTOP makes a
// stalled replica, of a gateway too, where Envoy is a child of pilot-agent.
func (p *Process) Signal(signal syscall.Signal) error {
	run := p.current()
	if run == nil {
		return fmt.Errorf("signalling %s: it was never started", p.command.Name)
	}
	select {
	case <-run.ended:
		return fmt.Errorf("signalling %s: %w", p.command.Name, os.ErrProcessDone)
	default:
		return syscall.Kill(-run.pid, signal)
	}
}

func (p *Process) end(ctx context.Context, signal syscall.Signal) error {
	run := p.current()
	if run == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	select {
	case <-run.ended:
		return nil
	default:
	}
	// The whole group: Envoy ends at once while its pilot-agent would drain it.
	signalGroup(run.pid, signal)
	select {
	case <-run.ended:
		return nil
	case <-ctx.Done():
	}
	signalGroup(run.pid, syscall.SIGKILL)
	<-run.ended
	return nil
}

// signalGroup reaches a child and everything it started. The error is that nothing is
// left of the group, which is what the caller wants.
func signalGroup(pid int, signal syscall.Signal) {
	_ = syscall.Kill(-pid, signal)
}

// minimalEnvironment is what every child gets.
func minimalEnvironment() []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}
