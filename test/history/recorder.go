package history

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	watchtools "k8s.io/client-go/tools/watch"
)

// Recorder takes every revision that the API server tells of.
type Recorder struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu        sync.Mutex
	revisions []Revision
	err       error
}

// resources are what is recorded.
var resources = map[string]schema.GroupVersionResource{
	Secret:            {Version: "v1", Resource: "secrets"},
	ConfigMap:         {Version: "v1", Resource: "configmaps"},
	ClientCertificate: {Group: "mtls.sallyport.dev", Version: "v1alpha1", Resource: "clientcertificates"},
	Gateway:           {Group: "networking.istio.io", Version: "v1", Resource: "gateways"},
}

// Record begins with what there is, and goes on until Stop. A watch that breaks goes on where it
// was; if that is not possible, Stop says so.
func Record(ctx context.Context, config *rest.Config) (*Recorder, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("recording a history: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &Recorder{cancel: cancel}
	for kind, resource := range resources {
		if err := r.begin(ctx, kind, client.Resource(resource)); err != nil {
			cancel()
			return nil, fmt.Errorf("recording %s: %w", resource.Resource, err)
		}
	}
	return r, nil
}

func (r *Recorder) begin(ctx context.Context, kind string, client dynamic.ResourceInterface) error {
	list, err := client.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range list.Items {
		r.take(kind, &list.Items[i], false)
	}
	watcher, err := watchtools.NewRetryWatcherWithContext(ctx, list.GetResourceVersion(), watching{client})
	if err != nil {
		return err
	}
	r.done.Go(func() {
		defer watcher.Stop()
		for event := range watcher.ResultChan() {
			object, ok := event.Object.(*unstructured.Unstructured)
			if !ok || event.Type == watch.Error {
				r.fail(fmt.Errorf("%s: the watch told %s %v", kind, event.Type, event.Object))
				return
			}
			r.take(kind, object, event.Type == watch.Deleted)
		}
	})
	return nil
}

// watching is a watch of one kind.
type watching struct{ dynamic.ResourceInterface }

// WatchWithContext begins one.
func (w watching) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	return w.Watch(ctx, options)
}

func (r *Recorder) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = errors.Join(r.err, err)
}

func (r *Recorder) take(kind string, object *unstructured.Unstructured, deleted bool) {
	number, err := strconv.ParseInt(object.GetResourceVersion(), 10, 64)
	revision := Revision{
		Number: number, At: time.Now(), Key: Key{kind, object.GetNamespace(), object.GetName()}, Labels: object.GetLabels(), Deleted: deleted,
	}
	if err == nil {
		revision.Data, err = data(kind, object)
	}
	if err != nil {
		r.fail(fmt.Errorf("%s: %w", revision.Key, err))
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.revisions = append(r.revisions, revision)
}

// data is what of an object is looked at.
func data(kind string, object *unstructured.Unstructured) (map[string][]byte, error) {
	found := map[string][]byte{}
	switch kind {
	case Secret, ConfigMap:
		values, _, err := unstructured.NestedStringMap(object.Object, "data")
		if err != nil {
			return nil, err
		}
		for key, value := range values {
			if found[key] = []byte(value); kind == Secret {
				if found[key], err = base64.StdEncoding.DecodeString(value); err != nil {
					return nil, err
				}
			}
		}
	case ClientCertificate:
		certificate, _, err := unstructured.NestedString(object.Object, "status", "certificate")
		if certificate != "" {
			found[CertificateKey] = []byte(certificate)
		}
		return found, err
	case Gateway:
		spec, err := json.Marshal(object.Object["spec"])
		found[SpecKey] = spec
		return found, err
	}
	return found, nil
}

// Stop ends the recording, and returns what belongs to the authorities, the Gateways and the callers
// of one namespace. With an error it is not all there was.
func (r *Recorder) Stop(namespace, ingress, agents string) ([]Revision, error) {
	r.cancel()
	r.done.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	var kept []Revision
	for _, revision := range r.revisions {
		k := revision.Key
		if k.Namespace == namespace || k.Namespace == ingress && strings.HasPrefix(k.Name, namespace+".") ||
			k.Namespace == agents && revision.Labels["mtls.sallyport.dev/ledger"] != "" {
			kept = append(kept, revision)
		}
	}
	return kept, r.err
}
