package admission

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestAKnownNamespaceIsAnsweredAtOnce(t *testing.T) {
	index := NewNamespaceIndex()
	index.Set("shop", "")
	index.Set("labelled", "mutual")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for namespace, want := range map[string]string{"shop": "", "labelled": "mutual"} {
		if mode, known := index.DefaultMode(ended, namespace); mode != want || !known {
			t.Errorf("%s: %q, %v; expected %q, true", namespace, mode, known, want)
		}
	}
	index.Set("labelled", "optional")
	if mode, _ := index.DefaultMode(ended, "labelled"); mode != "optional" {
		t.Errorf("after a change: %q", mode)
	}
	index.Delete("labelled")
	if mode, known := index.DefaultMode(ended, "labelled"); mode != "" || known {
		t.Errorf("after deletion: %q, %v", mode, known)
	}
}

func TestANamespaceThatIsOnItsWayIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		index := NewNamespaceIndex()
		type answer struct {
			mode  string
			known bool
		}
		answers := make(chan answer)
		ctx, cancel := context.WithTimeout(t.Context(), namespaceWait)
		defer cancel()
		go func() {
			mode, known := index.DefaultMode(ctx, "new")
			answers <- answer{mode, known}
		}()
		synctest.Wait()
		index.Set("another", "optional")
		synctest.Wait()
		index.Set("new", "mutual")
		if got := <-answers; got != (answer{"mutual", true}) {
			t.Errorf("answer %+v", got)
		}
	})
}

func TestANamespaceThatNeverComesIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		index := NewNamespaceIndex()
		ctx, cancel := context.WithTimeout(t.Context(), namespaceWait)
		defer cancel()
		began := time.Now()
		if mode, known := index.DefaultMode(ctx, "nowhere"); mode != "" || known {
			t.Errorf("answer %q, %v", mode, known)
		}
		if waited := time.Since(began); waited != namespaceWait {
			t.Errorf("waited %s, expected %s", waited, namespaceWait)
		}
	})
}

func TestOnlyFewReviewsWaitAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		index := NewNamespaceIndex()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan bool, maxWaiting)
		for range maxWaiting {
			go func() {
				_, known := index.DefaultMode(ctx, "nowhere")
				done <- known
			}()
		}
		synctest.Wait()
		began := time.Now()
		if _, known := index.DefaultMode(ctx, "elsewhere"); known || time.Since(began) != 0 {
			t.Errorf("one review too many was made to wait: known %v after %s", known, time.Since(began))
		}
		cancel()
		for range maxWaiting {
			if <-done {
				t.Error("an unknown Namespace was called known")
			}
		}
		if len(index.waiting) != 0 {
			t.Errorf("%d places are still taken", len(index.waiting))
		}
	})
}
