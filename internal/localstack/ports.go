package localstack

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// Ports come from a range below every system's ephemeral one (Linux starts at 32768,
// macOS at 49152). A port the kernel hands out for ":0" is free now, but any outgoing
// connection may take it before the server that is to listen on it has started.
const (
	lowestPort  = 20000
	highestPort = 31999
	// portAttempts is how many taken ports in a row mean that something is wrong.
	portAttempts = 1000
)

// ports hands out loopback ports that no other stack of this user uses.
type ports struct {
	directory string

	mu   sync.Mutex
	held []*fileLock
}

// newPorts reserves in a directory that all stacks on the machine share: a lock per
// port is what keeps two stacks apart between choosing a port and listening on it.
func newPorts() *ports {
	return &ports{directory: filepath.Join(os.TempDir(), "sallyport-ports-"+strconv.Itoa(os.Getuid()))}
}

// take answers with a free port and keeps it reserved until release.
func (p *ports) take() (int, error) {
	for range portAttempts {
		port := lowestPort + rand.IntN(highestPort-lowestPort+1)
		lock, err := lockFile(filepath.Join(p.directory, strconv.Itoa(port)), false)
		if errors.Is(err, errLocked) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("reserving a port: %w", err)
		}
		if !free(port) {
			lock.release()
			continue
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.held = append(p.held, lock)
		return port, nil
	}
	return 0, fmt.Errorf("reserving a port: %d ports between %d and %d were taken", portAttempts, lowestPort, highestPort)
}

// takeAll fills several ports at once.
func (p *ports) takeAll(targets ...*int) error {
	for _, target := range targets {
		port, err := p.take()
		if err != nil {
			return err
		}
		*target = port
	}
	return nil
}

// release gives all ports back.
func (p *ports) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, lock := range p.held {
		lock.release()
	}
	p.held = nil
}

// free tries every address, because Envoy listens on all of them.
func free(port int) bool {
	listener, err := net.Listen("tcp4", net.JoinHostPort("", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return listener.Close() == nil
}
