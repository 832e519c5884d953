package product

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	toolscache "k8s.io/client-go/tools/cache"
)

// standInForSecretVolume keeps a directory as the kubelet keeps an optional Secret
// volume: each version in a directory of its own, and one rename of the link ..data
// from one to the next, so that a reader never sees half of a change.
func (p *Product) standInForSecretVolume(ctx context.Context, name, directory string) error {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return fmt.Errorf("mounting Secret %s: %w", name, err)
	}
	if err := project(directory, "empty", nil); err != nil {
		return err
	}
	kube, err := kubernetes.NewForConfig(p.stack.Config())
	if err != nil {
		return fmt.Errorf("mounting Secret %s: %w", name, err)
	}
	secrets := kube.CoreV1().Secrets(Namespace)
	only := fields.OneTermEqualSelector("metadata.name", name).String()
	source := &toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = only
			return secrets.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = only
			return secrets.Watch(ctx, o)
		},
	}
	put := func(object any) {
		if secret, ok := object.(*corev1.Secret); ok {
			if err := project(directory, secret.ResourceVersion, secret.Data); err != nil {
				fmt.Fprintln(os.Stderr, err) // the reader goes on with what it has
			}
		}
	}
	_, informer := toolscache.NewInformerWithOptions(toolscache.InformerOptions{
		ListerWatcher: source, ObjectType: &corev1.Secret{},
		Handler: toolscache.ResourceEventHandlerFuncs{AddFunc: put, UpdateFunc: func(_, object any) { put(object) }},
	})
	go informer.RunWithContext(ctx)
	return nil
}

// project makes one version of the volume the current one.
func project(directory, version string, data map[string][]byte) error {
	versioned := filepath.Join(directory, "..v"+version)
	if err := os.MkdirAll(versioned, 0o700); err != nil {
		return fmt.Errorf("projecting a Secret volume: %w", err)
	}
	for key, value := range data {
		if err := os.WriteFile(filepath.Join(versioned, key), value, 0o600); err != nil {
			return fmt.Errorf("projecting a Secret volume: %w", err)
		}
	}
	link := filepath.Join(directory, "..data_tmp")
	_ = os.Remove(link) // of a former try
	if err := os.Symlink("..v"+version, link); err != nil {
		return fmt.Errorf("projecting a Secret volume: %w", err)
	}
	if err := os.Rename(link, filepath.Join(directory, "..data")); err != nil {
		return fmt.Errorf("projecting a Secret volume: %w", err)
	}
	for key := range data {
		if err := os.Symlink(filepath.Join("..data", key), filepath.Join(directory, key)); err != nil && !os.IsExist(err) {
			return fmt.Errorf("projecting a Secret volume: %w", err)
		}
	}
	return nil
}
