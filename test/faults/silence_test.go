package faults

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// wire is a TCP forwarder whose connections can go silent: they stay open, and nothing
// comes through any more. No packet tells either end.
type wire struct {
	listener net.Listener
	target   string

	mu     sync.Mutex
	silent chan struct{}
	opened int
}

func newWire(t *testing.T, target string) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: listener, target: u.Host, silent: make(chan struct{})}
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			go w.forward(t.Context(), from)
		}
	}()
	return w
}

func (w *wire) forward(ctx context.Context, from net.Conn) {
	w.mu.Lock()
	silent := w.silent
	w.opened++
	w.mu.Unlock()
	to, err := (&net.Dialer{}).DialContext(ctx, "tcp", w.target)
	if err != nil {
		_ = from.Close()
		return
	}
	context.AfterFunc(ctx, func() { _ = from.Close(); _ = to.Close() })
	pipe := func(to, from net.Conn) {
		buffer := make([]byte, 32<<10)
		for {
			n, err := from.Read(buffer)
			select {
			case <-silent:
				return // whatever comes, ends here; the connections stay open
			default:
			}
			if _, writeErr := to.Write(buffer[:n]); writeErr != nil || errors.Is(err, io.EOF) || err != nil {
				_ = to.Close()
				return
			}
		}
	}
	go pipe(to, from)
	go pipe(from, to)
}

// silence ends all traffic of the connections that there are. New ones work.
func (w *wire) silence() (connections int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.silent)
	w.silent = make(chan struct{})
	connections, w.opened = w.opened, 0
	return connections
}

// A connection to the API server that dies without a word takes the watches with it,
// and nobody hears of it. It is found within half a minute, and what changed meanwhile
// is made good.
func TestTheConnectionDiesWithoutAWord(t *testing.T) {
	h := record(t)
	a := startAgent(t)
	a.settle(t)
	cut := a.wire.silence()
	if cut == 0 {
		t.Fatal("there was no connection to silence")
	}
	began := time.Now()
	s := firstIssuance(2)
	s.act(t, "unheard")
	eventually(t, "the end state, of which no watch told", func(ctx context.Context) error { return s.done(ctx, "unheard") })
	took := time.Since(began)
	if took < time.Second {
		t.Errorf("the end state was there after %s: the watches were not silent", took)
	}
	if took > 60*time.Second {
		t.Errorf("the end state was there after %s, expected half a minute and what a busy machine adds", took)
	}
	h.check(t)
	t.Logf("%d connections were silenced; found and made good in %s", cut, took.Round(time.Millisecond))
}
