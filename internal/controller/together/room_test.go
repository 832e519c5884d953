package together

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/pki"
)

// What one caller had recorded (TestAForeignSecretCostsNoSerials) does not keep the revocation of another out of the CRL.
func TestARevocationOfOneCallerKeepsNoOthersOut(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	a := w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.newClient("mallory", "caller", nil)
	w.pass(w.clients, "mallory", "caller")
	w.newClient("shop", "stolen", nil)
	w.pass(w.clients, "shop", "stolen")
	record, err := w.cluster.Record(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	shard := w.secret(agentNS, record.Name+"-serials-000")
	line := strings.Fields(strings.Split(string(shard.Data["serials"]), "\n")[0])
	const many = 12_000 // 50 hours of one foreign Secret, or an hour of fifty
	for n := 0; n < many; {
		var lines strings.Builder
		for ; n < many && lines.Len() < 400<<10; n++ {
			fmt.Fprintf(&lines, "7f%030x %s %s %s\n", n, line[1], line[2], line[3])
		}
		s := shard.DeepCopy()
		s.ResourceVersion, s.UID = "", ""
		s.Name = fmt.Sprintf("%s-serials-%03d", record.Name, 1+n/1000)
		s.Data = map[string][]byte{"serials": []byte(lines.String())}
		for i := 1; w.secretIfAny(agentNS, s.Name) != nil || i == 1; i++ {
			s.Name = fmt.Sprintf("%s-serials-%03d", record.Name, i)
		}
		w.put(s)
	}
	revoke := func(namespace, name string) {
		c := &v1alpha1.ClientCertificate{}
		w.get(c, namespace, name)
		c.Spec.Revocation = &v1alpha1.ClientRevocation{Reason: v1alpha1.RevokedKeyCompromise}
		c.Generation++
		if err := w.admin.Update(w.t.Context(), c); err != nil {
			w.t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(w.t.Context(), 3*time.Second)
		defer cancel()
		_, _ = w.clients.Reconcile(ctx, requestFor(namespace, name))
		_, _ = w.try(w.authority, "shop", "default")
	}
	revoke("mallory", "caller")
	w.after(time.Minute)
	revoke("shop", "stolen")
	c := &v1alpha1.ClientCertificate{}
	w.get(c, "shop", "stolen")
	trust := &corev1.ConfigMap{}
	w.get(trust, "shop", "default-mtls-trust")
	crls, err := pki.ParseCRLs([]byte(trust.Data["ca.crl"]))
	if err != nil {
		t.Fatal(err)
	}
	serial, err := pki.ParseSerial(c.Status.Serial)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the CRL has %d entries and %d bytes", crls[0].Entries(), len(trust.Data["ca.crl"]))
	w.get(a, "shop", "default")
	for _, c := range a.Status.Conditions {
		if c.Type == v1alpha1.ConditionRevocationCurrent {
			t.Logf("%s: %s", c.Reason, c.Message)
		}
	}
	if !crls[0].Lists(serial) {
		t.Errorf("the stolen certificate of shop is in no CRL, because mallory's revoked ones do not fit")
	}
}
