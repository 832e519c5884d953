package evaluator

import (
	"context"
	"fmt"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/storage"
)

// watcher tells of every change below a key, in order. What it has not told yet it keeps, however slow whoever listens is.
type watcher struct {
	*view
	prefix string
	out    chan watch.Event
	done   chan struct{}
	once   sync.Once

	waiting sync.Mutex
	queue   []watch.Event
	more    chan struct{}
}

// Watch tells of what is there and then of what changes. It has no history: whoever wants that is sent back to the start.
func (v *view) Watch(ctx context.Context, key string, options storage.ListOptions) (watch.Interface, error) {
	if !options.Recursive || !options.Predicate.Empty() {
		return nil, fmt.Errorf("watching %q by name or selector: %w", key, errNotSimulated)
	}
	if options.SendInitialEvents == nil || !*options.SendInitialEvents {
		return nil, apierrors.NewResourceExpired("there is no history in memory")
	}
	w := &watcher{view: v, prefix: directory(key), out: make(chan watch.Event), done: make(chan struct{}), more: make(chan struct{}, 1)}
	v.mu.Lock()
	defer v.mu.Unlock()
	for at, found := range v.entries {
		if strings.HasPrefix(at, w.prefix) {
			w.tell(watch.Added, found.data, found.revision)
		}
	}
	last := v.newItem()
	if err := v.UpdateObject(last, v.revision); err != nil {
		return nil, err
	}
	if err := storage.AnnotateInitialEventsEndBookmark(last); err != nil {
		return nil, err
	}
	w.queue = append(w.queue, watch.Event{Type: watch.Bookmark, Object: last})
	v.watchers[w] = true
	go w.run(ctx)
	return w, nil
}

// tell has a change told.
func (w *watcher) tell(kind watch.EventType, data []byte, revision uint64) {
	o := w.newItem()
	if err := w.decode(data, o, revision); err != nil {
		panic(fmt.Sprintf("reading what was stored below %q: %v", w.prefix, err))
	}
	// No policy reads who owns which field, and each evaluation encodes all of its parameters.
	if owned, is := o.(metav1.Object); is {
		owned.SetManagedFields(nil)
	}
	w.waiting.Lock()
	w.queue = append(w.queue, watch.Event{Type: kind, Object: o})
	w.waiting.Unlock()
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// run tells what is waiting until nobody listens.
func (w *watcher) run(ctx context.Context) {
	defer close(w.out)
	defer func() {
		w.mu.Lock()
		delete(w.watchers, w)
		w.mu.Unlock()
	}()
	for {
		w.waiting.Lock()
		told := w.queue
		w.queue = nil
		w.waiting.Unlock()
		for _, event := range told {
			select {
			case w.out <- event:
			case <-ctx.Done():
				return
			case <-w.done:
				return
			}
		}
		select {
		case <-w.more:
		case <-ctx.Done():
			return
		case <-w.done:
			return
		}
	}
}

// Stop ends it.
func (w *watcher) Stop() { w.once.Do(func() { close(w.done) }) }

// ResultChan is where the changes come.
func (w *watcher) ResultChan() <-chan watch.Event { return w.out }
