package cluster

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A Secret that somebody keeps changing is put right at once, and then once a minute;
// two quiet minutes later nobody is told of it any more.
func TestWhatSomebodyKeepsChangingIsPutRightOnceAMinute(t *testing.T) {
	f := newFixture(t)
	pair, bundle := material(t)
	s := f.edgeSecrets("fought")
	f.writeEdge(t, s, pair, bundle)
	steps := []struct {
		name string
		// at is the time of the pass, after the start.
		at time.Duration
		// change is what somebody does before it.
		change func(*corev1.Secret)
		want   Outcome
		fought bool
	}{
		{"a first change is undone", time.Second, func(s *corev1.Secret) { s.Data["tls.crt"] = []byte("1") }, Updated, false},
		{"nothing was changed", 2 * time.Second, nil, Unchanged, false},
		{"a label of his own does no harm", 3 * time.Second, func(s *corev1.Secret) { s.Labels["his"] = "own" }, Unchanged, false},
		{"a second change stays", 4 * time.Second, func(s *corev1.Secret) { s.Data["tls.crt"] = []byte("2") }, Held, true},
		{"it stays all minute", 60 * time.Second, func(s *corev1.Secret) { s.Data["tls.crt"] = []byte("3") }, Held, true},
		{"and then is undone", 61 * time.Second, nil, Updated, true},
		{"the next stays", 62 * time.Second, func(s *corev1.Secret) { s.Data["tls.crt"] = []byte("4") }, Held, true},
		{"and is undone a minute after", 122 * time.Second, nil, Updated, true},
		{"it is told of for two minutes", 181 * time.Second, nil, Unchanged, true},
		{"all was quiet", 182 * time.Second, nil, Unchanged, false},
		{"a change is undone at once again", 183 * time.Second, func(s *corev1.Secret) { s.Data["tls.crt"] = []byte("5") }, Updated, false},
	}
	for _, step := range steps {
		if step.change != nil {
			stored := f.read(t, "fought")
			step.change(stored)
			if err := f.client.Update(t.Context(), stored); err != nil {
				t.Fatal(err)
			}
		}
		stored, err := f.Edge(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		now := start.Add(step.at)
		outcome, err := f.WriteEdge(t.Context(), s, pair, bundle, stored, now)
		if err != nil {
			t.Fatal(err)
		}
		contest, fought := f.Contest(s, now)
		if outcome.Server != step.want || fought != step.fought {
			t.Errorf("%s: the outcome is %s, fought for %t; expected %s and %t", step.name, outcome.Server, fought, step.want, step.fought)
		}
		if fought && (contest.Secret != s.Server || !contest.Next.After(now)) {
			t.Errorf("%s: told of is %s, to be looked at again at %s", step.name, contest.Secret, contest.Next)
		}
	}
}
