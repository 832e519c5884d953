package evaluator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	"k8s.io/client-go/tools/cache"
)

// memory stands for etcd: bytes by key, each with the revision that wrote it.
type memory struct {
	mu       sync.Mutex
	revision uint64
	entries  map[string]entry
	watchers map[*watcher]bool
}

type entry struct {
	data     []byte
	revision uint64
}

func newMemory() *memory {
	return &memory{revision: 1, entries: map[string]entry{}, watchers: map[*watcher]bool{}}
}

// GetRESTOptions has the registry of a resource store in memory.
func (m *memory) GetRESTOptions(resource schema.GroupResource, _ runtime.Object) (generic.RESTOptions, error) {
	config := storagebackend.Config{Codec: unstructured.UnstructuredJSONScheme}
	return generic.RESTOptions{
		StorageConfig:           config.ForResource(resource),
		Decorator:               m.storage,
		EnableGarbageCollection: true,
		ResourcePrefix:          resource.Group + "/" + resource.Resource,
	}, nil
}

// storage is the memory as one version of a resource sees it.
func (m *memory) storage(config *storagebackend.ConfigForResource, prefix string, _ func(runtime.Object) (string, error),
	newItem, _ func() runtime.Object, _ storage.AttrFunc, _ storage.IndexerFuncs, _ *cache.Indexers,
) (storage.Interface, factory.DestroyFunc, error) {
	return &view{memory: m, codec: config.Codec, prefix: prefix, newItem: newItem}, func() {}, nil
}

// at is what is stored at a key, and whether anything is.
func (m *memory) at(key string) (entry, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, is := m.entries[key]
	return found, is
}

// swap writes a key, or takes it away where data is nil, if nobody wrote it since a revision; 0 where there was nothing.
// It answers with the revision of the write, 0 if there was none.
func (m *memory) swap(key string, since uint64, data []byte) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.entries[key]
	if before.revision != since {
		return 0
	}
	m.revision++
	change := watch.Event{Type: watch.Modified}
	switch {
	case data == nil:
		delete(m.entries, key)
		change.Type, data = watch.Deleted, before.data
	case since == 0:
		change.Type = watch.Added
		fallthrough
	default:
		m.entries[key] = entry{data: data, revision: m.revision}
	}
	for w := range m.watchers {
		if strings.HasPrefix(key, w.prefix) {
			w.tell(change.Type, data, m.revision)
		}
	}
	return m.revision
}

// view is the memory in one version of a resource.
type view struct {
	*memory
	storage.APIObjectVersioner
	codec   runtime.Codec
	prefix  string
	newItem func() runtime.Object
}

var _ storage.Interface = &view{}

var errNotSimulated = errors.New("the store in memory does not do that")

// Versioner writes resource versions.
func (v *view) Versioner() storage.Versioner { return v.APIObjectVersioner }

// decode makes stored bytes the object that out points to.
func (v *view) decode(data []byte, out runtime.Object, revision uint64) error {
	if _, _, err := v.codec.Decode(data, nil, out); err != nil {
		return err
	}
	return v.UpdateObject(out, revision)
}

func (v *view) encode(o runtime.Object) ([]byte, error) {
	if err := v.PrepareObjectForStorage(o); err != nil {
		return nil, err
	}
	return runtime.Encode(v.codec, o)
}

// Create stores a new object.
func (v *view) Create(_ context.Context, key string, o, out runtime.Object, _ uint64) error {
	if version, err := v.ObjectResourceVersion(o); err == nil && version != 0 {
		return storage.ErrResourceVersionSetOnCreate
	}
	data, err := v.encode(o)
	if err != nil {
		return err
	}
	revision := v.swap(key, 0, data)
	if revision == 0 {
		return storage.NewKeyExistsError(key, 0)
	}
	if out == nil {
		return nil
	}
	return v.decode(data, out, revision)
}

// Get answers with what is stored.
func (v *view) Get(_ context.Context, key string, options storage.GetOptions, out runtime.Object) error {
	found, is := v.at(key)
	switch {
	case is:
		return v.decode(found.data, out, found.revision)
	case options.IgnoreNotFound:
		return runtime.SetZeroValue(out)
	}
	return storage.NewKeyNotFoundError(key, 0)
}

