package admission

import (
	"fmt"
	"strings"
	"sync"

	"github.com/go-logr/logr"
)

// capturedLog keeps every line it is given, of any level.
type capturedLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *capturedLog) add(message string, values []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprint(message, values))
}

func (l *capturedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

func (*capturedLog) Init(logr.RuntimeInfo)                   {}
func (*capturedLog) Enabled(int) bool                        { return true }
func (l *capturedLog) Info(_ int, message string, kv ...any) { l.add(message, kv) }
func (l *capturedLog) Error(err error, message string, kv ...any) {
	l.add(message, append([]any{err}, kv...))
}
func (l *capturedLog) WithValues(...any) logr.LogSink { return l }
func (l *capturedLog) WithName(string) logr.LogSink   { return l }
