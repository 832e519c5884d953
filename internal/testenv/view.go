package testenv

import (
	"context"
	"fmt"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/pkg/intent"
)

// View is a client that shows what the agent's cache shows: of Secrets those with our
// label, and lists by the indexes that were declared. It reads from the API server, so
// that it is never behind. Writes go through.
type View struct {
	client.Client
	indexes map[string]client.IndexerFunc
}

// NewView returns a View through a client.
func NewView(c client.Client) *View {
	return &View{Client: c, indexes: map[string]client.IndexerFunc{}}
}

func indexKey(o client.Object, field string) string {
	if kind := o.GetObjectKind().GroupVersionKind().Kind; kind != "" {
		return kind + "/" + field
	}
	return reflect.TypeOf(o).Elem().Name() + "/" + field
}

// IndexField declares an index, as a manager's field indexer does.
func (v *View) IndexField(_ context.Context, o client.Object, field string, values client.IndexerFunc) error {
	v.indexes[indexKey(o, field)] = values
	return nil
}

// Get hides Secrets without our label.
func (v *View) Get(ctx context.Context, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
	if err := v.Client.Get(ctx, key, o, options...); err != nil {
		return err
	}
	if secret, ok := o.(*corev1.Secret); ok && secret.Labels[intent.KeyManaged] != "true" {
		return apierrors.NewNotFound(corev1.Resource("secrets"), key.Name)
	}
	return nil
}

// List hides Secrets without our label, and answers by declared indexes.
func (v *View) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	applied := (&client.ListOptions{}).ApplyOptions(options)
	wanted := applied.FieldSelector
	applied.FieldSelector = nil
	if err := v.Client.List(ctx, list, applied); err != nil {
		return err
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		return fmt.Errorf("reading a list: %w", err)
	}
	var shown []runtime.Object
	for _, item := range items {
		o, ok := item.(client.Object)
		if !ok {
			continue
		}
		if secret, is := o.(*corev1.Secret); is && secret.Labels[intent.KeyManaged] != "true" {
			continue
		}
		matches := true
		if wanted != nil {
			for _, requirement := range wanted.Requirements() {
				has, err := v.has(o, requirement.Field, requirement.Value)
				if err != nil {
					return err
				}
				matches = matches && has
			}
		}
		if matches {
			shown = append(shown, item)
		}
	}
	return meta.SetList(list, shown)
}

func (v *View) has(o client.Object, field, value string) (bool, error) {
	values, ok := v.indexes[indexKey(o, field)]
	if !ok {
		return false, fmt.Errorf("listing by %s: no such index was declared", indexKey(o, field))
	}
	for _, found := range values(o) {
		if found == value {
			return true, nil
		}
	}
	return false, nil
}
