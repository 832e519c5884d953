package together

import (
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/pkg/rotate"
)

// A shard of what was issued that somebody truncated holds up neither CRLs nor what is to be thrown out, or at least it is told.
func TestAShardThatCannotBeReadIsTold(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	a, record := w.issued()
	s := w.secret(agentNS, record.Name+"-serials-000")
	whole := s.Data["serials"]
	s.Data["serials"] = whole[:len(whole)-3]
	if err := w.admin.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	stolen := w.active("shop", "default")
	w.change("shop", "default", compromise(stolen))
	var err error
	for range 5 {
		w.after(7 * 24 * time.Hour) // a CRL is due with each, and ends after 30 days
		_, err = w.try(w.authority, "shop", "default")
	}
	if err != nil {
		t.Fatal(err)
	}
	if w.active("shop", "default") == stolen {
		t.Error("the stolen key issues on")
	}
	told := func() (ready, revocation metav1.Condition) {
		w.get(a, "shop", "default")
		return *meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionReady), *meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionRevocationCurrent)
	}
	ready, revocation := told()
	if ready.Reason != v1alpha1.ReasonLedgerUnreadable || !strings.Contains(ready.Message, s.Name) {
		t.Errorf("it is told %s: %s", ready.Reason, ready.Message)
	}
	if revocation.Status != metav1.ConditionTrue {
		t.Errorf("after 35 days its CRLs are told %s: %s", revocation.Reason, revocation.Message)
	}
	s = w.secret(agentNS, s.Name)
	s.Data["serials"] = whole
	if err := w.admin.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	w.pass(w.authority, "shop", "default")
	if ready, _ := told(); ready.Status != metav1.ConditionTrue {
		t.Errorf("when it was restored it is told %s: %s", ready.Reason, ready.Message)
	}
}

// A revocation is written where it can be, and is not said to be done before all of the record could be read.
func TestAShardThatCannotBeReadKeepsNoOtherRevocationBack(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	w.newAuthority("shop", "default", nil)
	w.pass(w.authority, "shop", "default")
	w.newClient("shop", "caller", nil)
	w.pass(w.clients, "shop", "caller")
	a := &v1alpha1.CertificateAuthority{}
	w.get(a, "shop", "default")
	record, err := w.cluster.Record(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	s := w.secret(agentNS, record.Name+"-serials-000")
	whole := s.Data["serials"]
	s.Data["serials"] = whole[:len(whole)-3]
	if err := w.admin.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	var c v1alpha1.ClientCertificate
	w.get(&c, "shop", "caller")
	newest := cluster.ToldCertificate{Serial: c.Status.Serial, NotAfter: c.Status.NotAfter.Time, AuthorityKeyID: c.Status.AuthorityKeyID}
	revoke := func() (int, error) {
		return w.cluster.RevokeCaller(t.Context(), record, "uid-shop/caller", newest, rotate.Revocation{At: began}, began)
	}
	if n, err := revoke(); n != 1 || !errors.Is(err, cluster.ErrShardUnreadable) {
		t.Errorf("%d were revoked, error %v", n, err)
	}
	if issued, err := w.cluster.Issued(t.Context(), record); err != nil || len(issued.Revoked) != 1 || issued.Revoked[0].Serial.String() != newest.Serial {
		t.Errorf("revoked are %+v, error %v", issued.Revoked, err)
	}
	s = w.secret(agentNS, s.Name)
	s.Data["serials"] = whole
	if err := w.admin.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if n, err := revoke(); n != 1 || err != nil {
		t.Errorf("when it was restored %d were revoked, error %v", n, err)
	}
}

// Whoever revoked a caller is told at the caller as well that not all of it is done, and that it is once the record can be read.
func TestARevocationThatWaitsForAShardIsTold(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	_, record := w.issued()
	s := w.secret(agentNS, record.Name+"-serials-000")
	whole := s.Data["serials"]
	s.Data["serials"] = whole[:len(whole)-3]
	if err := w.admin.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	c := &v1alpha1.ClientCertificate{}
	w.get(c, "shop", "caller")
	c.Spec.Revocation = &v1alpha1.ClientRevocation{Reason: v1alpha1.RevokedKeyCompromise}
	c.Generation++
	if err := w.admin.Update(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	told := func() metav1.Condition {
		w.get(c, "shop", "caller")
		return *meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady)
	}
	go func() { // who rings waits until he is heard
		for {
			select {
			case <-w.bell.Rung():
			case <-t.Context().Done():
				return
			}
		}
	}()
	result := w.pass(w.clients, "shop", "caller")
	if ready := told(); ready.Reason != v1alpha1.ReasonLedgerUnreadable || !strings.Contains(ready.Message, s.Name) {
		t.Errorf("it is told %s: %s", ready.Reason, ready.Message)
	}
	if result.RequeueAfter == 0 || result.RequeueAfter > time.Minute {
		t.Errorf("it is tried again after %s", result.RequeueAfter)
	}
	s = w.secret(agentNS, s.Name)
	s.Data["serials"] = whole
	if err := w.admin.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	w.pass(w.clients, "shop", "caller")
	if ready := told(); ready.Reason != v1alpha1.ReasonRevoked {
		t.Errorf("when it was restored it is told %s: %s", ready.Reason, ready.Message)
	}
}

// An authority may have ten thousand callers, and its record is restored by a person.
func TestCallersOfAnUnreadableRecordAreNotAllLookedAtOften(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	_, record := w.issued()
	s := w.secret(agentNS, record.Name)
	for k := range s.Data {
		s.Data[k] = []byte("x")
	}
	if err := w.admin.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	result := w.pass(w.clients, "shop", "caller")
	var c v1alpha1.ClientCertificate
	w.get(&c, "shop", "caller")
	told := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady)
	if result.RequeueAfter < time.Minute {
		t.Errorf("again after %s: %s: %s", result.RequeueAfter, told.Reason, told.Message)
	}
}
