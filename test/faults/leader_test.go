package faults

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"sallyport.dev/sallyport/pkg/pki"
)

// A leader that was frozen past its lease, in the middle of a write, wakes up beside
// another one: its write loses, nothing of the other's goes back, and it ends.
func TestALeaderWakesUpAfterItsLeaseHasEnded(t *testing.T) {
	lease := []string{"--leader-election-lease-duration=3s", "--leader-election-renew-deadline=2s", "--leader-election-retry-period=250ms"}
	h := record(t)
	first := startAgent(t, lease...)
	first.settle(t)
	const name = "frozen"
	apply(t, everythingYAML(name))
	done := firstIssuance(2).done
	eventually(t, "the first certificates", func(ctx context.Context) error { return done(ctx, name) })

	// The write of another server certificate is on its way when the leader freezes.
	first.proxy.set(func(r *http.Request) fault {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/secrets/"+clients+"."+name+".mtls") {
			return hold
		}
		return pass
	})
	apply(t, gatewayYAML(clients, name, ", mtls.sallyport.dev/authorities: "+name+", mtls.sallyport.dev/key-algorithm: ECDSA-P384"))
	eventually(t, "the write that is kept back", func(context.Context) error {
		if first.proxy.count(hold) == 0 {
			return errors.New("none yet")
		}
		return nil
	})
	if err := first.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	startAgent(t, lease...)
	another := func(ctx context.Context) error {
		pair, err := storedPair(ctx, clients, name)
		if err == nil && pair.Key().Algorithm() != pki.ECDSAP384 {
			err = fmt.Errorf("the key is %s", pair.Key().Algorithm())
		}
		return errors.Join(err, done(ctx, name))
	}
	eventually(t, "the other agent's work", another)
	theirs, err := storedPair(t.Context(), clients, name)
	if err != nil {
		t.Fatal(err)
	}

	close(first.proxy.release)
	if err := first.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the one that woke up", func(context.Context) error {
		select {
		case <-first.Done():
			return nil
		default:
			return errors.New("it goes on")
		}
	})
	eventually(t, "the answer to the write that was kept back", func(context.Context) error {
		first.proxy.mu.Lock()
		defer first.proxy.mu.Unlock()
		if len(first.proxy.answered) == 0 {
			return errors.New("none yet")
		}
		if status := first.proxy.answered[0]; status != http.StatusConflict {
			t.Errorf("the write that was kept back was answered with %d, expected %d", status, http.StatusConflict)
		}
		return nil
	})
	if err := another(t.Context()); err != nil {
		t.Error(err)
	}
	stored, err := storedPair(t.Context(), clients, name)
	if err != nil || stored.Leaf().Serial() != theirs.Leaf().Serial() {
		t.Errorf("stored is serial %s, the other agent wrote %s: %v", stored.Leaf().Serial(), theirs.Leaf().Serial(), err)
	}
	if held := h.of(serverSecret(clients, name)); len(held) != 2 {
		t.Errorf("the Secret held the certificates %v, expected the first and the other agent's", held)
	}
	h.check(t)
}
