package sequence

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// player plays one sequence: it writes one object again and again, in any way there is.
type player struct {
	*rand.Rand
	kind     string
	versions []string
	at       within
	// admin reads and takes away, as writes, and in is where MutualTLSPolicies apply; nil where none does.
	admin, as client.Client
	in        *world
	// stored is what the API server has, nil before it took anything.
	stored *unstructured.Unstructured
	// done are the operations so far, for the message.
	done []string
	// accepted, refused and warned count what the policies said.
	accepted, refused, warned int
	// outcome is what became of each write, the same wherever the sequence is played.
	outcome []string
}

var ways = []string{"update", "merge patch", "JSON patch", "apply by another, forced", "apply by another", "status", "metadata", "delete"}

// pick is any of some values.
func pick[T any](p *player, values ...T) T { return values[p.IntN(len(values))] }

// newPlayer is the player of a sequence where no MutualTLSPolicy applies.
func newPlayer(admin client.Client, seed uint64) *player {
	p := &player{Rand: rand.New(rand.NewPCG(seed, 7)), admin: admin, as: admin, kind: "Gateway", versions: []string{"networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"}}
	if p.IntN(3) == 0 {
		p.kind, p.versions = "APIRule", []string{"gateway.kyma-project.io/v2", "gateway.kyma-project.io/v2alpha1", "gateway.kyma-project.io/v1beta1"}
	}
	p.at = within{namespace: "shop", name: fmt.Sprintf("sequence-%d", seed)}
	if p.IntN(4) == 0 {
		p.at.namespace, p.at.label = "asking", "mutual"
	}
	return p
}

func (p *player) play(ctx context.Context) error {
	for range 3 + p.IntN(6) {
		if err := p.step(ctx); err != nil {
			return err
		}
	}
	return p.remove(ctx)
}

// remove deletes what is stored, at once.
func (p *player) remove(ctx context.Context) error {
	gone := p.stored
	if p.stored = nil; gone == nil {
		return nil
	}
	if len(gone.GetFinalizers()) > 0 {
		if err := p.admin.Patch(ctx, gone, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))); err != nil {
			return err
		}
	}
	return p.admin.Delete(ctx, gone)
}

// step makes one write and compares.
func (p *player) step(ctx context.Context) error {
	version := pick(p, p.versions...)
	p.at.version = version[strings.LastIndex(version, "/")+1:]
	way := "create"
	if p.stored != nil {
		way = pick(p, ways...)
		// As the API server has it in this version, which is what policies see as the old one.
		p.stored.SetAPIVersion(version)
		if err := p.admin.Get(ctx, client.ObjectKeyFromObject(p.stored), p.stored); err != nil {
			return err
		}
	}
	if way == "delete" {
		p.done = append(p.done, way)
		return p.remove(ctx)
	}
	wanted := p.next(way)
	wanted.SetAPIVersion(version)
	encoded, err := json.Marshal(map[string]any{"annotations": wanted.GetAnnotations(), "labels": wanted.GetLabels(), "spec": wanted.Object["spec"]})
	if err != nil {
		return err
	}
	p.done = append(p.done, fmt.Sprintf("%s as %s: %s", way, version, encoded))
	var old map[string]any
	if p.stored != nil {
		old = p.stored.Object
	}
	result, err := p.write(ctx, way, wanted)
	p.note(way, version, err)
	if err != nil {
		return p.explain(err, way, old, wanted)
	}
	p.accepted++
	p.stored = result
	if why := p.judge(old, result.Object); why != "" {
		return fmt.Errorf("it was stored, though %s", why)
	}
	warned, err := p.in.compareWarnings(p.kind, old, result.Object)
	p.warned += warned
	return err
}

// note keeps what became of a write. Of several policies that refuse, chance says which one speaks, so words are left out.
func (p *player) note(way, version string, err error) {
	became := "accepted"
	if err != nil {
		became = string(apierrors.ReasonForError(err))
	}
	if refusedByPolicy(err) {
		became = "refused by a policy"
	}
	p.outcome = append(p.outcome, strings.Join([]string{way, version, became}, " "))
	if p.in != nil {
		p.outcome = append(p.outcome, slices.Sorted(slices.Values(p.in.warnings))...)
	}
}

// digest stands for what became of all writes.
func (p *player) digest() uint64 {
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(strings.Join(p.outcome, "\n"))) // cannot fail
	return sum.Sum64()
}

func refusedByPolicy(err error) bool {
	return err != nil && strings.Contains(err.Error(), "ValidatingAdmissionPolicy")
}

