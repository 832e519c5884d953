package handshakes

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"sallyport.dev/sallyport/internal/ingress"
)

const (
	// concurrent bounds the replicas that are asked at the same time.
	concurrent = 8
	// told is how many times in a window new numbers are told at most. Another state is told at once, mostly.
	told = 144
	// hasty is how many times in a row something is told sooner than that. A replica that answers now and then, or that
	// wants it so, must not have a status written with every look.
	hasty = 4
	// apart is the least time between two rounds: at the start thousands of endpoints come at once.
	apart = time.Second
	// late is how many periods a replica may go unread until what it counted is held for lost when it goes.
	late = 2
)

// Config is what a Watcher needs.
type Config struct {
	// Period is how often each replica is asked; above zero.
	Period time.Duration
	// Window is how long nobody may have come without a certificate until it is told that all have one.
	Window time.Duration
	// Dialable says why an address is not dialled, nil if it is.
	Dialable func(ip string) error
	// Own are the agent's own handshakes at a port of a replica, <namespace>/<pod>.
	Own func(replica string, port uint32) Own
	// Clock is what everything is timed with.
	Clock clock.WithTicker
	// Changed is told of each Gateway of which there is something new to tell. It must not wait.
	Changed func(gateway types.NamespacedName)
}

// Watcher counts the callers of endpoints. It is no state: an agent that begins counts anew. It is safe for concurrent use.
type Watcher struct {
	config Config
	reader *Reader

	mu        sync.Mutex
	endpoints map[types.NamespacedName]*endpoint
	wake      chan struct{}
}

// endpoint is one whose callers are counted.
type endpoint struct {
	gateway  types.NamespacedName
	replicas map[place]ingress.Replica
	tally    *tally
	// told is what is told of it, and since when; hurried is how many times in a row it was told sooner than numbers are.
	told    Use
	toldAt  time.Time
	hurried int
}

// New returns a Watcher that asks nobody until it is started.
func New(c Config) *Watcher {
	return &Watcher{config: c, reader: NewReader(), endpoints: map[types.NamespacedName]*endpoint{}, wake: make(chan struct{}, 1)}
}

// Watch says at which replicas the callers of an endpoint are counted from now on, and what is known of them by now.
// LastWithout is what an agent before this one told of that; zero if it told nothing.
func (w *Watcher) Watch(name, gateway types.NamespacedName, replicas []ingress.Replica, lastWithout, now time.Time) Use {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := make(map[place]ingress.Replica, len(replicas))
	for _, r := range replicas {
		at[place{replica: nameOf(r), port: r.Port}] = r
	}
	places := slices.Collect(maps.Keys(at))
	e := w.endpoints[name]
	if e == nil {
		e = &endpoint{tally: newTally(places, lastWithout, now)}
		w.endpoints[name] = e
		e.tell(e.tally.use(w.config.Window, now), w.every(), now)
		select {
		case w.wake <- struct{}{}:
		default: // it is awake already
		}
	}
	e.gateway, e.replicas = gateway, at
	e.tally.place(places, late*w.config.Period, now)
	if (e.told.State == NoReplicas) != (len(at) == 0) {
		e.tell(e.tally.use(w.config.Window, now), w.every(), now)
	}
	return e.told
}

// Forget drops an endpoint and what is known of it.
func (w *Watcher) Forget(endpoint types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.endpoints, endpoint)
}

// NeedLeaderElection says that the leader alone counts.
func (*Watcher) NeedLeaderElection() bool { return true }

// Start asks all replicas once a period until the context ends.
func (w *Watcher) Start(ctx context.Context) error {
	ticker := w.config.Clock.NewTicker(w.config.Period)
	defer ticker.Stop()
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
			if w.config.Clock.Since(last) < apart {
				continue // the next period is soon enough
			}
		case <-ticker.C():
		}
		w.round(ctx)
		last = w.config.Clock.Now()
	}
}

// answer is what became of asking one replica.
type answer struct {
	own    map[uint32]own
	counts map[uint32]Count
	err    error
}

// Own are handshakes of the agent itself: how many it has completed, and how many are underway, which may have been completed
// as the replica sees it; and how many of them are without a certificate.
type Own struct {
	Completed         uint64
	Underway          int
	Anonymous         uint64
	AnonymousUnderway int
}

