package proving

import (
	"context"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"sallyport.dev/sallyport/internal/probe"
)

const (
	// concurrent bounds the targets that are tried at the same time.
	concurrent = 32
	// handshakesPerSecond bounds how much trying costs: one takes about a millisecond of a
	// processor with all that belongs to it. Where there are more targets than it suffices for,
	// each is tried less thoroughly, and then less often (lean.go).
	handshakesPerSecond = 140
)

// Config is what a Prover needs.
type Config struct {
	// Period is how often each target is tried, and how long a change may take to reach
	// the gateways; above zero.
	Period time.Duration
	// TrustDomain of the identities handshakes are tried with.
	TrustDomain string
	// Addresses says what is never dialled.
	Addresses Addresses
	// Clock is what everything is timed with.
	Clock clock.WithTicker
	// Changed is told of each Gateway whose findings changed. It must not wait.
	Changed func(gateway types.NamespacedName)
	// Tried is told of each handshake: what it met and how long it took. It must not wait.
	Tried func(probe.Outcome, time.Duration)
}

// Prover tries what Subjects expect, and keeps the last findings. It is safe for
// concurrent use.
type Prover struct {
	config     Config
	identities *identities
	seed       maphash.Seed
	wake       chan struct{}

	mu sync.Mutex
	// subjects of each endpoint, that of the authority that issues first.
	subjects map[types.NamespacedName][]*subject
	queue    queue
	// targets is how many there are.
	targets int
	// gates are what went through each port of a replica, whoever is there now; they are looked through when there are
	// sweepAt of them.
	gates   map[gate]*passed
	sweepAt int
}

// subject is a Subject with its targets.
type subject struct {
	wanted  Subject
	targets map[place]*target
}

// New returns a Prover that tries nothing until it is started.
func New(c Config) *Prover {
	return &Prover{
		config: c, identities: newIdentities(c.TrustDomain), seed: maphash.MakeSeed(),
		wake: make(chan struct{}, 1), subjects: map[types.NamespacedName][]*subject{}, gates: map[gate]*passed{}, sweepAt: fewGates,
	}
}

// Prove says what is to be tried from now on with callers of the authority that issues, and of further ones of the same
// endpoint, and what is known by now.
func (p *Prover) Prove(wanted Subject, now time.Time, further ...Subject) Proof {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.prove(append([]Subject{wanted}, further...), now)
}

func (p *Prover) prove(wanted []Subject, now time.Time) Proof {
	endpoint := wanted[0].Endpoint
	before, subjects := p.subjects[endpoint], make([]*subject, len(wanted))
	for i := range wanted {
		wanted[i].Further = i > 0
		w := wanted[i]
		at := slices.IndexFunc(before, func(s *subject) bool { return s.wanted.Authority == w.Authority })
		if at >= 0 {
			subjects[i] = before[at]
		} else {
			subjects[i] = &subject{wanted: w, targets: map[place]*target{}}
		}
	}
	for _, s := range before {
		if !slices.Contains(subjects, s) {
			p.drop(s)
		}
	}
	p.subjects[endpoint] = subjects
	for i, w := range wanted {
		p.want(subjects[i], w, now)
	}
	return proofOf(subjects)
}

// want has a Subject tried in place of the one before.
func (p *Prover) want(s *subject, wanted Subject, now time.Time) {
	p.targets -= len(s.targets)
	sooner := s.update(wanted, now, p.every(), p.seed)
	p.targets += len(s.targets)
	for _, t := range sooner {
		p.queue.push(t)
	}
	if len(sooner) > 0 {
		p.stir()
	}
}

// drop has a Subject tried no more.
func (p *Prover) drop(s *subject) {
	for _, t := range s.targets {
		t.gone = true
	}
	p.targets -= len(s.targets)
}

// Last is what is known by now of an endpoint of which the same is expected as before;
// false if there is nothing to try. Servers, and what was seen, are as in a Subject.
func (p *Prover) Last(endpoint types.NamespacedName, servers []Server, seen string, now time.Time) (Proof, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	subjects := p.subjects[endpoint]
	if len(subjects) == 0 {
		return Proof{}, false
	}
	same := make([]Subject, len(subjects))
	for i, s := range subjects {
		same[i] = s.wanted
		same[i].Servers, same[i].Seen, same[i].Changed = servers, seen, false
	}
	return p.prove(same, now), true
}

