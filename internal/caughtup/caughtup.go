package caughtup

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// rememberFor bounds how long a write is remembered: a cache that has not seen it by then follows a server that has
// forgotten it.
const rememberFor = 5 * time.Second

// ErrBehind says that the cache does not show yet what was written last: in a few milliseconds it will.
var ErrBehind = errors.New("the cache has not seen yet what was written last")

// New returns a client that does not show our own kinds as they were before its last write to them, because the API server
// would refuse whatever is decided on that. It answers with ErrBehind.
func New(c client.Client, now clock.PassiveClock) client.Client {
	return &caughtUp{Client: c, clock: now, writes: map[types.UID]write{}}
}

type caughtUp struct {
	client.Client
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

// Get reads from the cache.
func (c *caughtUp) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	if err := c.Client.Get(ctx, key, object, options...); err != nil || !ours(object) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	last, is := c.writes[object.GetUID()]
	if !is {
		return nil
	}
	if version(object) >= last.version || c.clock.Since(last.at) > rememberFor {
		delete(c.writes, object.GetUID())
		return nil
	}
	return fmt.Errorf("reading %T %s: %w", object, key, ErrBehind)
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