// own is how many handshakes the agent has completed, and whether none may have been completed that is not among them.
type own struct {
	completed uint64
	exact     bool
	// anonymous are those without a certificate, and settled is exact of them alone.
	anonymous uint64
	settled   bool
}

// ownOf is what was the agent's own while a replica was asked.
func ownOf(before, after Own) own {
	return own{
		completed: before.Completed, exact: before.Underway == 0 && after.Underway == 0 && before.Completed == after.Completed,
		anonymous: before.Anonymous, settled: before.AnonymousUnderway == 0 && after.AnonymousUnderway == 0 && before.Anonymous == after.Anonymous,
	}
}

// round asks each replica once.
func (w *Watcher) round(ctx context.Context) {
	wanted, ports := w.wanted()
	var mu sync.Mutex
	answers := make(map[string]answer, len(wanted))
	var group errgroup.Group
	group.SetLimit(concurrent)
	for name, replica := range wanted {
		group.Go(func() error {
			a := w.ask(ctx, name, replica, ports[name])
			mu.Lock()
			defer mu.Unlock()
			answers[name] = a
			return nil
		})
	}
	_ = group.Wait() // no answer is an answer
	if ctx.Err() != nil {
		return // what was interrupted says nothing
	}
	for _, gateway := range w.take(answers, w.config.Clock.Now()) {
		w.config.Changed(gateway)
	}
}

// wanted are the replicas to ask, and of which ports, by their names.
func (w *Watcher) wanted() (replicas map[string]ingress.Replica, ports map[string][]uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	replicas, ports = map[string]ingress.Replica{}, map[string][]uint32{}
	for _, e := range w.endpoints {
		for p, r := range e.replicas {
			replicas[p.replica] = r
			if !slices.Contains(ports[p.replica], p.port) {
				ports[p.replica] = append(ports[p.replica], p.port)
			}
		}
	}
	return replicas, ports
}

// ask asks one replica.
func (w *Watcher) ask(ctx context.Context, name string, r ingress.Replica, ports []uint32) answer {
	if err := w.config.Dialable(r.IP); err != nil {
		return answer{err: err}
	}
	before := map[uint32]Own{}
	for _, port := range ports {
		before[port] = w.config.Own(name, port)
	}
	a := answer{own: map[uint32]own{}}
	a.counts, a.err = w.reader.Read(ctx, r.IP, r.Statistics, w.config.Clock.Now())
	for port, earlier := range before {
		a.own[port] = ownOf(earlier, w.config.Own(name, port))
	}
	return a
}

// take makes what was read count, and returns the Gateways of which there is something new to tell.
func (w *Watcher) take(answers map[string]answer, now time.Time) []types.NamespacedName {
	w.mu.Lock()
	defer w.mu.Unlock()
	var changed []types.NamespacedName
	for _, e := range w.endpoints {
		for p := range e.replicas {
			a, asked := answers[p.replica]
			count, counted := a.counts[p.port]
			switch {
			case !asked: // it came in the meantime
			case a.err != nil:
				e.tally.fail(p, a.err)
			case !counted:
				e.tally.fail(p, errLeftOut)
			default:
				e.tally.absorb(p, count, a.own[p.port], late*w.config.Period, now)
			}
		}
		if use := e.tally.use(w.config.Window, now); e.news(use, w.every(), now) {
			e.tell(use, w.every(), now)
			changed = append(changed, e.gateway)
		}
	}
	return changed
}

// news reports whether there is something new to tell: another state, or, now and then, something else. That somebody came
// without a certificate, and that it is no more known that all have one, waits for nothing.
func (e *endpoint) news(use Use, every time.Duration, now time.Time) bool {
	switch {
	case use == e.told:
		return false
	case now.Sub(e.toldAt) >= every:
		return true
	case use.State == e.told.State:
		return false
	}
	return use.State == SomeWithout || e.told.State == AllWith || e.hurried < hasty
}

func (e *endpoint) tell(use Use, every time.Duration, now time.Time) {
	if e.hurried++; now.Sub(e.toldAt) >= every {
		e.hurried = 0
	}
	e.told, e.toldAt = use, now
}

// every is how often new numbers are told.
func (w *Watcher) every() time.Duration { return w.config.Window / told }

func nameOf(r ingress.Replica) string { return r.Ingress.Namespace + "/" + r.Pod }

func isLeftOut(err error) bool { return errors.Is(err, errLeftOut) }
