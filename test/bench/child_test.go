package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
)

// childRole names what this binary is when a benchmark starts it again, so that only the
// processor time of what is measured is counted. childMaterial is the file with what it
// needs.
const (
	childRole     = "SALLYPORT_BENCH_CHILD"
	childMaterial = "SALLYPORT_BENCH_MATERIAL"
)

// roles are what a child may be. Each lives until its input ends, and answers a line
// with a line.
func roles() map[string]func(material, io.Reader, io.Writer) error {
	return map[string]func(material, io.Reader, io.Writer) error{
		"target": serveTarget, "prober": serveProber, "prover": serveProver,
	}
}

// runChild is the whole of a child; it returns the exit code.
func runChild(role string) int {
	m, err := readMaterial(os.Getenv(childMaterial))
	if err == nil {
		err = roles()[role](m, os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", role, err)
		return 1
	}
	return 0
}

// child is a process beside the benchmark's own.
type child struct {
	command *exec.Cmd
	input   io.WriteCloser
	output  *bufio.Reader
}

// startChild starts this binary in a role. It ends with the benchmark.
func startChild(b *testing.B, role string, m material) *child {
	b.Helper()
	file := b.TempDir() + "/material"
	content, err := json.Marshal(m)
	if err == nil {
		err = os.WriteFile(file, content, 0o600)
	}
	if err != nil {
		b.Fatal(err)
	}
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), childRole+"="+role, childMaterial+"="+file)
	return started(b, command)
}

// started starts a command that ends with its input.
func started(b *testing.B, command *exec.Cmd) *child {
	b.Helper()
	command.Stderr = os.Stderr
	input, inputErr := command.StdinPipe()
	output, outputErr := command.StdoutPipe()
	for _, err := range []error{inputErr, outputErr} {
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		input.Close()
		_ = command.Wait()
	})
	return &child{command: command, input: input, output: bufio.NewReader(output)}
}

// hear is the next line that the child says.
func (c *child) hear(b *testing.B) string {
	b.Helper()
	line, err := c.output.ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return line[:len(line)-1]
}

// ask says a line and hears the answer.
func (c *child) ask(b *testing.B, line string) string {
	b.Helper()
	if _, err := io.WriteString(c.input, line+"\n"); err != nil {
		b.Fatal(err)
	}
	return c.hear(b)
}

// answer answers each line of the input until it ends.
func answer(input io.Reader, output io.Writer, to func(line string) (string, error)) error {
	lines := bufio.NewScanner(input)
	for lines.Scan() {
		text, err := to(lines.Text())
		if err != nil {
			return err
		}
		if _, err := io.WriteString(output, text+"\n"); err != nil {
			return err
		}
	}
	return lines.Err()
}
