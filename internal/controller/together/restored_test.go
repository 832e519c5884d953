package together

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/pkg/pki"
)

// Only the Secret of the record is restored, from the time at which the next generation was trusted and did not issue yet. By then it
// has issued for months, and the one before is gone. The highest number is the same in both, and the retired CA issues again.
func TestARecordRestoredFromTheSameGenerationIsFoundOut(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.newAuthority("shop", "default", func(a *v1alpha1.CertificateAuthority) { a.Spec.Rotation.Proof = v1alpha1.ProofTime })
	w.pass(w.authority, "shop", "default")
	first := w.active("shop", "default")
	var backup *corev1.Secret
	status := func() *v1alpha1.CertificateAuthority {
		a := &v1alpha1.CertificateAuthority{}
		w.get(a, "shop", "default")
		return a
	}
	state := func(id string) v1alpha1.GenerationState {
		for _, g := range status().Status.Generations {
			if g.ID == id {
				return g.State
			}
		}
		return ""
	}
	record, err := w.cluster.Record(t.Context(), status())
	if err != nil {
		t.Fatal(err)
	}
	for range 400 { // 10 years at most, 9 days each
		w.pass(w.authority, "shop", "default")
		if state("g2") == v1alpha1.GenerationTrusted {
			backup = w.secret(agentNS, record.Name)
		}
		if state("g2") == v1alpha1.GenerationActive && state("g1") == "" {
			break
		}
		w.after(9 * 24 * time.Hour)
	}
	if backup == nil || state("g2") != v1alpha1.GenerationActive || state("g1") != "" {
		t.Fatalf("it came to %+v", status().Status.Generations)
	}
	s := w.secret(agentNS, record.Name)
	s.Data = backup.Data
	if err := w.admin.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	agent := cluster.New(w.view, w.admin, agentNS) // one that begins
	w.authority.Cluster = agent
	if record, err = agent.Record(t.Context(), status()); err != nil {
		t.Fatal(err)
	}
	stored, err := agent.Ledger(t.Context(), record)
	if errors.Is(err, cluster.ErrLedgerRegressed) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	issues, _ := stored.Ledger.Active()
	if issues.Authority.Certificate().SubjectKeyID() == first {
		t.Errorf("%s, which was withdrawn and is gone by the status, issues again (status: %v active)", issues.ID, status().Status.Generations[0].ID)
	}
	w.pass(w.authority, "shop", "default")
	trust := &corev1.ConfigMap{}
	w.get(trust, "shop", "default-mtls-trust")
	cas, err := pki.ParseCertificates([]byte(trust.Data["ca.crt"]))
	if err != nil {
		t.Fatal(err)
	}
	for _, ca := range cas {
		if ca.SubjectKeyID() == first {
			t.Errorf("after a pass the retired CA is published again; states %v", status().Status.Generations)
		}
	}
}
