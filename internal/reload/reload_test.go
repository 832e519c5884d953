package reload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/utils/clock"
	testingclock "k8s.io/utils/clock/testing"
)

// deadline bounds every wait for something that happens in milliseconds.
const deadline = 20 * time.Second

// value is the content of two files that belong together: "1", "1".
type value string

func parseValue(files map[string][]byte) (value, error) {
	a, b := string(files["a"]), string(files["b"])
	if a != b {
		return "", fmt.Errorf("a is %q, b is %q", a, b)
	}
	return value(a), nil
}

// mount plays the kubelet: a directory whose files are links through ..data, which
// a rename swaps at once.
type mount struct {
	t    *testing.T
	path string
}

func newMount(t *testing.T) mount {
	return mount{t: t, path: filepath.Join(t.TempDir(), "certs")}
}

func (m mount) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// swap publishes a set of files in one step and removes the old set.
func (m mount) swap(generation string, files map[string]string) {
	m.t.Helper()
	m.must(os.MkdirAll(m.path, 0o700))
	data := filepath.Join(m.path, "..2026_"+generation)
	m.must(os.Mkdir(data, 0o700))
	for name, content := range files {
		m.must(os.WriteFile(filepath.Join(data, name), []byte(content), 0o600))
	}
	old, _ := os.Readlink(filepath.Join(m.path, "..data"))
	m.must(os.Symlink(filepath.Base(data), filepath.Join(m.path, "..data_tmp")))
	m.must(os.Rename(filepath.Join(m.path, "..data_tmp"), filepath.Join(m.path, "..data")))
	for name := range files {
		link := filepath.Join(m.path, name)
		if _, err := os.Lstat(link); errors.Is(err, os.ErrNotExist) {
			m.must(os.Symlink(filepath.Join("..data", name), link))
		}
	}
	if old != "" {
		m.must(os.RemoveAll(filepath.Join(m.path, old)))
	}
}

// write writes plain files one after the other, as a person or a script would.
func (m mount) write(files ...string) {
	m.t.Helper()
	m.must(os.MkdirAll(m.path, 0o700))
	for i := 0; i < len(files); i += 2 {
		m.must(os.WriteFile(filepath.Join(m.path, files[i]), []byte(files[i+1]), 0o600))
	}
}

// watching starts a directory on the mount. The channel carries what Observe saw.
func watching(t *testing.T, m mount, c clock.WithTicker) (*Directory[value], <-chan error) {
	t.Helper()
	observed := make(chan error, 100)
	d := New(Config[value]{Directory: m.path, Files: []string{"a", "b"}, Parse: parseValue, Clock: c, Observe: func(err error) { observed <- err }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Start: %v", err)
		}
	})
	return d, observed
}

// waitFor takes observations until the directory publishes what is wanted.
func waitFor(t *testing.T, d *Directory[value], observed <-chan error, want value) {
	t.Helper()
	timeout := time.After(deadline)
	for {
		if got := d.Current(); got != nil && *got == want {
			return
		}
		select {
		case <-observed:
		case <-timeout:
			t.Fatalf("still %v, want %q; %+v", d.Current(), want, d.Status())
		}
	}
}

// frozen is a clock whose poll never comes: what happens is the watch's doing.
func frozen() *testingclock.FakeClock { return testingclock.NewFakeClock(time.Unix(0, 0)) }

func TestAnAtomicSwapIsHeard(t *testing.T) {
	m := newMount(t)
	m.swap("1", map[string]string{"a": "one", "b": "one"})
	d, observed := watching(t, m, frozen())
	waitFor(t, d, observed, "one")
	for i := range 20 {
		content := fmt.Sprint(i)
		m.swap(fmt.Sprintf("x%d", i), map[string]string{"a": content, "b": content})
		waitFor(t, d, observed, value(content))
	}
	if status := d.Status(); status.Err != nil || status.Reloads != 21 {
		t.Errorf("after 21 good sets: %+v", status)
	}
}

func TestADirectoryThatComesLaterIsPickedUp(t *testing.T) {
	m := newMount(t)
	d, observed := watching(t, m, frozen())
	if err := <-observed; !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing directory was observed as %v", err)
	}
	if d.Current() != nil {
		t.Fatal("a value out of nothing")
	}
	m.swap("1", map[string]string{"a": "one", "b": "one"})
	waitFor(t, d, observed, "one")
}

