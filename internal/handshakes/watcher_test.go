package handshakes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	edge    = types.NamespacedName{Namespace: "shop", Name: "gateway-edge"}
	gateway = types.NamespacedName{Namespace: "shop", Name: "edge"}
)

// counting is a stand-in for a gateway replica whose counts can be changed.
type counting struct {
	all, without atomic.Uint64
}

func (c *counting) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintf(w, "# TYPE %[1]s counter\n%[1]s{listener_address=\"0.0.0.0_8443\"} %[2]d\n# TYPE %[3]s counter\n%[3]s{listener_address=\"0.0.0.0_8443\"} %[4]d\n",
		handshakesCounter, c.all.Load(), anonymousCounter, c.without.Load())
}

// watching is a Watcher that runs until the test ends.
func watching(t *testing.T, dialable error) (w *Watcher, changed *atomic.Int64) {
	t.Helper()
	changed = &atomic.Int64{}
	w = New(Config{
		Period: 20 * time.Millisecond, Window: 400 * time.Millisecond, Clock: clock.RealClock{},
		Dialable: func(string) error { return dialable }, Own: func(string, uint32) Own { return Own{} },
		Changed: func(g types.NamespacedName) {
			if g == gateway {
				changed.Add(1)
			}
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = w.Start(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return w, changed
}

func at(t *testing.T, answer http.HandlerFunc) ingress.Replica {
	t.Helper()
	ip, port := replica(t, answer)
	return ingress.Replica{Ingress: ingress.Ingress{Namespace: "istio-system"}, Pod: "a", IP: ip, Port: 8443, Statistics: port}
}

func TestCallersAreCountedUntilAllHaveACertificate(t *testing.T) {
	envoy := &counting{}
	envoy.all.Store(1000)
	envoy.without.Store(1000)
	w, changed := watching(t, nil)
	replicas := []ingress.Replica{at(t, envoy.ServeHTTP)}
	comes := func(state State, fits func(Use) bool) {
		t.Helper()
		testenv.Eventually(t, 20*time.Second, string(state), func(context.Context) error {
			if u := w.Watch(edge, gateway, replicas, time.Time{}, time.Now()); u.State != state || !fits(u) {
				return fmt.Errorf("known is %+v", u)
			}
			return nil
		})
	}
	begun := time.Now()
	if u := w.Watch(edge, gateway, replicas, time.Time{}, begun); u.State != Counting || !u.Since.Equal(begun) {
		t.Errorf("at first %+v", u)
	}
	comes(NoCallers, func(u Use) bool { return u.Handshakes == 0 })
	envoy.all.Add(7)
	envoy.without.Add(2)
	comes(SomeWithout, func(u Use) bool { return u.Handshakes == 7 && u.WithCertificate == 5 })
	if changed.Load() == 0 {
		t.Error("nobody was told")
	}
	comes(AllWith, func(u Use) bool { return !u.LastWithout.IsZero() })
	w.Forget(edge)
	if u := w.Watch(edge, gateway, nil, time.Time{}, time.Now()); u.State != NoReplicas || u.Handshakes != 0 {
		t.Errorf("after it was forgotten, with no replica: %+v", u)
	}
}

func TestWhoMayNotBeDialledIsNot(t *testing.T) {
	var asked atomic.Int64
	w, _ := watching(t, errors.New("its address 127.0.0.1 is local to the agent's own machine"))
	replicas := []ingress.Replica{at(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })}
	testenv.Eventually(t, 20*time.Second, "that it cannot be read", func(context.Context) error {
		if u := w.Watch(edge, gateway, replicas, time.Time{}, time.Now()); u.State != Unreadable || u.Trouble != "istio-system/a: its address 127.0.0.1 is local to the agent's own machine" {
			return fmt.Errorf("known is %+v", u)
		}
		return nil
	})
	if asked.Load() != 0 {
		t.Error("it was asked all the same")
	}
}

// What is told changes with the state, and otherwise now and then: a status that is written in every period is noise.
func TestNumbersAreToldNowAndThen(t *testing.T) {
	e := &endpoint{told: Use{State: Counting}, toldAt: noon}
	for name, test := range map[string]struct {
		use   Use
		after time.Duration
		want  bool
	}{
		"nothing new":                {Use{State: Counting}, time.Hour, false},
		"new numbers, soon":          {Use{State: Counting, Handshakes: 1}, time.Minute, false},
		"new numbers, after a while": {Use{State: Counting, Handshakes: 1}, 10 * time.Minute, true},
		"another state":              {Use{State: SomeWithout}, 0, true},
		"another trouble, soon":      {Use{State: Counting, Trouble: "a"}, time.Minute, false},
	} {
		if got := e.news(test.use, 10*time.Minute, noon.Add(test.after)); got != test.want {
			t.Errorf("%s: told %t, want %t", name, got, test.want)
		}
	}
}

// A replica decides what it answers: it is not to decide how often a status is written.
func TestAReplicaThatFlaps(t *testing.T) {
	const every, look = 10 * time.Minute, 30 * time.Second
	unreadable := func(n int) Use { return Use{State: Unreadable, Trouble: fmt.Sprintf("istio-system/a: status %d", n)} }
	for name, test := range map[string]struct {
		at func(n int) Use
		// most is how often it is told in a day at most.
		most int
	}{
		"another status with each look":  {unreadable, 24 * 6},
		"it answers every other time":    {func(n int) Use { return []Use{unreadable(0), {State: Counting}}[n%2] }, 24 * 6 * (hasty + 1)},
		"it answers, and all had one":    {func(n int) Use { return []Use{unreadable(0), {State: AllWith}}[n%2] }, 24 * 6 * (hasty + 1)},
		"three answers, one after other": {func(n int) Use { return []Use{unreadable(0), {State: LeftOut}, {State: NoCallers}}[n%3] }, 24 * 6 * (hasty + 1)},
	} {
		e, times := &endpoint{told: Use{State: Counting}, toldAt: noon}, 0
		for n := range int(24 * time.Hour / look) {
			now, use := noon.Add(time.Duration(n)*look), test.at(n)
			if e.news(use, every, now) {
				times++
				e.tell(use, every, now)
			}
			if e.told.State == AllWith && use.State != AllWith {
				t.Fatalf("%s: it is told for longer than it is known that all have one", name)
			}
		}
		if times > test.most {
			t.Errorf("%s: told %d times in a day, want %d at most", name, times, test.most)
		}
	}
}
