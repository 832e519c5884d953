package cluster

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// caughtUpWithin bounds how long a write is remembered: a cache that has not seen it by then follows a server that has
// forgotten it.
const caughtUpWithin = 5 * time.Second

var errBehind = errors.New("the cache has not seen yet what was written last")

// CaughtUp is a client that does not show our own kinds as they were before its last write to them: it answers with a
// conflict, as the API server would once something is decided on it. The cache shows what was written some milliseconds later.
func CaughtUp(c client.Client, now clock.PassiveClock) client.Client {
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
	if version(object) >= last.version || c.clock.Since(last.at) > caughtUpWithin {
		delete(c.writes, object.GetUID())
		return nil
	}
	return apierrors.NewConflict(v1alpha1.GroupVersion.WithResource("").GroupResource(), key.String(), errBehind)
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
	c.writes[object.GetUID()] = write{version(object), c.clock.Now()}
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
