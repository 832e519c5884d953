package main

import (
	"context"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/intact"
)

// admissionKinds are those of the admission objects of the chart that are compared with what was installed.
func (o Options) admissionKinds() []string {
	if o.AdmissionDigests == "" {
		return nil
	}
	kinds := []string{"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
	if o.PolicyOptIn {
		kinds = append(kinds, "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding")
	}
	return kinds
}

func newAdmissionObject(kind string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetAPIVersion("admissionregistration.k8s.io/v1")
	u.SetKind(kind)
	return u
}

// charted is what the chart labels all of its objects with.
func charted() labels.Selector {
	return labels.SelectorFromSet(labels.Set{"app.kubernetes.io/name": "sallyport"})
}

// admission compares the admission objects that are stored with those that were installed; nil if nobody says what was.
func admission(ctx context.Context, from cache.Cache, o Options) (*intact.Comparison, error) {
	if o.AdmissionDigests == "" {
		return nil, nil //nolint:nilnil // nothing is compared
	}
	stored := map[string]intact.Stored{}
	for _, kind := range o.admissionKinds() {
		informer, err := from.GetInformer(ctx, newAdmissionObject(kind), cache.BlockUntilSynced(false))
		if err != nil {
			return nil, fmt.Errorf("watching every %s: %w", kind, err)
		}
		shared, ok := informer.(toolscache.SharedInformer)
		if !ok {
			return nil, fmt.Errorf("watching every %s: the informer is a %T, which shows no store", kind, informer)
		}
		stored[kind] = admissionObjects{shared}
	}
	return intact.Compare(func() (intact.Installed, error) {
		data, err := os.ReadFile(o.AdmissionDigests)
		if err != nil {
			return nil, fmt.Errorf("reading --admission-digests: %w", err)
		}
		return intact.Parse(data)
	}, stored), nil
}

// admissionObjects are those of one kind.
type admissionObjects struct{ toolscache.SharedInformer }

// Synced is whether all are known.
func (a admissionObjects) Synced() bool { return a.HasSynced() }

// Object is the one of a name.
func (a admissionObjects) Object(name string) *unstructured.Unstructured {
	object, _, err := a.GetStore().GetByKey(name)
	if err != nil {
		return nil
	}
	u, _ := object.(*unstructured.Unstructured)
	return u
}

// admissionCache cuts the cache down to the chart's own.
func admissionCache(o Options, objects map[client.Object]cache.ByObject) {
	for _, kind := range o.admissionKinds() {
		objects[newAdmissionObject(kind)] = cache.ByObject{Label: charted()}
	}
}
