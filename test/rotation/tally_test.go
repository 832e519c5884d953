package rotation

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// tally counts calls by phase and kind of caller.
type tally struct {
	mu       sync.Mutex
	begun    time.Time
	calls    map[string]map[kind]int
	refusals []string
	// refused counts them; refusals name the first.
	refused int
	served  map[string]bool
	// activations are the generations that began to issue.
	activations []string
	phase       string
	// step is what the authority told last, steps are all of it, for whoever looks for what went wrong.
	step  string
	steps []string
	// pause is the longest time for which nothing ran: a crowded machine is late with everything.
	pause  time.Duration
	ticked time.Time
}

func newTally(now time.Time) *tally {
	return &tally{begun: now, calls: map[string]map[kind]int{}, served: map[string]bool{}, phase: "Stable"}
}

// maxNamed bounds the refusals that are named.
const maxNamed = 20

// add takes one call.
func (t *tally) add(c *caller, at target, serial string, err error, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.calls[t.phase] == nil {
		t.calls[t.phase] = map[kind]int{}
	}
	t.calls[t.phase][c.kind]++
	if serial != "" {
		t.served[serial] = true
	}
	if err == nil {
		return
	}
	t.refused++
	if len(t.refusals) < maxNamed {
		leaf := c.has.pair.Leaf
		refusal := fmt.Sprintf("%s, %s: %s caller %s (certificate of %q until %s, knows %d roots; %s) at %s for %s: %v",
			now.Sub(t.begun).Round(time.Millisecond), t.phase, c.kind, c.shelf.name, leaf.Issuer.CommonName, leaf.NotAfter.Sub(t.begun).Round(time.Millisecond), len(c.has.trust), c.shelf.told(t.begun), at.address, at.serverName, err)
		fmt.Fprintln(os.Stderr, refusal) // a long run tells it while what led to it can still be looked at
		t.refusals = append(t.refusals, refusal)
	}
}

// see takes what the authority's status tells.
func (t *tally) see(phase, active, blocked string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.phase = phase
	step := phase
	if blocked != "" {
		step += ", blocked: " + blocked
	}
	if t.step != step {
		t.step = step
		t.steps = append(t.steps, time.Since(t.begun).Round(time.Millisecond).String()+": "+step)
	}
	if active != "" && !slices.Contains(t.activations, active) {
		t.activations = append(t.activations, active)
	}
}

// tickEvery is how often the machine shows that it runs.
const tickEvery = 20 * time.Millisecond

// tick notes how late the machine is.
func (t *tally) tick(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ticked.IsZero() {
		t.pause = max(t.pause, now.Sub(t.ticked)-tickEvery)
	}
	t.ticked = now
}

func (t *tally) longestPause() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pause
}

// sum are the calls, the rotations and the server certificates that were served.
func (t *tally) sum() (calls, rotations, leaves int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, kinds := range t.calls {
		for _, n := range kinds {
			calls += n
		}
	}
	return calls, max(len(t.activations)-1, 0), len(t.served)
}

// count is how many calls were refused.
func (t *tally) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.refused
}

// named are the first refusals.
func (t *tally) named() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.refusals)
}

// table tells the counts.
func (t *tally) table() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	kinds := []kind{prompt, thrifty, stubborn, long}
	var out strings.Builder
	fmt.Fprintf(&out, "%-10s", "phase")
	for _, k := range kinds {
		fmt.Fprintf(&out, "%10s", k)
	}
	for _, phase := range slices.Sorted(maps.Keys(t.calls)) {
		fmt.Fprintf(&out, "\n%-10s", phase)
		for _, k := range kinds {
			fmt.Fprintf(&out, "%10d", t.calls[phase][k])
		}
	}
	return out.String()
}

// total is what all runs counted together.
type total struct {
	Runs, Calls, Rotations, ServerCertificates, CallersCertificates, Refused int
}

// addTo adds what a run counted to a file.
func (r *run) addTo(path string) error {
	if path == "" {
		return nil
	}
	var sum total
	if data, err := os.ReadFile(path); err == nil {
		if err := json.Unmarshal(data, &sum); err != nil {
			return fmt.Errorf("reading the sums: %w", err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the sums: %w", err)
	}
	calls, rotated, leaves := r.tally.sum()
	sum.Runs++
	sum.Calls += calls
	sum.Rotations += rotated
	sum.ServerCertificates += leaves
	sum.CallersCertificates += r.issued()
	sum.Refused += r.tally.count()
	data, err := json.MarshalIndent(sum, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the sums: %w", err)
	}
	r.t.Logf("all runs: %+v", sum)
	return os.WriteFile(path, append(data, '\n'), 0o600)
}
