package caughtup

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
)

const (
	// patience is how long a cache has to show a write: some milliseconds, mostly. What it does not show by then is read from
	// the API server, so that nobody waits for a watch that is stuck.
	patience = 200 * time.Millisecond
	// rememberFor bounds how long a write is remembered that nobody reads.
	rememberFor = time.Minute
)

// ErrBehind says that the cache does not show yet what was written last: in a few milliseconds it will.
var ErrBehind = errors.New("the cache has not seen yet what was written last")

// New returns a client that does not show our own kinds as they were before its last write to them, because the API server
// would refuse whatever is decided on that. It answers with ErrBehind, or with what live reads.
func New(c client.Client, live client.Reader, now clock.PassiveClock) client.Client {
	return &caughtUp{Client: c, live: live, clock: now, writes: map[types.UID]write{}}
}

type caughtUp struct {
	client.Client
	live  client.Reader
	clock clock.PassiveClock

	mu     sync.Mutex
	writes map[types.UID]write
}

// write is the version in which an object was written, and when.
type write struct {
	version uint64
	at      time.Time
}

func ours(object client.Object) bool {
	switch object.(type) {
	case *v1alpha1.MutualTLSEndpoint, *v1alpha1.ClientCertificate, *v1alpha1.CertificateAuthority:
		return true
	}
	return false
}

// Get reads from the cache, or where that stays behind from the API server.
func (c *caughtUp) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	if err := c.Client.Get(ctx, key, object, options...); err != nil || !ours(object) {
		return err
	}
	last, behind := c.behind(object)
	if !behind {
		return nil
	}
	if c.clock.Since(last.at) < patience {
		return fmt.Errorf("reading %T %s: %w", object, key, ErrBehind)
	}
	if err := c.read(ctx, key, object); err != nil {
		return err
	}
	if version(object) < last.version { // the server has forgotten the write
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.writes, object.GetUID())
	}
	return nil
}

// behind reports whether an object was written after what is shown of it, and when.
func (c *caughtUp) behind(object client.Object) (write, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, is := c.writes[object.GetUID()]
	if is && version(object) >= last.version {
		delete(c.writes, object.GetUID())
		return write{}, false
	}
	return last, is
}

// read reads an object from the API server. The agent may list what it watches, and not ask for one of them.
func (c *caughtUp) read(ctx context.Context, key client.ObjectKey, object client.Object) error {
	only := []client.ListOption{client.InNamespace(key.Namespace), client.MatchingFields{"metadata.name": key.Name}}
	switch o := object.(type) {
	case *v1alpha1.MutualTLSEndpoint:
		var list v1alpha1.MutualTLSEndpointList
		return taken(c.live.List(ctx, &list, only...), list.Items, o, key)
	case *v1alpha1.ClientCertificate:
		var list v1alpha1.ClientCertificateList
		return taken(c.live.List(ctx, &list, only...), list.Items, o, key)
	case *v1alpha1.CertificateAuthority:
		var list v1alpha1.CertificateAuthorityList
		return taken(c.live.List(ctx, &list, only...), list.Items, o, key)
	}
	return fmt.Errorf("reading %T %s: it is none of ours", object, key)
}

// taken takes the only object of a list; there is none if it is empty.
func taken[T any](err error, items []T, into *T, key client.ObjectKey) error {
	switch {
	case err != nil:
		return fmt.Errorf("reading %T %s: %w", into, key, err)
	case len(items) == 0:
		return apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource("").GroupResource(), key.Name)
	}
	*into = items[0]
	return nil
}

func version(object client.Object) uint64 {
	n, err := strconv.ParseUint(object.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0 // versions are opaque by contract: then nothing is behind
	}
	return n
}

// wrote remembers what was written, unless it failed.
func (c *caughtUp) wrote(object client.Object, err error) error {
	if err != nil || !ours(object) || object.GetUID() == "" {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	for uid, old := range c.writes { // in no order: what is never read again is forgotten sooner or later
		if now.Sub(old.at) <= rememberFor {
			break
		}
		delete(c.writes, uid)
	}
	c.writes[object.GetUID()] = write{version(object), now}
	return nil
}

// Create writes to the API server.
func (c *caughtUp) Create(ctx context.Context, object client.Object, options ...client.CreateOption) error {
	return c.wrote(object, c.Client.Create(ctx, object, options...))
}

// Update writes to the API server.
func (c *caughtUp) Update(ctx context.Context, object client.Object, options ...client.UpdateOption) error {
	return c.wrote(object, c.Client.Update(ctx, object, options...))
}

// Patch writes to the API server.
func (c *caughtUp) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.PatchOption) error {
	return c.wrote(object, c.Client.Patch(ctx, object, patch, options...))
}

// Status writes statuses to the API server.
func (c *caughtUp) Status() client.SubResourceWriter { return statusWriter{c.Client.Status(), c} }

type statusWriter struct {
	client.SubResourceWriter
	c *caughtUp
}

// Update writes to the API server.
func (w statusWriter) Update(ctx context.Context, object client.Object, options ...client.SubResourceUpdateOption) error {
	return w.c.wrote(object, w.SubResourceWriter.Update(ctx, object, options...))
}

// Patch writes to the API server.
func (w statusWriter) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
	return w.c.wrote(object, w.SubResourceWriter.Patch(ctx, object, patch, options...))
}
