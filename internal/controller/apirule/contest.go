package apirule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/condition"
	"sallyport.dev/sallyport/internal/controller/pass"
	"sallyport.dev/sallyport/internal/controller/repairs"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/mutate"
)

// seed of the digests of what is written; they are compared in this process alone.
var seed = maphash.MakeSeed()

// writeGateway makes a managed Gateway as wanted. What its APIRule asks for anew is written at once, what somebody keeps writing back
// once a minute: until then it is returned as wanted, so that nothing is made for what the other one wrote. Otherwise is whether what
// is stored serves otherwise.
func (r *Reconciler) writeGateway(ctx context.Context, wanted map[string]any, owner intent.Owner, now time.Time) (outcome cluster.Outcome, gateway *unstructured.Unstructured, otherwise bool, err error) {
	content, err := json.Marshal(wanted)
	if err != nil {
		return "", nil, false, fmt.Errorf("encoding the Gateway of %s: %w", owner, err)
	}
	key, version := client.ObjectKeyFromObject(&unstructured.Unstructured{Object: wanted}), ""
	digest := strconv.FormatUint(maphash.Bytes(seed, content), 16)
	outcome, gateway, err = r.Cluster.WriteGateway(ctx, wanted, owner, func(stored *unstructured.Unstructured) (bool, error) {
		version, otherwise = stored.GetResourceVersion(), !apiequality.Semantic.DeepEqual(stored.Object["spec"], wanted["spec"])
		if r.repairs.Behind(stored, now) {
			return false, behind("gateways", key.Name)
		}
		return r.repairs.May(key, digest, now), nil
	})
	switch outcome {
	case cluster.Created, cluster.Updated:
		otherwise = false
		r.repairs.Note(key, version, digest, now)
	case cluster.Undone:
		otherwise = true
		r.repairs.Note(key, version, digest, now)
	case cluster.Unchanged, cluster.Foreign, cluster.Held:
	}
	return outcome, gateway, otherwise, err
}

// behind is the error of a pass that finds an object as it was before it was written.
func behind(resource, name string) error {
	return apierrors.NewConflict(schema.GroupResource{Resource: resource}, name, errors.New("the cache has not seen what was written"))
}

// movesOf is what is written back where an APIRule is moved, for people.
const movesOf = "spec.gateway of this APIRule"

// fought tells what somebody keeps writing back of an APIRule and its managed Gateway, where it stands otherwise than asked for
// because of that, and after which time to look again. Otherwise is whether the Gateway serves otherwise.
func (r *Reconciler) fought(rule, gateway *unstructured.Unstructured, otherwise bool, now time.Time) (told []metav1.Condition, wait time.Duration) {
	var messages []string
	var next time.Time
	for _, of := range []struct {
		repairs *repairs.Repairs
		object  client.Object
		what    string
	}{{&r.repairs, gateway, "the Gateway of this APIRule"}, {&r.moves, rule, movesOf}} {
		contest, again, fought := of.repairs.Contest(client.ObjectKeyFromObject(of.object), of.what, now)
		if !fought {
			continue
		}
		if messages = append(messages, contest.Message); next.IsZero() || again.Before(next) {
			next = again
		}
		contest.Message = strings.Join(messages, "; ")
		told = []metav1.Condition{contest}
	}
	if otherwise {
		if next.IsZero() {
			next = now.Add(repairs.Lag) // another webhook undid it
		}
		told = append(told, asideOf(v1alpha1.ReasonForeignChange, fmt.Sprintf("Gateway %s is stored with other than what this APIRule asks for", client.ObjectKeyFromObject(gateway)))...)
	}
	return condition.Instead(told, elsewhere(rule, gateway)...), pass.At(next, now).RequeueAfter
}

// elsewhere says that an APIRule does not name its managed Gateway; nothing if it does.
func elsewhere(rule, managed *unstructured.Unstructured) []metav1.Condition {
	namespace, name, named := mutate.GatewayOf(rule.Object)
	if named && namespace == managed.GetNamespace() && name == managed.GetName() {
		return nil
	}
	message := fmt.Sprintf("the APIRule is stored without its Gateway %s in spec.gateway: whoever calls it elsewhere is asked for no certificate", client.ObjectKeyFromObject(managed))
	return asideOf(v1alpha1.ReasonNotMutual, message)
}

// asideOf says that an APIRule is not served as it asks for.
func asideOf(reason, message string) []metav1.Condition {
	return []metav1.Condition{condition.False(v1alpha1.ConditionProgrammed, reason, message), condition.False(v1alpha1.ConditionReady, reason, message)}
}
