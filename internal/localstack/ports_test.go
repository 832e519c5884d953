package localstack

import (
	"net"
	"slices"
	"strconv"
	"testing"
)

func TestPortsDiffer(t *testing.T) {
	directory := t.TempDir()
	one, other := &ports{directory: directory}, &ports{directory: directory}
	defer one.release()
	defer other.release()
	var taken []int
	for range 50 {
		for _, p := range []*ports{one, other} {
			port, err := p.take()
			if err != nil {
				t.Fatal(err)
			}
			if slices.Contains(taken, port) {
				t.Fatalf("port %d was handed out twice", port)
			}
			if port < lowestPort || port > highestPort {
				t.Errorf("port %d is out of the range %d to %d", port, lowestPort, highestPort)
			}
			taken = append(taken, port)
		}
	}
}

func TestAPortInUseIsNotFree(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if free(port) {
		t.Errorf("port %d is free while somebody listens on it", port)
	}
	listener.Close()
	if !free(port) {
		t.Errorf("port %d is not free although nobody listens on it", port)
	}
}

func TestAReleasedPortIsReservedAnew(t *testing.T) {
	directory := t.TempDir()
	first := &ports{directory: directory}
	port, err := first.take()
	if err != nil {
		t.Fatal(err)
	}
	lock := directory + "/" + strconv.Itoa(port)
	if _, err := lockFile(lock, false); err == nil {
		t.Error("a port in use can be reserved again")
	}
	first.release()
	again, err := lockFile(lock, false)
	if err != nil {
		t.Fatalf("a released port cannot be reserved: %v", err)
	}
	again.release()
}
