package servingcertificate

import (
	"bytes"
	"testing"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
)

// The world of a simulation is slow: API servers read caBundle late, and replicas of
// the webhook read their Secret late.
const (
	bundleLag = 30 * time.Second
	mountLag  = 90 * time.Second
	tick      = 10 * time.Second
)

// seen is a value that readers get to know only after a lag.
type seen[T any] struct {
	from  time.Time
	value T
}

// history is what was written, oldest first.
type history[T any] []seen[T]

func (h history[T]) at(now time.Time) T {
	var found T
	for _, s := range h {
		if !s.from.After(now) {
			found = s.value
		}
	}
	return found
}

// world is what is stored and what is read of it.
type world struct {
	t         testing.TB
	lifetimes Lifetimes
	now       time.Time

	// The CA Secret, the serving Secret, and caBundle.
	current      pki.Authority
	previous     pki.Certificate
	trustedSince time.Time
	serving      pki.Pair
	bundle       []byte

	// What an API server knows, and what the replicas serve.
	known  history[[]byte]
	served history[pki.Pair]

	made, issued int
	// alive is whether the agent runs.
	alive bool
}

func newWorld(t testing.TB) *world {
	return &world{t: t, lifetimes: DefaultLifetimes(), now: start, alive: true}
}

func (w *world) observe() state {
	s := state{observed: observed{current: w.current, previous: w.previous, trustedSince: w.trustedSince, serving: w.serving}}
	if !w.current.IsZero() && !w.now.Before(w.current.Certificate().NotAfter()) {
		s.current = pki.Authority{}
	}
	s.bundled = !s.current.IsZero() && bytes.Equal(w.bundle, s.bundle())
	if cas, err := pki.ParseCertificates(w.bundle); err == nil {
		s.storedInBundle = cas
	}
	const replicas = 2
	s.replicas = replicas
	if leaf := w.served.at(w.now); !leaf.IsZero() && !w.serving.IsZero() && leaf.Equal(w.serving) {
		s.updated = replicas
	}
	return s
}

// pass does what Reconcile does, with a world in place of a cluster. It goes on until
// nothing is due.
func (w *world) pass() {
	for range 10 {
		s := w.observe()
		d := decide(s.observed, w.lifetimes, names, w.now)
		switch d.Action {
		case MakeCA:
			w.previous, w.current = s.outgoing(), newCA(w.t, "ca", w.lifetimes, w.now)
			w.made++
		case WriteBundle:
			w.trustedSince = w.now
			w.writeBundle(s.bundle())
		case IssueLeaf:
			w.serving = newLeaf(w.t, w.current, w.lifetimes, w.now)
			w.served = append(w.served, seen[pki.Pair]{w.now.Add(mountLag), w.serving})
			w.issued++
		case DropPrevious:
			w.previous = pki.Certificate{}
		default:
			if !d.Next.After(w.now) {
				w.t.Fatalf("at %s nothing is due, and the next look is %s", w.now, d.Next)
			}
			return
		}
	}
	w.t.Fatalf("at %s there is always something due", w.now)
}

func (w *world) writeBundle(bundle []byte) {
	w.bundle = bundle
	w.known = append(w.known, seen[[]byte]{w.now.Add(bundleLag), bundle})
}

// check holds the world to the promise: what a replica serves is verified by what any
// API server knows, the fast and the slow one.
func (w *world) check() {
	leaf := w.served.at(w.now)
	if leaf.IsZero() {
		return
	}
	for who, bundle := range map[string][]byte{"a slow API server": w.known.at(w.now), "a fast API server": w.bundle} {
		cas, err := pki.ParseCertificates(bundle)
		if err != nil {
			w.t.Fatalf("at %s %s cannot read caBundle: %v", w.now, who, err)
		}
		var entries []pki.BundleEntry
		for _, ca := range cas {
			entries = append(entries, pki.BundleEntry{CA: ca})
		}
		trusted, err := pki.NewBundle(entries, w.now)
		if err == nil {
			err = leaf.Chain().VerifyServer(trusted, names, w.now)
		}
		if err != nil {
			w.t.Fatalf("at %s %s refuses the webhook: %v", w.now, who, err)
		}
	}
}

