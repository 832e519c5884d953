package sequence

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/pkg/intent"
)

// Server is what sequences are played on.
type Server struct {
	// Config is how the administrator reaches it, and Admin a client of his.
	Config *rest.Config
	Admin  client.Client
}

// Game says which sequences are played, and how.
type Game struct {
	// First and Last are numbers of sequences, from 1.
	First, Last int
	// Workers is how many are played at once.
	Workers int
	// Worlds has MutualTLSPolicies apply that nobody thought of, other ones for each few sequences.
	Worlds bool
	// Progress gets a line for each so many sequences.
	Progress io.Writer
	Each     int
}

// Tally counts what was played and what came of it.
type Tally struct {
	Sequences, Worlds         int
	Accepted, Refused, Warned int
	// Digest stands for what became of every write, in any order of the sequences: two servers that give the
	// same have answered alike.
	Digest uint64
}

func (t Tally) String() string {
	return fmt.Sprintf("%d sequences in %d worlds, %d writes accepted, %d refused by a policy, %d warnings, digest %016x",
		t.Sequences, t.Worlds, t.Accepted, t.Refused, t.Warned, t.Digest)
}

// Telling is whether enough was accepted and refused for either to show something.
func (t Tally) Telling() error {
	if t.Accepted < t.Sequences || t.Refused < t.Sequences {
		return fmt.Errorf("%d writes were accepted and %d refused in %d sequences: one of the two shows little", t.Accepted, t.Refused, t.Sequences)
	}
	return nil
}

// Chosen are the sequences that SALLYPORT_SEQUENCES asks for: as many from the first on, or a range (20001-40000), so
// that many can be played in several runs. Without it they are the first few.
func Chosen(few int) (first, last int, err error) {
	given := os.Getenv("SALLYPORT_SEQUENCES")
	if given == "" {
		return 1, few, nil
	}
	from, to, some := strings.Cut(given, "-")
	if !some {
		from, to = "1", given
	}
	var errs [2]error
	first, errs[0] = strconv.Atoi(from)
	last, errs[1] = strconv.Atoi(to)
	if err := errors.Join(errs[:]...); err != nil || first < 1 || last < first {
		return 0, 0, fmt.Errorf("reading SALLYPORT_SEQUENCES %q, a number or two: %w", given, err)
	}
	return first, last, nil
}

// round is how many sequences follow each other in one world.
const round = 40

// names of objects, of which exceptions speak too.
var names = []string{"a", "b", "orders", "orders-mtls"}

// match is a game that is being played.
type match struct {
	Game

	mu    sync.Mutex
	next  int
	tally Tally
}

// Play plays the sequences, up to the first that shows a difference between a server and the reference. Of several
// servers each has its share of the workers: a server judges each write by all worlds that are on it.
func (g Game) Play(ctx context.Context, servers ...Server) (Tally, error) {
	m := &match{Game: g, next: (g.First - 1) / round}
	group, ctx := errgroup.WithContext(ctx)
	for worker := range g.Workers {
		group.Go(func() error {
			for n := m.take(); n*round < g.Last; n = m.take() {
				if err := m.round(ctx, servers[worker%len(servers)], n); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	return m.tally, err
}

// take is the number of the round that is played next, from 0.
func (m *match) take() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next++
	return m.next - 1
}

// round plays the sequences of one round.
func (m *match) round(ctx context.Context, s Server, number int) error {
	var in *world
	if m.Worlds {
		var err error
		if in, err = newWorld(ctx, s, uint64(number)+1); err != nil {
			return err
		}
	}
	for n := max(number*round+1, m.First); n <= min((number+1)*round, m.Last); n++ {
		p := newPlayer(s.Admin, uint64(n))
		if in != nil {
			p.as, p.in = in.writer, in
			p.at = within{namespace: in.namespace, label: in.labels[intent.LabelDefaultMode], name: pick(p, names...)}
		}
		if err := p.play(ctx); err != nil {
			return fmt.Errorf("sequence %d, %s %s/%s: %w\n%s\n%s", n, p.kind, p.at.namespace, p.at.name, err, strings.Join(p.done, "\n"), in)
		}
		m.count(p)
	}
	if in == nil {
		return nil
	}
	m.mu.Lock()
	m.tally.Worlds++
	m.mu.Unlock()
	return in.end(ctx)
}

// count adds what came of a sequence.
func (m *match) count(p *player) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tally.Sequences++
	m.tally.Accepted += p.accepted
	m.tally.Refused += p.refused
	m.tally.Warned += p.warned
	m.tally.Digest += p.digest()
	if m.Each > 0 && m.tally.Sequences%m.Each == 0 {
		fmt.Fprintln(m.Progress, m.tally)
	}
}