// Forget drops an endpoint and what is known of it.
func (p *Prover) Forget(endpoint types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.subjects[endpoint] {
		p.drop(s)
	}
	delete(p.subjects, endpoint)
}

// stir makes Start look at what is due.
func (p *Prover) stir() {
	select {
	case p.wake <- struct{}{}:
	default: // it is awake already
	}
}

// update takes a Subject in place of the one before, and returns the targets that are to
// be tried sooner for it.
func (s *subject) update(wanted Subject, now time.Time, period time.Duration, seed maphash.Seed) []*target {
	wanted.Known = wanted.Known && len(s.targets) == 0 // what comes later is new
	changed, seen := wanted.differs(s.wanted), wanted.Seen != s.wanted.Seen
	s.forget(wanted)
	s.wanted = wanted
	first := func(place) time.Time { return now.Add(firstLook) }
	if wanted.Known {
		first = func(p place) time.Time { return slot(p, now, period, seed) }
	}
	left := map[place]*target{}
	var sooner []*target
	for _, spot := range wanted.spots() {
		t := s.targets[spot.place]
		switch {
		case t == nil:
			t = &target{subject: s, since: now, next: first(spot.place), known: map[probe.Expectation]known{}}
			sooner = append(sooner, t)
		case changed:
			t.changed, t.next, t.early, t.stale, t.steady = now, now.Add(firstLook), 0, t.running, false
			sooner = append(sooner, t)
		case seen && t.next.After(now.Add(firstLook)):
			t.next, t.steady = now.Add(firstLook), false
			sooner = append(sooner, t)
		}
		t.spot = spot
		left[spot.place] = t
	}
	for place, t := range s.targets {
		t.gone = left[place] != t
	}
	s.targets = left
	return sooner
}

// forget drops the findings about what is no longer what is expected: another generation's
// certificate, another leaf.
func (s *subject) forget(wanted Subject) {
	for _, t := range s.targets {
		for e := range t.known {
			if s.wanted.about(e) != wanted.about(e) {
				delete(t.known, e)
			}
		}
	}
}

// NeedLeaderElection says that the leader alone proves.
func (*Prover) NeedLeaderElection() bool { return true }

// Start tries what is due until the context ends.
func (p *Prover) Start(ctx context.Context) error {
	slots := make(chan struct{}, concurrent)
	timer := p.config.Clock.NewTimer(p.config.Period)
	defer timer.Stop()
	for {
		j, wait := p.due(p.config.Clock.Now())
		if j != nil {
			select {
			case <-ctx.Done():
				return nil
			case slots <- struct{}{}:
			}
			go func() {
				defer func() { <-slots }()
				p.run(ctx, *j)
			}()
			continue
		}
		timer.Stop()
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		case <-timer.C():
		}
	}
}

// job is one round over one target.
type job struct {
	target *target
	spot   spot
	wanted Subject
	// expectations are those that are tried in this round.
	expectations []probe.Expectation
}

// due marks a target that is due as running; if there is none, it says how long to wait.
func (p *Prover) due(now time.Time) (*job, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, next := p.queue.pop(now)
	if t == nil {
		if next.IsZero() {
			return nil, p.config.Period
		}
		return nil, next.Sub(now)
	}
	t.running, t.stale = true, false
	wanted := t.subject.wanted
	return &job{target: t, spot: t.spot, wanted: wanted, expectations: t.round(wanted.expectations(), p.crowded())}, 0
}

// run tries one target and takes what was found.
func (p *Prover) run(ctx context.Context, j job) {
	seen := p.try(ctx, j)
	if ctx.Err() != nil {
		return // what was interrupted says nothing
	}
	if p.take(j, seen, p.config.Clock.Now()) {
		p.config.Changed(j.wanted.Gateway)
	}
	p.stir()
}

// take makes what was found count, and reports whether that changed anything.
func (p *Prover) take(j job, seen observation, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := j.target
	t.running = false
	if t.gone {
		return false
	}
	changed := false
	if !t.stale { // else it was tried against what is no longer expected, and is due again
		changed = t.absorb(seen, j.wanted.expectations(), now, p.config.Period)
		t.schedule(now, p.config.Period, p.every(), p.seed)
	}
	p.queue.push(t)
	return changed
}
