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
	_, record := w.issued()
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
	a, record := w.issued()
	w.pass(w.authority, "shop", "default") // it tells how many shards there are
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
	record, err := agent.Record(t.Context(), a)
	if err != nil {
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

// Where nobody has a backup a person takes a shard as lost, as the condition says: it begins anew, and the value is good once.
func TestAShardIsTakenAsLost(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	a, record := w.issued()
	w.pass(w.authority, "shop", "default")
	name := record.Name + "-serials-000"
	lose := func() (condition string) {
		t.Helper()
		if err := w.admin.Delete(t.Context(), w.secret(agentNS, name)); err != nil {
			t.Fatal(err)
		}
		agent := cluster.New(w.view, w.admin, agentNS)
		w.cluster, w.authority.Cluster, w.clients.Cluster = agent, agent, agent
		w.pass(w.authority, "shop", "default")
		w.get(a, "shop", "default")
		ready := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionReady)
		if ready.Reason != v1alpha1.ReasonLedgerUnreadable {
			t.Fatalf("it is told %s: %s", ready.Reason, ready.Message)
		}
		return ready.Message
	}
	told := lose()
	_, value, is := strings.Cut(told, cluster.AcceptState+": ")
	if value, _, _ = strings.Cut(value, " "); !is || value == "" {
		t.Fatalf("it does not say how to take it as lost: %s", told)
	}
	w.change("shop", "default", func(a *v1alpha1.CertificateAuthority) { a.Annotations = map[string]string{cluster.AcceptState: value} })
	w.pass(w.authority, "shop", "default")
	w.get(a, "shop", "default")
	if ready := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionReady); ready.Reason != v1alpha1.ReasonReady || a.Status.AcceptedState != value {
		t.Errorf("when it was taken as lost with %s it is told %s: %s; used is %q", value, ready.Reason, ready.Message, a.Status.AcceptedState)
	}
	if s := w.secretIfAny(agentNS, name); s == nil || len(s.Data["serials"]) != 0 {
		t.Errorf("in its place is %v", s)
	}
	if told := lose(); strings.Contains(told, value) {
		t.Errorf("the same value takes the next loss: %s", told)
	}
}
