package together

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
)

// A shard whose label somebody strips is still the record of what callers hold. Without it a generation seems to have issued nothing
// that counts, and leaves what gateways trust while callers use its certificates.
func TestAShardWithoutItsLabelCounts(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	a := w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.newClient("shop", "caller", nil)
	w.pass(w.clients, "shop", "caller")
	record, err := w.cluster.Record(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	s := w.secret(agentNS, record.Name+"-serials-000")
	s.Labels = nil
	if err := w.admin.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	agent := cluster.New(w.view, w.admin, agentNS)
	issued, err := agent.Issued(t.Context(), record)
	if err == nil && issued.End["g1"].IsZero() {
		t.Error("by the record no certificate of g1 is in a caller's hands, and a rotation retires it at once")
	}
	if s = w.secret(agentNS, s.Name); s.Labels["mtls.sallyport.dev/ledger"] != "serials" || s.Labels["mtls.sallyport.dev/managed"] != "true" {
		t.Errorf("its labels are %v: the cache does not show it", s.Labels)
	}
}

// A shard that somebody deleted held certificates that callers use: it is told, nothing takes its place, and no generation that gave
// way leaves what gateways trust by what is left of the record. An agent that begins finds out too.
func TestAShardThatWasDeletedIsMissed(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	a := w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.newClient("shop", "caller", nil)
	w.pass(w.clients, "shop", "caller")
	w.pass(w.authority, "shop", "default") // it tells how many shards there are
	record, err := w.cluster.Record(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	lost := w.secret(agentNS, record.Name+"-serials-000")
	if err := w.admin.Delete(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	agent := cluster.New(w.view, w.admin, agentNS) // one that begins
	w.cluster, w.authority.Cluster, w.clients.Cluster = agent, agent, agent
	w.newClient("shop", "other", nil)
	w.pass(w.clients, "shop", "other")
	w.pass(w.authority, "shop", "default")
	w.get(a, "shop", "default")
	ready := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionReady)
	if ready.Reason != v1alpha1.ReasonLedgerUnreadable || !strings.Contains(ready.Message, lost.Name+": it is gone") {
		t.Errorf("it is told %s: %s", ready.Reason, ready.Message)
	}
	if w.secretIfAny(agentNS, lost.Name) != nil {
		t.Error("another one took its place, and hides that it was lost")
	}
	if record, err = agent.Record(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if issued, err := agent.Issued(t.Context(), record); err != nil || len(issued.Incomplete) != 1 || issued.End["g1"].IsZero() {
		t.Errorf("what is left says %+v, error %v", issued, err)
	}
	lost.ResourceVersion, lost.UID = "", ""
	w.put(lost) // from a backup
	w.pass(w.authority, "shop", "default")
	w.get(a, "shop", "default")
	if ready := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionReady); ready.Reason != v1alpha1.ReasonReady {
		t.Errorf("when it was restored it is told %s: %s", ready.Reason, ready.Message)
	}
}
