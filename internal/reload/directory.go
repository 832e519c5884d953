package reload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
	"k8s.io/utils/clock"
)

// DefaultPoll is how often a directory is read even if nothing was heard of it. The
// watch makes changes fast; the poll only bounds how long a missed one lasts.
const DefaultPoll = 10 * time.Second

// Config says what to watch and how to read it.
type Config[T any] struct {
	// Directory is the mounted directory. It need not exist yet.
	Directory string
	// Files are the names to read; all of them must be there.
	Files []string
	// Optional are names to read too, where they are there.
	Optional []string
	// Parse turns one consistent set of files into a value. It must not keep the map.
	Parse func(files map[string][]byte) (T, error)
	// Poll is the interval of the poll; zero means DefaultPoll.
	Poll time.Duration
	// Clock drives the poll.
	Clock clock.WithTicker
	// Observe, if set, is called after each reload that read something new: with nil
	// for a published value, with the reason when the last good one stays.
	Observe func(error)
}

// Directory publishes the value a directory holds.
type Directory[T any] struct {
	config  Config[T]
	current atomic.Pointer[T]

	mu sync.Mutex
	// seen is a digest, not the content: one of the files is mostly a private key.
	seen   digest
	status Status
	// absent is the last reading error, so that a file that stays away is reported once.
	absent string
}

// Status is how reloading went so far.
type Status struct {
	// Reloads counts published values, Failures contents that were refused.
	Reloads, Failures uint64
	// Err is why the newest content is not published; nil if it is.
	Err error
}

// New returns a directory that has read nothing yet.
func New[T any](config Config[T]) *Directory[T] {
	if config.Poll == 0 {
		config.Poll = DefaultPoll
	}
	return &Directory[T]{config: config, status: Status{Err: errNotRead}}
}

var errNotRead = errors.New("not read yet")

// Current is the last good value, or nil as long as there was none.
func (d *Directory[T]) Current() *T { return d.current.Load() }

// Status says how reloading went so far.
func (d *Directory[T]) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status
}

// Start watches until the context ends. It returns an error only if the machine
// gives it no watch at all; a directory that is missing, or vanishes, is waited for.
func (d *Directory[T]) Start(ctx context.Context) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching %s: %w", d.config.Directory, err)
	}
	defer watcher.Close()
	ticker := d.config.Clock.NewTicker(d.config.Poll)
	defer ticker.Stop()
	for {
		// Watch first, read second: a change between the two is heard.
		d.watch(watcher)
		d.Reload()
		if !d.wait(ctx, watcher, ticker.C()) {
			return nil
		}
	}
}

// NeedLeaderElection says that every replica reads its own mount.
func (*Directory[T]) NeedLeaderElection() bool { return false }

// watch makes sure that the directory is watched, or the one it will appear in.
// Adding what is watched already costs one system call. Errors are left to the
// poll: it finds what no watch tells.
func (d *Directory[T]) watch(watcher *fsnotify.Watcher) {
	if watcher.Add(d.config.Directory) == nil {
		return
	}
	_ = watcher.Add(filepath.Dir(d.config.Directory))
	// Again: what appeared before its parent was watched is heard of by nobody.
	_ = watcher.Add(d.config.Directory)
}

// wait returns true when something may have changed and false when the context ended.
func (d *Directory[T]) wait(ctx context.Context, watcher *fsnotify.Watcher, poll <-chan time.Time) bool {
	select {
	case <-ctx.Done():
		return false
	case <-poll:
	case event := <-watcher.Events:
		if event.Name == filepath.Clean(d.config.Directory) && event.Has(fsnotify.Remove|fsnotify.Rename) {
			// What appears under this name again is another directory.
			_ = watcher.Remove(d.config.Directory)
		}
		drain(watcher.Events)
	case <-watcher.Errors: //nolint:errcheck // whatever it says, the answer is to read
		// Mostly an overflowing queue: events were lost, so read.
	}
	return true
}

// drain takes the events that are there already: one swap causes several.
func drain(events <-chan fsnotify.Event) {
	for {
		select {
		case <-events:
		default:
			return
		}
	}
}

// Reload reads the directory once and publishes what it holds, if that is new and good.
func (d *Directory[T]) Reload() {
	if changed, err := d.reload(); changed && d.config.Observe != nil {
		d.config.Observe(err)
	}
}

func (d *Directory[T]) reload() (changed bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	files, err := readFiles(d.config.Directory, d.config.Files, d.config.Optional)
	if err != nil {
		return d.unreadable(err)
	}
	d.absent = ""
	now := digestOf(files, slices.Concat(d.config.Files, d.config.Optional))
	if d.seen == now {
		return false, nil
	}
	d.seen = now
	value, err := d.config.Parse(files)
	if err != nil {
		d.status.Failures++
		d.status.Err = fmt.Errorf("parsing files in %s: %w", d.config.Directory, err)
		return true, d.status.Err
	}
	d.current.Store(&value)
	d.status.Reloads++
	d.status.Err = nil
	return true, nil
}

// unreadable keeps the last good value. Files that were never there yet are waited
// for, which is no failure: the pair of a new install comes later than its pods.
func (d *Directory[T]) unreadable(err error) (bool, error) {
	changed := d.absent != err.Error()
	d.absent = err.Error()
	d.seen = digest{}
	d.status.Err = err
	if changed && (d.current.Load() != nil || !errors.Is(err, fs.ErrNotExist)) {
		d.status.Failures++
	}
	return changed, err
}
