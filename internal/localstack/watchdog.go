package localstack

import (
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// watchdogScript keeps the list of process groups it is told and, when its input ends,
// kills them all. The input ends when we close it or when we die, be it of a panic, of
// SIGKILL or of the out-of-memory killer. A parent-death signal would not do: it is
// bound to one thread of ours, reaches only the child and not the Envoy below it, and
// Linux alone has it. "release" is how a stack is left running.
// dash knows "--" only after "-s".
const watchdogScript = `
groups=" "
while read -r what group; do
  case $what in
    add) groups="$groups$group " ;;
    remove) groups="${groups%% $group *} ${groups#* $group }" ;;
    release) exit 0 ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
exit 0
`

// watchdog is the shell that outlives us for a moment, to take our children along.
type watchdog struct {
	shell *exec.Cmd

	mu    sync.Mutex
	input io.WriteCloser
}

func startWatchdog() (*watchdog, error) {
	shell := exec.Command("/bin/sh", "-c", watchdogScript)
	// A session of its own: Ctrl-C in our terminal must not end it before us.
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	input, err := shell.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the watchdog: %w", err)
	}
	if err := shell.Start(); err != nil {
		return nil, fmt.Errorf("starting the watchdog: %w", err)
	}
	return &watchdog{shell: shell, input: input}, nil
}

// tell writes one line.
func (w *watchdog) tell(words ...string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := io.WriteString(w.input, strings.Join(words, " ")+"\n")
	return err
}

// add puts a process group on the list. A watchdog that has ended is an error: the
// group would outlive us.
func (w *watchdog) add(group int) error { return w.tell("add", strconv.Itoa(group)) }

// remove takes a group off the list. A watchdog that has ended has no list.
func (w *watchdog) remove(group int) { _ = w.tell("remove", strconv.Itoa(group)) }

// release makes it forget everything and end.
func (w *watchdog) release() {
	_ = w.tell("release")
	w.close()
}

// close ends it; what it still has on its list it kills.
func (w *watchdog) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.input.Close()
	_ = w.shell.Wait()
}