// current is what is stored at a key, as a new object of the kind of another: an empty one where nothing is.
func (v *view) current(key string, kind runtime.Object) (runtime.Object, entry, error) {
	value, err := conversion.EnforcePtr(kind)
	if err != nil {
		return nil, entry{}, err
	}
	var o runtime.Object
	if u, is := value.Addr().Interface().(runtime.Unstructured); is {
		o = u.NewEmptyInstance()
	} else {
		o, _ = reflect.New(value.Type()).Interface().(runtime.Object)
	}
	found, is := v.at(key)
	if !is {
		return o, entry{}, runtime.SetZeroValue(o)
	}
	return o, found, v.decode(found.data, o, found.revision)
}

// Delete takes an object away.
func (v *view) Delete(ctx context.Context, key string, out runtime.Object, preconditions *storage.Preconditions,
	validate storage.ValidateObjectFunc, _ runtime.Object, _ storage.DeleteOptions,
) error {
	for {
		o, found, err := v.current(key, out)
		if err != nil {
			return err
		}
		if found.revision == 0 {
			return storage.NewKeyNotFoundError(key, 0)
		}
		if preconditions != nil {
			if err := preconditions.Check(key, o); err != nil {
				return err
			}
		}
		if err := validate(ctx, o); err != nil {
			return err
		}
		if revision := v.swap(key, found.revision, nil); revision != 0 {
			return v.decode(found.data, out, revision)
		}
	}
}

// GuaranteedUpdate changes an object, again and again until nobody came in between.
func (v *view) GuaranteedUpdate(_ context.Context, key string, destination runtime.Object, ignoreNotFound bool,
	preconditions *storage.Preconditions, update storage.UpdateFunc, _ runtime.Object,
) error {
	for {
		o, found, err := v.current(key, destination)
		if err != nil {
			return err
		}
		if found.revision == 0 && !ignoreNotFound {
			return storage.NewKeyNotFoundError(key, 0)
		}
		if err := preconditions.Check(key, o); err != nil {
			return err
		}
		wanted, _, err := update(o, storage.ResponseMeta{ResourceVersion: found.revision})
		if err != nil {
			return err
		}
		data, err := v.encode(wanted)
		if err != nil {
			return err
		}
		if bytes.Equal(data, found.data) {
			return v.decode(data, destination, found.revision)
		}
		if revision := v.swap(key, found.revision, data); revision != 0 {
			return v.decode(data, destination, revision)
		}
	}
}

// GetList answers with all objects below a key.
func (v *view) GetList(_ context.Context, key string, options storage.ListOptions, list runtime.Object) error {
	if !options.Recursive || !options.Predicate.Empty() {
		return fmt.Errorf("listing %q by name or selector: %w", key, errNotSimulated)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	var items []runtime.Object
	for at, found := range v.entries {
		if !strings.HasPrefix(at, directory(key)) {
			continue
		}
		item := v.newItem()
		if err := v.decode(found.data, item, found.revision); err != nil {
			return err
		}
		items = append(items, item)
	}
	if err := meta.SetList(list, items); err != nil {
		return err
	}
	return v.UpdateList(list, v.revision, "", nil)
}

func directory(key string) string { return strings.TrimSuffix(key, "/") + "/" }

// Stats tells nothing.
func (v *view) Stats(context.Context) (storage.Stats, error) { return storage.Stats{}, nil }

// ReadinessCheck finds nothing wrong.
func (v *view) ReadinessCheck() error { return nil }

// RequestWatchProgress has nothing to do: a watch never lags.
func (v *view) RequestWatchProgress(context.Context) error { return nil }

// GetCurrentResourceVersion is the revision of the last write.
func (v *view) GetCurrentResourceVersion(context.Context) (uint64, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.revision, nil
}

// EnableResourceSizeEstimation has nothing to do: nobody asks for a size.
func (v *view) EnableResourceSizeEstimation(storage.KeysFunc) error { return nil }

// CompactRevision is 0: nothing was compacted.
func (v *view) CompactRevision() int64 { return 0 }
