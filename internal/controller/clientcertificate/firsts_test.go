package clientcertificate

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
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
			var f firsts
			if f.take(caller("before", noon.Add(time.Hour))) {
				t.Error("a first before the election")
			}
			f.begin(noon)
			for i, c := range test.passes {
				if got := f.take(c); got != test.want[i] {
					t.Errorf("pass %d: first is %t, expected %t", i, got, test.want[i])
				}
			}
			f.forget(client.ObjectKey{Namespace: "shop", Name: "billing"})
			if len(f.taken) != 0 {
				t.Errorf("%d are remembered after the last is gone", len(f.taken))
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
			if !yields(test.loser, test.winner) || yields(test.winner, test.loser) {
				t.Errorf("the loser yields: %t, the winner yields: %t", yields(test.loser, test.winner), yields(test.winner, test.loser))
			}
		})
	}
}
