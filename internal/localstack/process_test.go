package localstack

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The variable makes the test binary the victim of TestChildrenDieWithAKilledParent.
const victimDirectory = "LOCALSTACK_TEST_VICTIM"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDirectory); dir != "" {
		os.Exit(victim(dir))
	}
	os.Exit(m.Run())
}

// family is a process with a child of its own that ignores polite signals, as an Envoy
// below a dead pilot-agent does.
func family(dir string) Command {
	return Command{
		Name: "family", Binary: "/bin/sh", Directory: dir,
		Args: []string{"-c", `sh -c 'trap "" TERM; echo child $$; while :; do sleep 0.1; done' & wait`},
	}
}

func victim(dir string) int {
	dog, err := startWatchdog()
	if err != nil {
		return 1
	}
	process := newProcess(family(dir), dir, dog)
	if err := process.Start(); err != nil {
		return 1
	}
	fmt.Println(process.PID())
	select {}
}

func TestChildrenDieWithAKilledParent(t *testing.T) {
	dir := t.TempDir()
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), victimDirectory+"="+dir)
	output, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	group := strings.TrimSpace(line)
	eventually(t, "the child runs", func() bool { return members(t, group) >= 2 })
	if err := parent.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	eventually(t, "the group is gone", func() bool { return members(t, group) == 0 })
}

func start(t *testing.T, c Command) *Process {
	t.Helper()
	dog, err := startWatchdog()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dog.close)
	process := newProcess(c, t.TempDir(), dog)
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	return process
}

func TestStopTakesTheWholeFamily(t *testing.T) {
	process := start(t, family(t.TempDir()))
	group := fmt.Sprint(process.PID())
	eventually(t, "the child runs", func() bool { return members(t, group) >= 2 })
	if err := process.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the group is gone", func() bool { return members(t, group) == 0 })
	if err := process.Stop(t.Context()); err != nil {
		t.Errorf("stopping again: %v", err)
	}
}

func TestRestartIsANewRun(t *testing.T) {
	process := start(t, Command{Name: "sleeper", Binary: "/bin/sh", Args: []string{"-c", "echo up; exec sleep 60"}})
	first := process.PID()
	eventually(t, "the first run is up", func() bool { return tail(process.Log(), tailLines) == "up" })
	if err := process.Start(); err == nil {
		t.Error("a running process was started again")
	}
	if err := process.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if process.PID() == first || process.Err() != nil {
		t.Errorf("after the restart: pid %d (before %d), error %v", process.PID(), first, process.Err())
	}
	eventually(t, "both runs are in the log", func() bool { return tail(process.Log(), tailLines) == "up\nup" })
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
}

func TestAnEndedProcessSaysWhy(t *testing.T) {
	process := start(t, Command{Name: "broken", Binary: "/bin/sh", Args: []string{"-c", "echo no such flag; exit 3"}})
	<-process.Done()
	err := process.Err()
	if err == nil || !strings.Contains(err.Error(), "broken ended: exit status 3") || !strings.Contains(err.Error(), "no such flag") {
		t.Errorf("error %v, want the exit status and the end of the log", err)
	}
}

func TestTheShellsEnvironmentStaysOut(t *testing.T) {
	t.Setenv("KUBECONFIG", "/somebody/elses")
	process := start(t, Command{Name: "env", Binary: "/usr/bin/env", Env: []string{"GIVEN=1"}})
	<-process.Done()
	log := tail(process.Log(), 100)
	if strings.Contains(log, "KUBECONFIG") || !strings.Contains(log, "GIVEN=1") || !strings.Contains(log, "PATH=") {
		t.Errorf("environment:\n%s", log)
	}
}

func TestStopScriptSparesStrangers(t *testing.T) {
	process := start(t, Command{Name: "sleeper", Binary: "/bin/sleep", Args: []string{"60"}})
	stranger := start(t, Command{Name: "stranger", Binary: "/bin/sleep", Args: []string{"60"}})
	stranger.command.Binary = "/opt/program" // what the script believes to be there
	path := filepath.Join(t.TempDir(), "stop")
	write(t, path, stopScript([]*Process{process, stranger}, t.TempDir(), false))
	if out, err := exec.CommandContext(t.Context(), "/bin/sh", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	eventually(t, "the process ends", func() bool { return process.Err() != nil })
	if err := stranger.Err(); err != nil {
		t.Errorf("a process that is another program was ended: %v", err)
	}
}

// members counts the living processes of a group.
func members(t *testing.T, group string) int {
	t.Helper()
	out, err := exec.Command("ps", "-A", "-o", "pgid=,stat=").Output()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) == 2 && fields[0] == group && !strings.HasPrefix(fields[1], "Z") {
			n++
		}
	}
	return n
}

func eventually(t *testing.T, what string, ready func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !ready() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}
