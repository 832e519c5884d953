package clientcertificate

import (
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/pki"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// caller is a ClientCertificate as stored; change makes it another one.
func caller(uid types.UID, created time.Time, change ...func(*v1alpha1.ClientCertificate)) *v1alpha1.ClientCertificate {
	c := &v1alpha1.ClientCertificate{}
	c.Namespace, c.Name, c.UID, c.Generation = "shop", "billing", uid, 1
	c.CreationTimestamp = metav1.NewTime(created)
	for _, apply := range change {
		apply(c)
	}
	return c
}

// issued has a certificate for what it asked in a generation.
func issued(generation int64) func(*v1alpha1.ClientCertificate) {
	return func(c *v1alpha1.ClientCertificate) {
		c.Status.Serial = "7f01"
		c.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, ObservedGeneration: generation}}
	}
}

func TestASecretIsNotAskedForThatCannotBeThere(t *testing.T) {
	tests := map[string]struct {
		passes []*v1alpha1.ClientCertificate
		want   []bool
	}{
		"made after the election":               {[]*v1alpha1.ClientCertificate{caller("a", noon.Add(time.Second))}, []bool{true}},
		"made in the second of the election":    {[]*v1alpha1.ClientCertificate{caller("a", noon)}, []bool{false}},
		"made before the election":              {[]*v1alpha1.ClientCertificate{caller("a", noon.Add(-time.Second))}, []bool{false}},
		"issued already":                        {[]*v1alpha1.ClientCertificate{caller("a", noon.Add(time.Second), issued(1))}, []bool{false}},
		"at its second pass":                    {[]*v1alpha1.ClientCertificate{caller("a", noon.Add(time.Second)), caller("a", noon.Add(time.Second))}, []bool{true, false}},
		"deleted and made again under its name": {[]*v1alpha1.ClientCertificate{caller("a", noon.Add(time.Second)), caller("b", noon.Add(2*time.Second))}, []bool{true, true}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var f memory
			if f.first(caller("before", noon.Add(time.Hour))) {
				t.Error("a first before the election")
			}
			f.begin(noon)
			for i, c := range test.passes {
				if got := f.first(c); got != test.want[i] {
					t.Errorf("pass %d: first is %t, expected %t", i, got, test.want[i])
				}
			}
			f.forget(client.ObjectKey{Namespace: "shop", Name: "billing"})
			if len(f.callers) != 0 {
				t.Errorf("%d are remembered after the last is gone", len(f.callers))
			}
		})
	}
}

// Whoever is looked at first, one and the same of two gets what both ask for.
func TestOfTwoThatAskForTheSameOneYields(t *testing.T) {
	tests := map[string]struct{ winner, loser *v1alpha1.ClientCertificate }{
		"the older":                             {caller("b", noon), caller("a", noon.Add(time.Second))},
		"of the same age, the smaller UID":      {caller("a", noon), caller("b", noon)},
		"the one that was issued":               {caller("b", noon.Add(time.Hour), issued(1)), caller("a", noon)},
		"of two that were issued, the older":    {caller("b", noon, issued(1)), caller("a", noon.Add(time.Hour), issued(1))},
		"not who was issued for something else": {caller("b", noon.Add(time.Hour), issued(1)), caller("a", noon, issued(0))},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if !yields(test.loser, test.winner, served) || yields(test.winner, test.loser, served) {
				t.Errorf("the loser yields: %t, the winner yields: %t", yields(test.loser, test.winner, served), yields(test.winner, test.loser, served))
			}
		})
	}
}

// A name is held by who has a good certificate for it, and not by who asks for it.
func TestANameIsHeldAsLongAsItsCertificateIsGood(t *testing.T) {
	holder := func(change func(*v1alpha1.ClientCertificate)) *v1alpha1.ClientCertificate {
		return caller("a", noon, issued(1), func(c *v1alpha1.ClientCertificate) {
			c.Spec.DNSNames, c.Status.DNSNames = []string{"a.example.com"}, []string{"a.example.com"}
			c.Status.NotAfter = &metav1.Time{Time: noon.Add(time.Hour)}
			change(c)
		})
	}
	ready := func(reason string, status metav1.ConditionStatus) func(*v1alpha1.ClientCertificate) {
		return func(c *v1alpha1.ClientCertificate) {
			c.Status.Conditions[0].Status, c.Status.Conditions[0].Reason = status, reason
		}
	}
	tests := map[string]struct {
		of   *v1alpha1.ClientCertificate
		want bool
	}{
		"issued":                            {holder(ready("Issued", metav1.ConditionTrue)), true},
		"its next one is refused":           {holder(ready("KeystorePassword", metav1.ConditionFalse)), true},
		"asked for no more, not yet issued": {holder(func(c *v1alpha1.ClientCertificate) { c.Spec.DNSNames = nil }), true},
		"asked for, not yet issued": {holder(func(c *v1alpha1.ClientCertificate) {
			c.Status.DNSNames, c.Status.Conditions[0].Status = []string{"b.example.com"}, metav1.ConditionFalse
		}), false},
		"told by an agent that told no names": {holder(func(c *v1alpha1.ClientCertificate) { c.Status.DNSNames = nil }), true},
		"revoked":                             {holder(ready("Revoked", metav1.ConditionFalse)), false},
		"ended": {holder(func(c *v1alpha1.ClientCertificate) {
			c.Status.NotAfter, c.Status.Conditions[0].Status = &metav1.Time{Time: noon}, metav1.ConditionFalse
		}), false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := holdsName(test.of, "a.example.com", noon); got != test.want {
				t.Errorf("it is held: %t, expected %t", got, test.want)
			}
		})
	}
}

