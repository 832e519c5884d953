package caughtup

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// lagging stands for a client whose cache shows what it is told to: a real one cannot be held back.
type lagging struct {
	client.Client
	shown, stored int
}

func (l *lagging) Get(_ context.Context, _ client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	o.SetUID("1")
	o.SetLabels(map[string]string{"from": "cache"})
	o.SetResourceVersion(strconv.Itoa(l.shown))
	return nil
}

// live reads what is stored.
type live struct {
	client.Reader
	l    *lagging
	gone bool
}

func (r live) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	var applied client.ListOptions
	applied.ApplyOptions(options)
	if applied.Namespace != "shop" || applied.FieldSelector.String() != "metadata.name=edge" {
		return fmt.Errorf("asked for is %v", applied)
	}
	endpoints, is := list.(*v1alpha1.MutualTLSEndpointList)
	if is && !r.gone {
		endpoints.Items = []v1alpha1.MutualTLSEndpoint{{ObjectMeta: metav1.ObjectMeta{UID: "1", ResourceVersion: strconv.Itoa(r.l.stored)}}}
	}
	return nil
}

func (l *lagging) Update(_ context.Context, o client.Object, _ ...client.UpdateOption) error {
	if l.stored == 0 {
		return errors.New("it is refused")
	}
	l.stored++
	o.SetResourceVersion(strconv.Itoa(l.stored))
	return nil
}

func (l *lagging) Status() client.SubResourceWriter { return laggingStatus{l: l} }

type laggingStatus struct {
	client.SubResourceWriter
	l *lagging
}

func (s laggingStatus) Update(ctx context.Context, o client.Object, _ ...client.SubResourceUpdateOption) error {
	return s.l.Update(ctx, o)
}

func TestWhatTheCacheHasNotSeenYetIsNotShown(t *testing.T) {
	endpoint := func() client.Object { return &v1alpha1.MutualTLSEndpoint{ObjectMeta: metav1.ObjectMeta{UID: "1"}} }
	secret := func() client.Object { return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{UID: "1"}} }
	for sentence, row := range map[string]struct {
		of     func() client.Object
		stored int
		status bool
		shows  int
		after  time.Duration
		behind bool
		live   bool
		lost   bool // what was written, by a server that was restored
	}{
		"the version before the write is not":              {of: endpoint, stored: 7, shows: 7, behind: true},
		"nor before a write of the status":                 {of: endpoint, stored: 7, status: true, shows: 7, behind: true},
		"the version that was written is":                  {of: endpoint, stored: 7, shows: 8},
		"a later one is":                                   {of: endpoint, stored: 7, status: true, shows: 12},
		"after a write that was refused anything is":       {of: endpoint, shows: 1},
		"what is not ours is":                              {of: secret, stored: 7, shows: 7},
		"a moment later the version before is not":         {of: endpoint, stored: 7, shows: 7, after: patience - 1, behind: true},
		"after a while what is stored is":                  {of: endpoint, stored: 7, shows: 7, after: patience, live: true},
		"and what is stored of a server that went back is": {of: endpoint, stored: 7, shows: 3, after: patience, live: true, lost: true},
	} {
		t.Run(sentence+" shown", func(t *testing.T) {
			now := clocktesting.NewFakePassiveClock(time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC))
			cache := &lagging{stored: row.stored}
			c := New(cache, live{l: cache}, now)
			var err error
			if object := row.of(); row.status {
				err = c.Status().Update(t.Context(), object)
			} else {
				err = c.Update(t.Context(), object)
			}
			if (err != nil) != (row.stored == 0) {
				t.Fatal(err)
			}
			now.SetTime(now.Now().Add(row.after))
			if cache.shown = row.shows; row.lost {
				cache.stored = 5
			}
			for n := range 2 {
				object := row.of()
				if err := c.Get(t.Context(), types.NamespacedName{Namespace: "shop", Name: "edge"}, object); errors.Is(err, ErrBehind) != row.behind || err != nil && !row.behind {
					t.Errorf("error %v", err)
				}
				if cached, live := object.GetLabels()["from"] == "cache", row.live && (n == 0 || !row.lost); cached == live {
					t.Errorf("reading number %d shows version %s of the cache: %t", n+1, object.GetResourceVersion(), cached)
				}
			}
		})
	}
}

// What is gone by the time at which the API server is asked is not found, of each kind.
func TestWhatIsGone(t *testing.T) {
	for _, object := range []client.Object{&v1alpha1.MutualTLSEndpoint{}, &v1alpha1.ClientCertificate{}, &v1alpha1.CertificateAuthority{}} {
		now := clocktesting.NewFakePassiveClock(time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC))
		cache := &lagging{stored: 7, shown: 7}
		c := New(cache, live{l: cache, gone: true}, now)
		object.SetUID("1")
		if err := c.Update(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		now.SetTime(now.Now().Add(patience))
		if err := c.Get(t.Context(), types.NamespacedName{Namespace: "shop", Name: "edge"}, object); !apierrors.IsNotFound(err) {
			t.Errorf("%T: error %v", object, err)
		}
	}
}

// What was written and is never read again is not kept for ever.
func TestWritesAreForgotten(t *testing.T) {
	now := clocktesting.NewFakePassiveClock(time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC))
	c := &caughtUp{Client: &lagging{stored: 1}, clock: now, writes: map[types.UID]write{}}
	for n := range 1000 {
		if err := c.Update(t.Context(), &v1alpha1.ClientCertificate{ObjectMeta: metav1.ObjectMeta{UID: types.UID(strconv.Itoa(n))}}); err != nil {
			t.Fatal(err)
		}
	}
	now.SetTime(now.Now().Add(rememberFor + 1))
	if err := c.Update(t.Context(), &v1alpha1.ClientCertificate{ObjectMeta: metav1.ObjectMeta{UID: "last"}}); err != nil || len(c.writes) != 1 {
		t.Errorf("%d writes are kept, error %v", len(c.writes), err)
	}
}
