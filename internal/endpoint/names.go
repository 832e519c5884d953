package endpoint

import (
	"context"
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Names are the hosts for which certificates are being issued, or were issued just now: an endpoint holds them once the cache
// shows its status, and until then two Gateways of two namespaces could be issued one for the same host. The zero value is
// ready to use, and safe for concurrent use.
type Names struct {
	mu    sync.Mutex
	taken map[name]takings
	// swept is when those were dropped last that are taken no more.
	swept time.Time
}

// name is a host under an authority.
type name struct {
	authority types.NamespacedName
	host      string
}

// takings are when each endpoint took a name. Several of one namespace may have it.
type takings map[types.NamespacedName]time.Time

// elsewhere is an endpoint of another namespace that has the name still, and until when; false if there is none.
func (t takings) elsewhere(namespace string, now time.Time) (by types.NamespacedName, until time.Time, is bool) {
	for own, at := range t {
		if end := at.Add(takenFor); own.Namespace != namespace && now.Before(end) && end.After(until) {
			by, until, is = own, end, true
		}
	}
	return by, until, is
}

// takenFor is how long a name is taken by whom the cache does not show as its holder: far longer than a cache stays behind. Whoever
// took it and may have been issued a certificate has it no longer than that, however often he asks.
const takenFor = 30 * time.Second

// Refusal is why hosts were not taken.
type Refusal struct {
	// Host is the one that another namespace holds, or took. Empty if none does: the hosts are taken.
	Host, Namespace string
	// Until is when he has it no more unless he was issued a certificate by then; zero if he was.
	Until time.Time
}

// Take takes hosts for an endpoint that is about to be issued a certificate for them. Nothing is taken if another namespace holds
// one of them by now, or took it and the cache does not show yet what came of it.
func (n *Names) Take(ctx context.Context, c client.Reader, authority, own types.NamespacedName, hosts []string, now time.Time) (Refusal, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sweep(now)
	host, namespace, err := HeldElsewhere(ctx, c, authority, own, hosts)
	if err != nil || host != "" {
		return Refusal{Host: host, Namespace: namespace}, err
	}
	for _, h := range hosts {
		if by, until, is := n.taken[name{authority, h}].elsewhere(own.Namespace, now); is {
			return Refusal{Host: h, Namespace: by.Namespace, Until: until}, nil
		}
	}
	if n.taken == nil {
		n.taken = map[name]takings{}
	}
	for _, h := range hosts {
		key := name{authority, h}
		if n.taken[key] == nil {
			n.taken[key] = takings{}
		}
		if at, is := n.taken[key][own]; !is || now.Sub(at) >= takenFor {
			n.taken[key][own] = now
		}
	}
	return Refusal{}, nil
}

// Return gives back hosts for which no certificate was stored after all.
func (n *Names) Return(authority, own types.NamespacedName, hosts []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range hosts {
		delete(n.taken[name{authority, h}], own)
	}
}

// sweep drops what is taken no more, now and then: in an emergency thousands of certificates are issued in a minute.
func (n *Names) sweep(now time.Time) {
	if now.Sub(n.swept) < takenFor {
		return
	}
	n.swept = now
	for key, t := range n.taken {
		maps.DeleteFunc(t, func(_ types.NamespacedName, at time.Time) bool { return now.Sub(at) >= takenFor })
		if len(t) == 0 {
			delete(n.taken, key)
		}
	}
}
