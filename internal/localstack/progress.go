package localstack

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// How often a running step says how long it has taken: on a terminal the line is
// rewritten in place; in a log each report is a line, so it reports more seldom.
const (
	terminalInterval = time.Second
	logInterval      = 15 * time.Second
)

// progress writes what is being done and for how long. The zero writer is silent.
type progress struct {
	out      io.Writer
	clock    clock.WithTicker
	terminal bool

	mu sync.Mutex
}

func newProgress(out io.Writer) *progress {
	if out == nil {
		out = io.Discard
	}
	return &progress{out: out, clock: clock.RealClock{}, terminal: isTerminal(out)}
}

func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// step reports a step until the function it returns is called with the outcome.
func (p *progress) step(what string) (done func(error)) {
	started := p.clock.Now()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		p.tick(what, started, stop)
	}()
	return func(err error) {
		close(stop)
		<-stopped
		outcome := "done"
		if err != nil {
			outcome = "failed"
		}
		p.report(what, started, outcome, "\n")
	}
}

func (p *progress) tick(what string, started time.Time, stop <-chan struct{}) {
	interval, end := logInterval, "\n"
	if p.terminal {
		interval, end = terminalInterval, ""
	}
	p.report(what, started, "", end)
	ticker := p.clock.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C():
			p.report(what, started, "", end)
		}
	}
}

func (p *progress) report(what string, started time.Time, outcome, end string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	start := ""
	if p.terminal {
		// Carriage return and "erase to the end of the line": the line is rewritten.
		start = "\r\x1b[K"
	}
	elapsed := ""
	if spent := p.clock.Since(started).Round(100 * time.Millisecond); spent > 0 || outcome != "" {
		elapsed = " " + spent.String()
	}
	if outcome != "" {
		outcome = " " + outcome
	}
	fmt.Fprintf(p.out, "%s%s ...%s%s%s", start, what, elapsed, outcome, end)
}
