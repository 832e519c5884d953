package localstack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// fieldOwner is who the API server says applied an object.
	fieldOwner = "localstack"
	crdLimit   = time.Minute
	// yamlBuffer is how much the decoder looks at to tell YAML from JSON.
	yamlBuffer = 4096
)

// Apply applies objects in their order, server-side, as the administrator. After a
// CustomResourceDefinition it waits until the kind is served, so that objects of the
// kind may follow. The objects become what the API server answered.
func (s *Stack) Apply(ctx context.Context, objects ...*unstructured.Unstructured) error {
	for _, object := range objects {
		// A dump of an object is a fair thing to apply; the API server refuses this field.
		object.SetManagedFields(nil)
		err := s.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner(fieldOwner), client.ForceOwnership)
		if err != nil {
			return fmt.Errorf("applying %s: %w", identify(object), err)
		}
		if object.GetKind() == "CustomResourceDefinition" {
			if err := s.established(ctx, object.GetName()); err != nil {
				return err
			}
		}
	}
	return nil
}

// ApplyYAML applies the documents of a manifest.
func (s *Stack) ApplyYAML(ctx context.Context, manifest string) error {
	objects, err := ParseYAML([]byte(manifest))
	if err != nil {
		return err
	}
	return s.Apply(ctx, objects...)
}

// ParseYAML reads the documents of a manifest, empty ones left out. A List is an error:
// its items would be applied under no name.
func ParseYAML(manifest []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), yamlBuffer)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading document %d of a manifest: %w", len(objects)+1, err)
		}
		if len(object.Object) == 0 {
			continue
		}
		if object.GetAPIVersion() == "" || object.GetKind() == "" || object.GetName() == "" {
			return nil, fmt.Errorf("reading document %d of a manifest: apiVersion, kind and metadata.name have to be set, found %s", len(objects)+1, identify(object))
		}
		objects = append(objects, object)
	}
}

func identify(object *unstructured.Unstructured) string {
	name := object.GetName()
	if namespace := object.GetNamespace(); namespace != "" {
		name = namespace + "/" + name
	}
	return fmt.Sprintf("%s %s %q", object.GetAPIVersion(), object.GetKind(), name)
}

// established waits until the kinds of a definition are served.
func (s *Stack) established(ctx context.Context, name string) error {
	return until(ctx, s.clock, crdLimit, "CustomResourceDefinition "+name+" to be served", nil, func(ctx context.Context) error {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := s.client.Get(ctx, client.ObjectKey{Name: name}, &crd); err != nil {
			return err
		}
		for _, condition := range crd.Status.Conditions {
			if condition.Type == apiextensionsv1.Established && condition.Status == apiextensionsv1.ConditionTrue {
				return nil
			}
		}
		return errors.New("it is not established")
	})
}