// A Secret is replaced without a look at it only in the version in which it was seen last,
// and only if nothing of others is in it.
func TestASecretIsReplacedUnreadOnlyAsItWasSeen(t *testing.T) {
	told := func(serial, secret string) *v1alpha1.ClientCertificate {
		return caller("a", noon, func(c *v1alpha1.ClientCertificate) { c.Status.Serial, c.Spec.SecretName = serial, secret })
	}
	tests := map[string]struct {
		seen  func(*corev1.Secret)
		asked *v1alpha1.ClientCertificate
		want  bool
	}{
		"another object of its name":        {asked: caller("b", noon, func(c *v1alpha1.ClientCertificate) { c.Status.Serial, c.Spec.SecretName = "7f01", "billing" })},
		"no version that can be read":       {seen: func(s *corev1.Secret) { s.ResourceVersion = "x" }, asked: told("7f01", "billing")},
		"as it was seen":                    {asked: told("7f01", "billing"), want: true},
		"the status tells of another":       {asked: told("7f02", "billing")},
		"the status tells of none":          {asked: told("", "billing")},
		"another Secret is asked for":       {asked: told("7f01", "other")},
		"somebody's finalizer is on it":     {seen: func(s *corev1.Secret) { s.Finalizers = []string{"example.com/a"} }, asked: told("7f01", "billing")},
		"somebody owns it":                  {seen: func(s *corev1.Secret) { s.OwnerReferences = []metav1.OwnerReference{{Name: "a"}} }, asked: told("7f01", "billing")},
		"it is immutable":                   {seen: func(s *corev1.Secret) { s.Immutable = ptr.To(true) }, asked: told("7f01", "billing")},
		"immutability was stated otherwise": {seen: func(s *corev1.Secret) { s.Immutable = ptr.To(false) }, asked: told("7f01", "billing")},
	}
	owner := intent.Owner{Kind: "ClientCertificate", Namespace: "shop", Name: "billing", UID: "a"}
	serial, err := pki.ParseSerial("7f01")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var v memory
			v.begin(noon)
			if v.last(test.asked, owner) != nil {
				t.Error("a Secret that nobody saw")
			}
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "17"}}
			if test.seen != nil {
				test.seen(secret)
			}
			v.note(told("7f01", "billing"), secret, serial)
			last := v.last(test.asked, owner)
			if (last != nil) != test.want {
				t.Fatalf("found %v, expected one: %t", last, test.want)
			}
			if last != nil {
				of, ours := cluster.OwnerOf(last)
				if last.ResourceVersion != "17" || last.Name != "billing" || !ours || !of.Same(owner) {
					t.Errorf("found %+v, expected the version that was seen", last.ObjectMeta)
				}
			}
			v.forget(client.ObjectKeyFromObject(test.asked))
			if len(v.callers) != 0 {
				t.Errorf("%d are remembered after the last is gone", len(v.callers))
			}
		})
	}
}

// An agent that takes over looks at the Secrets that were issued before it within ten
// minutes, each at a time of its own, and at no others then.
func TestLooksAreSpread(t *testing.T) {
	var m memory
	if at := m.lookAt(caller("a", noon.Add(-time.Hour), issued(1))); !at.IsZero() {
		t.Errorf("a look is put off to %s by an agent that does not lead", at)
	}
	m.begin(noon)
	var halves [2]int
	for n := range 1000 {
		c := caller(types.UID(strconv.Itoa(n)), noon.Add(-time.Hour), issued(1))
		at := m.lookAt(c)
		if at.Before(noon) || !at.Before(noon.Add(healEvery)) {
			t.Fatalf("looked at at %s, expected within %s", at, healEvery)
		}
		if again := m.lookAt(c); again != at {
			t.Fatalf("looked at at %s, and then at %s", at, again)
		}
		halves[at.Sub(noon)/(healEvery/2)]++
	}
	if halves[0] < 300 || halves[1] < 300 {
		t.Errorf("%v of 1000 are looked at in each half", halves)
	}
	c := caller("a", noon.Add(-time.Hour), issued(1))
	m.first(c)
	if at := m.lookAt(c); !at.IsZero() {
		t.Errorf("the second look is put off to %s", at)
	}
}