// run lets time pass in ticks and holds every moment to the promise.
func (w *world) run(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(tick) {
		if w.alive {
			w.pass()
		}
		w.check()
	}
}

// skip lets days pass in which the agent looks once an hour.
func (w *world) skip(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(time.Hour) {
		w.run(tick)
	}
}

func TestTheAPIServerVerifiesTheWebhookAtEveryMoment(t *testing.T) {
	half := DefaultLifetimes().CA / 2
	tests := map[string]struct {
		live         func(w *world)
		made, issued int
	}{
		"first install": {
			func(w *world) { w.run(10 * time.Minute) }, 1, 1,
		},
		"the leaf is renewed under the same CA": {
			func(w *world) { w.run(10 * time.Minute); w.skip(70 * 24 * time.Hour) }, 1, 2,
		},
		"the CA is replaced at half its life": {
			func(w *world) { w.run(10 * time.Minute); w.skip(half); w.run(time.Hour) }, 2, 5,
		},
		"two years": {
			func(w *world) { w.run(10 * time.Minute); w.skip(2 * DefaultLifetimes().CA) }, 4, 0,
		},
		"the CA's Secret is lost": {
			func(w *world) {
				w.run(10 * time.Minute)
				w.current, w.previous = pki.Authority{}, pki.Certificate{}
				w.run(time.Hour)
			}, 2, 2,
		},
		"the serving Secret is lost": {
			func(w *world) { w.run(10 * time.Minute); w.serving = pki.Pair{}; w.run(time.Hour) }, 1, 2,
		},
		"the agent dies after it made a CA, before it wrote caBundle": {
			func(w *world) {
				w.run(10 * time.Minute)
				w.previous, w.current = w.current.Certificate(), newCA(w.t, "ca", w.lifetimes, w.now)
				w.alive = false
				w.run(time.Hour)
				w.alive = true
				w.run(time.Hour)
			}, 1, 2,
		},
		"the CA's Secret is lost, and the agent dies while two CAs overlap": {
			func(w *world) {
				w.run(10 * time.Minute)
				w.current = pki.Authority{}
				w.run(tick)
				w.alive = false
				w.run(time.Hour)
				w.alive = true
				w.run(time.Hour)
			}, 2, 2,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			test.live(w)
			if w.served.at(w.now).IsZero() {
				t.Fatal("nothing is served")
			}
			if w.made != test.made || (test.issued != 0 && w.issued != test.issued) {
				t.Errorf("%d CAs and %d leaves were made, expected %d and %d", w.made, w.issued, test.made, test.issued)
			}
			if !w.previous.IsZero() && test.made > 1 {
				t.Errorf("the CA before is still trusted at the end")
			}
		})
	}
}

// TestAWipedBundleIsWrittenAgain is not covered by the promise: while caBundle is
// empty the API server verifies nothing. It has to be back at once, and a new CA has
// to be trusted for the whole overlap again.
func TestAWipedBundleIsWrittenAgain(t *testing.T) {
	w := newWorld(t)
	w.run(10 * time.Minute)
	w.writeBundle(nil)
	w.pass()
	w.check()
	if cas, err := pki.ParseCertificates(w.bundle); err != nil || len(cas) != 1 {
		t.Fatalf("caBundle has %d CAs after a pass, error %v", len(cas), err)
	}
	w.current = pki.Authority{} // lost: two CAs overlap from here
	w.pass()
	w.now = w.now.Add(w.lifetimes.Overlap - tick)
	w.writeBundle(nil)
	w.pass()
	written, issued := w.now, w.issued
	for w.now.Before(written.Add(w.lifetimes.Overlap)) {
		w.pass()
		if w.issued != issued {
			t.Fatalf("a leaf of the new CA was issued %s after caBundle was written again, expected %s at least", w.now.Sub(written), w.lifetimes.Overlap)
		}
		w.now = w.now.Add(tick)
	}
	w.pass()
	if w.issued != issued+1 {
		t.Errorf("no leaf of the new CA was issued when the overlap was over")
	}
}
