package together

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// A certificate that a caller is told to have and that is not in the record (it was restored from a backup) cannot be revoked by the
// record. To say that it is revoked is wrong.
func TestWhatIsNotInTheRecordIsNotSaidToBeRevoked(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.newClient("shop", "one", nil)
	w.pass(w.clients, "shop", "one")
	var backup corev1.SecretList
	if err := w.admin.List(t.Context(), &backup, client.InNamespace(agentNS)); err != nil {
		t.Fatal(err)
	}
	w.after(time.Minute)
	w.newClient("shop", "two", nil)
	w.pass(w.clients, "shop", "two")
	for i := range backup.Items { // the shard is restored
		if b := &backup.Items[i]; strings.Contains(b.Name, "-serials-") {
			s := w.secret(agentNS, b.Name)
			s.Data = b.Data
			if err := w.admin.Update(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.cluster = cluster.New(w.view, w.admin, agentNS) // an agent that begins
	w.clients.Cluster, w.authority.Cluster = w.cluster, w.cluster
	w.revoked("two")
}

// revoked revokes a caller, and holds what is told to what the CRL lists.
func (w *world) revoked(name string) {
	w.t.Helper()
	c := &v1alpha1.ClientCertificate{}
	w.get(c, "shop", name)
	c.Spec.Revocation = &v1alpha1.ClientRevocation{Reason: v1alpha1.RevokedKeyCompromise}
	c.Generation++
	if err := w.admin.Update(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
	for range 3 {
		ctx, cancel := context.WithTimeout(w.t.Context(), 300*time.Millisecond)
		_, _ = w.clients.Reconcile(ctx, requestFor("shop", name))
		cancel()
		w.after(time.Second)
		_, _ = w.try(w.authority, "shop", "default")
	}
	w.get(c, "shop", name)
	trust := &corev1.ConfigMap{}
	w.get(trust, "shop", "default-mtls-trust")
	crls, err := pki.ParseCRLs([]byte(trust.Data["ca.crl"]))
	if err != nil {
		w.t.Fatal(err)
	}
	serial, err := pki.ParseSerial(c.Status.Serial)
	if err != nil {
		w.t.Fatal(err)
	}
	if said := c.Status.Conditions[0]; said.Reason != "Revoked" || !crls[0].Lists(serial) {
		w.t.Errorf("certificate %s of %s is in the CRL: %t, and the status says: %s", serial, name, crls[0].Lists(serial), said.Message)
	}
}

// A shard of the record that is lost in the middle does not end the search for what is to be revoked.
func TestARevocationGoesBeyondAGapInTheRecord(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	a := w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	record, err := w.cluster.Record(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	serial := func(text string) pki.Serial {
		s, err := pki.ParseSerial(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	issue := func(text, caller string) {
		if err := w.cluster.RecordSerial(t.Context(), record, rotate.IssuedSerial{Serial: serial(text), NotAfter: began.Add(time.Hour), Generation: "g1", Caller: caller}, began); err != nil {
			t.Fatal(err)
		}
	}
	issue("7f01", "ns/first")
	first := w.secret(agentNS, record.Name+"-serials-000")
	line := string(first.Data["serials"])
	first.Data["serials"] = []byte(strings.Repeat(line, 40<<10/len(line)))
	if err := w.admin.Update(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	issue("7f02", "ns/second") // into the second shard
	if err := w.admin.Delete(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	agent := cluster.New(w.view, w.admin, agentNS)
	n, err := agent.RevokeCaller(t.Context(), record, "ns/second", cluster.ToldCertificate{Serial: serial("7f02").String(), NotAfter: began.Add(time.Hour)}, rotate.Revocation{At: began, Reason: 1}, began)
	if n != 1 || err != nil {
		t.Errorf("%d certificates were revoked, error %v: the record of the caller is in the second shard", n, err)
	}
}
