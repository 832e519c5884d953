package apirule

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/condition"
	"sallyport.dev/sallyport/internal/controller/pass"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/mutate"
)

// seed of the digests of what is written; they are compared in this process alone.
var seed = maphash.MakeSeed()

// writeGateway makes a managed Gateway as wanted. What its APIRule asks for anew is written at once, what somebody keeps writing back
// once a minute.
func (r *Reconciler) writeGateway(ctx context.Context, wanted map[string]any, owner intent.Owner, now time.Time) (cluster.Outcome, *unstructured.Unstructured, error) {
	content, err := json.Marshal(wanted)
	if err != nil {
		return "", nil, fmt.Errorf("encoding the Gateway of %s: %w", owner, err)
	}
	key, version := client.ObjectKeyFromObject(&unstructured.Unstructured{Object: wanted}), ""
	digest := strconv.FormatUint(maphash.Bytes(seed, content), 16)
	outcome, gateway, err := r.Cluster.WriteGateway(ctx, wanted, owner, func(stored *unstructured.Unstructured) bool {
		version = stored.GetResourceVersion()
		return r.repairs.Behind(stored) || r.repairs.May(key, digest, now) // the API server refuses what is behind
	})
	if outcome == cluster.Created || outcome == cluster.Updated {
		r.repairs.Note(key, version, digest, now)
	}
	return outcome, gateway, err
}

// movesOf is what is written back where an APIRule is moved, for people.
const movesOf = "spec.gateway of this APIRule"

// fought tells what somebody keeps writing back of an APIRule and its managed Gateway, where it stands otherwise than asked for
// because of that, and after which time to look again.
func (r *Reconciler) fought(rule, gateway *unstructured.Unstructured, now time.Time) (told []metav1.Condition, wait time.Duration) {
	if contest, again, fought := r.repairs.Contest(client.ObjectKeyFromObject(gateway), "the Gateway of this APIRule", now); fought {
		told, wait = []metav1.Condition{contest}, pass.At(again, now).RequeueAfter
	}
	if contest, again, fought := r.moves.Contest(client.ObjectKeyFromObject(rule), movesOf, now); fought {
		told, wait = []metav1.Condition{contest}, pass.At(again, now).RequeueAfter
	}
	return append(told, elsewhere(rule, gateway)...), wait
}

// elsewhere says that an APIRule does not name its managed Gateway; nothing if it does.
func elsewhere(rule, managed *unstructured.Unstructured) []metav1.Condition {
	namespace, name, named := mutate.GatewayOf(rule.Object)
	if named && namespace == managed.GetNamespace() && name == managed.GetName() {
		return nil
	}
	message := fmt.Sprintf("the APIRule is stored without its Gateway %s in spec.gateway: whoever calls it elsewhere is asked for no certificate", client.ObjectKeyFromObject(managed))
	return []metav1.Condition{
		condition.False(v1alpha1.ConditionProgrammed, v1alpha1.ReasonNotMutual, message), condition.False(v1alpha1.ConditionReady, v1alpha1.ReasonNotMutual, message),
	}
}