func TestADirectoryThatIsReplacedIsFollowed(t *testing.T) {
	m := newMount(t)
	m.write("a", "one", "b", "one")
	d, observed := watching(t, m, frozen())
	waitFor(t, d, observed, "one")
	m.must(os.RemoveAll(m.path))
	m.write("a", "two", "b", "two")
	waitFor(t, d, observed, "two")
	m.write("a", "three", "b", "three")
	waitFor(t, d, observed, "three")
}

func TestAFailedReloadKeepsTheLastGoodValueAndCounts(t *testing.T) {
	m := newMount(t)
	m.write("a", "one", "b", "one")
	observed := make(chan error, 10)
	d := New(Config[value]{Directory: m.path, Files: []string{"a", "b"}, Parse: parseValue, Clock: frozen(), Observe: func(err error) { observed <- err }})
	steps := []struct {
		name     string
		change   func()
		current  value
		failures uint64
		err      string
	}{
		{"good", func() {}, "one", 0, ""},
		{"halves that do not match", func() { m.write("b", "two") }, "one", 1, `parsing files in ` + m.path + `: a is "one", b is "two"`},
		{"the same bad content again", func() {}, "one", 1, `parsing files in ` + m.path + `: a is "one", b is "two"`},
		{"good again", func() { m.write("a", "two") }, "two", 1, ""},
		{"a file goes", func() { m.must(os.Remove(filepath.Join(m.path, "a"))) }, "two", 2, "no such file or directory"},
		{"it stays away", func() {}, "two", 2, "no such file or directory"},
		{"it comes back as it was", func() { m.write("a", "two") }, "two", 2, ""},
		{"a file too large", func() { m.write("a", strings.Repeat("x", maxFile+1)) }, "two", 3, "larger than 1048576 bytes"},
	}
	for _, step := range steps {
		step.change()
		d.Reload()
		status := d.Status()
		if *d.Current() != step.current || status.Failures != step.failures {
			t.Errorf("%s: current %q, %+v", step.name, *d.Current(), status)
		}
		if (status.Err == nil) != (step.err == "") || (status.Err != nil && !strings.Contains(status.Err.Error(), step.err)) {
			t.Errorf("%s: error %v, want %q", step.name, status.Err, step.err)
		}
	}
	if got := len(observed); got != 6 {
		t.Errorf("%d observations, want one per change (6)", got)
	}
}

func TestThePollFindsWhatNoWatchTells(t *testing.T) {
	m := newMount(t)
	// The files lie behind a link to a place that is not watched.
	elsewhere := mount{t: t, path: filepath.Join(t.TempDir(), "elsewhere")}
	elsewhere.write("a", "one", "b", "one")
	m.must(os.MkdirAll(m.path, 0o700))
	for _, name := range []string{"a", "b"} {
		m.must(os.Symlink(filepath.Join(elsewhere.path, name), filepath.Join(m.path, name)))
	}
	c := frozen()
	d, observed := watching(t, m, c)
	waitFor(t, d, observed, "one")
	elsewhere.write("a", "two", "b", "two")
	c.Step(DefaultPoll)
	waitFor(t, d, observed, "two")
}

func TestFilesOfTwoSetsAreNeverMixed(t *testing.T) {
	m := newMount(t)
	m.swap("0", map[string]string{"a": "0", "b": "0"})
	d := New(Config[value]{Directory: m.path, Files: []string{"a", "b"}, Parse: parseValue, Clock: frozen()})
	done := make(chan struct{})
	mixed := make(chan error, 1)
	go func() {
		defer close(mixed)
		for {
			select {
			case <-done:
				return
			default:
			}
			d.Reload()
			if err := d.Status().Err; err != nil && strings.HasPrefix(err.Error(), "parsing") {
				mixed <- err
				return
			}
		}
	}()
	for i := 1; i < 1000; i++ {
		m.swap(fmt.Sprint(i), map[string]string{"a": fmt.Sprint(i), "b": fmt.Sprint(i)})
	}
	close(done)
	if err := <-mixed; err != nil {
		t.Errorf("a mixture was read: %v", err)
	}
	if d.Status().Reloads < 2 {
		t.Errorf("hardly anything was read: %+v", d.Status())
	}
}
