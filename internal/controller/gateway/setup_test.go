package gateway

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/programming"
	"sallyport.dev/sallyport/pkg/intent"
)

// What an authority's record says changes what gateways trust; that one more caller has a certificate does not, and that is written
// down all the time.
func TestOnlyTheKeysOfAnAuthorityHaveItsUsersLookedAt(t *testing.T) {
	authority := types.NamespacedName{Namespace: "shop", Name: "default"}
	r := &Reconciler{Interests: programming.NewInterests()}
	r.Interests.Set([]types.NamespacedName{authority}, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "edge"}})
	for holds, expected := range map[string]int{"keys": 1, "serials": 0} {
		secret := &corev1.Secret{}
		secret.Labels = map[string]string{intent.KeyLedger: holds}
		cluster.Mark(secret, intent.Owner{Kind: programming.KindAuthority, Namespace: authority.Namespace, Name: authority.Name, UID: "1"})
		if found := r.ofSecret(t.Context(), secret); len(found) != expected {
			t.Errorf("a Secret of %s has %d looked at, expected %d", holds, len(found), expected)
		}
	}
}