// judge is why an object must not be stored; empty if it may.
func (p *player) judge(old, now map[string]any) string {
	if why := judge(p.kind, old, now, p.at); why != "" {
		return why
	}
	return p.in.denies(p.kind, old, now)
}

// explain holds a refusal to the reference. Another refusal than that of a policy says
// nothing: a schema's, or a conflict of two appliers.
func (p *player) explain(err error, way string, old map[string]any, wanted *unstructured.Unstructured) error {
	if !refusedByPolicy(err) {
		if strings.Contains(err.Error(), "field not declared in schema") || apierrors.IsInvalid(err) || apierrors.IsConflict(err) || apierrors.IsBadRequest(err) {
			return nil
		}
		return err
	}
	p.refused++
	switch {
	case strings.HasPrefix(way, "apply"): // what the merge came to, nobody can see
		return nil
	case way == "metadata" || way == "status":
		return fmt.Errorf("a write of %s alone was refused: %w", way, err)
	case p.judge(old, wanted.Object) == "":
		return fmt.Errorf("it was refused, and nothing is wrong with it: %w", err)
	}
	return nil
}

func (p *player) write(ctx context.Context, way string, wanted *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	result := wanted.DeepCopy()
	p.in.listen()
	switch way {
	case "create":
		return result, p.as.Create(ctx, result)
	case "update", "metadata":
		return result, p.as.Update(ctx, result)
	case "status":
		return result, p.as.Status().Update(ctx, result)
	case "merge patch":
		before := p.stored.DeepCopy()
		before.SetAPIVersion(wanted.GetAPIVersion())
		return result, p.as.Patch(ctx, result, client.MergeFrom(before))
	case "JSON patch":
		operations, err := json.Marshal([]map[string]any{
			{"op": "add", "path": "/metadata/annotations", "value": table(wanted.Object, "metadata", "annotations")},
			{"op": "add", "path": "/metadata/labels", "value": table(wanted.Object, "metadata", "labels")},
			{"op": "add", "path": "/spec", "value": wanted.Object["spec"]},
		})
		if err != nil {
			return nil, err
		}
		return result, p.as.Patch(ctx, result, client.RawPatch(types.JSONPatchType, operations))
	}
	result.SetManagedFields(nil)
	result.SetResourceVersion("")
	options := []client.ApplyOption{client.FieldOwner("another")}
	if way == "apply by another, forced" {
		options = append(options, client.ForceOwnership)
	}
	return result, p.as.Apply(ctx, client.ApplyConfigurationFromUnstructured(result), options...)
}

// next is what the next write wants: a new object, or the stored one with changes.
func (p *player) next(way string) *unstructured.Unstructured {
	if p.stored == nil {
		o := &unstructured.Unstructured{Object: map[string]any{"kind": p.kind, "metadata": map[string]any{"namespace": p.at.namespace, "name": p.at.name}}}
		p.renew(o)
		return o
	}
	o := p.stored.DeepCopy()
	switch way {
	case "metadata":
		switch p.IntN(3) {
		case 0:
			o.SetLabels(map[string]string{"changed": strconv.Itoa(p.IntN(100))})
		case 1:
			o.SetFinalizers(pick(p, []string{"example.com/a"}, nil))
		case 2:
			if err := unstructured.SetNestedSlice(o.Object, []any{map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": strconv.Itoa(p.IntN(100))}}, "metadata", "ownerReferences"); err != nil {
				panic(err)
			}
		}
		p.keepLabels(o)
	case "status":
		o.Object["spec"] = p.spec()
	default:
		p.renew(o)
	}
	return o
}

// keepLabels keeps labels of ours that are stored: to take one away is no change of
// metadata alone.
func (p *player) keepLabels(o *unstructured.Unstructured) {
	labels := o.GetLabels()
	for key, value := range p.stored.GetLabels() {
		if strings.HasPrefix(key, ourPrefix) {
			labels[key] = value
		}
	}
}

// renew changes annotations, the spec, or both.
func (p *player) renew(o *unstructured.Unstructured) {
	if p.stored == nil || p.IntN(3) > 0 {
		annotations := p.annotations()
		o.SetAnnotations(annotations)
	}
	if p.stored == nil || p.IntN(3) > 0 {
		o.Object["spec"] = p.spec()
	}
	p.in.vary(p, o)
	if p.IntN(20) == 0 {
		o.SetLabels(map[string]string{ourPrefix + "managed": "true"})
	}
	o.Object = runtime.DeepCopyJSON(normal(o.Object))
}
