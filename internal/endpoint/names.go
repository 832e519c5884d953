package endpoint

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/caughtup"
)

// Names are the hosts for which certificates are being issued, or were issued just now: an endpoint holds them once the cache
// shows its status, and until then two Gateways of two namespaces could be issued one for the same host. The zero value is
// ready to use, and safe for concurrent use.
type Names struct {
	mu    sync.Mutex
	taken map[name]taking
	// swept is when those were dropped last that are taken no more.
	swept time.Time
}

// name is a host under an authority.
type name struct {
	authority types.NamespacedName
	host      string
}

// taking is by whom a name was taken, and when.
type taking struct {
	namespace string
	at        time.Time
}

// takenFor is how long a name is taken by whom the cache does not show as its holder: far longer than a cache stays behind. Whoever
// took it and was not issued a certificate after all has it no longer than that.
const takenFor = 30 * time.Second

// Take takes hosts for an endpoint that is about to be issued a certificate for them. It is caughtup.ErrBehind, and nothing is
// taken, if another namespace holds one of them by now, or took it and the cache does not show yet what came of it.
func (n *Names) Take(ctx context.Context, c client.Reader, authority, own types.NamespacedName, hosts []string, now time.Time) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sweep(now)
	host, namespace, err := HeldElsewhere(ctx, c, authority, own, hosts)
	if err != nil {
		return err
	}
	for _, h := range hosts {
		if t, is := n.taken[name{authority, h}]; is && host == "" && t.namespace != own.Namespace && now.Sub(t.at) < takenFor {
			host, namespace = h, t.namespace
		}
	}
	if host != "" {
		return fmt.Errorf("host %s was issued to namespace %s under authority %s just now: %w", host, namespace, authority, caughtup.ErrBehind)
	}
	if n.taken == nil {
		n.taken = map[name]taking{}
	}
	for _, h := range hosts {
		n.taken[name{authority, h}] = taking{own.Namespace, now}
	}
	return nil
}

// sweep drops what is taken no more, now and then: in an emergency thousands of certificates are issued in a minute.
func (n *Names) sweep(now time.Time) {
	if now.Sub(n.swept) < takenFor {
		return
	}
	n.swept = now
	for key, t := range n.taken {
		if now.Sub(t.at) >= takenFor {
			delete(n.taken, key)
		}
	}
}
