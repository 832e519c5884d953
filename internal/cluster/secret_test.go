package cluster

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sallyport.dev/sallyport/pkg/intent"
)

func (f fixture) wanted(name, value string) WantedSecret {
	return WantedSecret{
		Key: f.key(name), Type: corev1.SecretTypeOpaque, Owner: owner("edge"),
		Labels: map[string]string{"purpose": "test"}, Data: map[string][]byte{"a": []byte(value)},
	}
}

// live is what is stored, whoever's it is.
func (f fixture) read(t *testing.T, name string) *corev1.Secret {
	t.Helper()
	secret, err := f.LiveSecret(t.Context(), f.key(name))
	if err != nil || secret == nil {
		t.Fatalf("reading Secret %s: found %v, error %v", name, secret, err)
	}
	return secret
}

func (f fixture) change(t *testing.T, secret *corev1.Secret, change func(*corev1.Secret)) {
	t.Helper()
	change(secret)
	if err := f.view.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
}

func TestWriteSecret(t *testing.T) {
	f := newFixture(t)
	immutable := true
	tests := map[string]struct {
		// stored makes what is there before; nil for nothing.
		stored func(t *testing.T, name string)
		// remade is whether the Secret has to be another object afterwards.
		want   Outcome
		remade bool
	}{
		"absent": {nil, Created, false},
		"equal":  {func(t *testing.T, name string) { f.put(t, f.wanted(name, "new").object()) }, Unchanged, false},
		"others' labels and annotations do no harm": {func(t *testing.T, name string) {
			o := f.wanted(name, "new").object()
			o.Labels["theirs"], o.Annotations["theirs"] = "x", "x"
			f.put(t, o)
		}, Unchanged, false},
		"other data": {func(t *testing.T, name string) { f.put(t, f.wanted(name, "old").object()) }, Updated, false},
		"a key more, which Istio may prefer": {func(t *testing.T, name string) {
			o := f.wanted(name, "new").object()
			o.Data["cacert"] = []byte("x")
			f.put(t, o)
		}, Updated, false},
		"a label of ours is gone": {func(t *testing.T, name string) {
			o := f.wanted(name, "new").object()
			delete(o.Labels, "purpose")
			f.put(t, o)
		}, Updated, false},
		"given up for a while": {func(t *testing.T, name string) {
			o := f.wanted(name, "new").object()
			o.Annotations[UnreferencedSince] = "2026-03-01T12:00:00Z"
			f.put(t, o)
		}, Updated, false},
		"made for a predecessor of the same name": {func(t *testing.T, name string) {
			o := f.wanted(name, "new").object()
			o.Annotations[intent.KeyOwner] = "Gateway/shop/edge/ffff"
			f.put(t, o)
		}, Updated, false},
		"the marker label was stripped, so that the cache does not show it": {func(t *testing.T, name string) {
			o := f.wanted(name, "new").object()
			delete(o.Labels, intent.KeyManaged)
			f.put(t, o)
		}, Updated, false},
		"another type": {func(t *testing.T, name string) {
			o := f.wanted(name, "new").object()
			o.Type = "example.com/other"
			f.put(t, o)
		}, Updated, true},
		"immutable and different": {func(t *testing.T, name string) {
			o := f.wanted(name, "old").object()
			o.Immutable = &immutable
			f.put(t, o)
		}, Updated, true},
		"of nobody": {func(t *testing.T, name string) {
			f.put(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name}, Data: map[string][]byte{"a": []byte("theirs")}})
		}, Foreign, false},
		"labelled as ours by somebody": {func(t *testing.T, name string) {
			f.put(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name, Labels: map[string]string{intent.KeyManaged: "true"}}})
		}, Foreign, false},
		"made for another Gateway": {func(t *testing.T, name string) {
			w := f.wanted(name, "new")
			w.Owner = owner("other")
			f.put(t, w.object())
		}, Foreign, false},
	}
	n := 0
	for name, test := range tests {
		n++
		at := "s" + string(rune('a'+n))
		t.Run(name, func(t *testing.T) {
			var before *corev1.Secret
			if test.stored != nil {
				test.stored(t, at)
				before = f.read(t, at)
			}
			stored, err := f.Secret(t.Context(), f.key(at))
			if err != nil {
				t.Fatal(err)
			}
			outcome, _, err := f.WriteSecret(t.Context(), f.wanted(at, "new"), stored)
			if err != nil || outcome != test.want {
				t.Fatalf("outcome is %s, error %v, expected %s", outcome, err, test.want)
			}
			after := f.read(t, at)
			if test.want == Unchanged || test.want == Foreign {
				if diff := cmp.Diff(before, after); diff != "" {
					t.Errorf("it was written (-before +after):\n%s", diff)
				}
				return
			}
			wanted := f.wanted(at, "new").object()
			if diff := cmp.Diff(wanted.Data, after.Data); diff != "" || after.Type != wanted.Type {
				t.Errorf("type %s, data (-want +stored):\n%s", after.Type, diff)
			}
			if diff := cmp.Diff(wanted.Labels, after.Labels); diff != "" {
				t.Errorf("labels (-want +stored):\n%s", diff)
			}
			if before != nil && (before.UID != after.UID) != test.remade {
				t.Errorf("made anew: %t, expected %t", before.UID != after.UID, test.remade)
			}
			if again, _, err := f.WriteSecret(t.Context(), f.wanted(at, "new"), after); err != nil || again != Unchanged {
				t.Errorf("the second time the outcome is %s, error %v", again, err)
			}
		})
	}
}

func (f fixture) put(t *testing.T, secret *corev1.Secret) {
	t.Helper()
	if err := f.view.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
}

// TestWriteSecretLosesARace shows what becomes of a decision that was made on what is
// no longer stored: another agent holds the lease, or the cache is behind.
func TestWriteSecretLosesARace(t *testing.T) {
	f := newFixture(t)
	tests := map[string]func(t *testing.T, name string) (stored *corev1.Secret){
		"changed since": func(t *testing.T, name string) *corev1.Secret {
			f.put(t, f.wanted(name, "old").object())
			before := f.read(t, name)
			f.change(t, before.DeepCopy(), func(s *corev1.Secret) { s.Data["a"] = []byte("newer") })
			return before
		},
		"changed since, and to be made anew": func(t *testing.T, name string) *corev1.Secret {
			o := f.wanted(name, "old").object()
			o.Type = "example.com/other"
			f.put(t, o)
			before := f.read(t, name)
			f.change(t, before.DeepCopy(), func(s *corev1.Secret) { s.Data["a"] = []byte("newer") })
			return before
		},
		"deleted and made again": func(t *testing.T, name string) *corev1.Secret {
			f.put(t, f.wanted(name, "old").object())
			before := f.read(t, name)
			if err := f.view.Delete(t.Context(), before.DeepCopy()); err != nil {
				t.Fatal(err)
			}
			f.put(t, f.wanted(name, "newer").object())
			return before
		},
		"made since: the cache does not show it yet": func(t *testing.T, name string) *corev1.Secret {
			f.put(t, f.wanted(name, "newer").object())
			return nil
		},
	}
	n := 0
	for name, test := range tests {
		n++
		at := "r" + string(rune('a'+n))
		t.Run(name, func(t *testing.T) {
			stored := test(t, at)
			before := f.read(t, at)
			outcome, _, err := f.WriteSecret(t.Context(), f.wanted(at, "mine"), stored)
			if !apierrors.IsConflict(err) {
				t.Errorf("outcome is %q, error %v, expected a conflict", outcome, err)
			}
			if diff := cmp.Diff(before, f.read(t, at)); diff != "" {
				t.Errorf("it was written (-before +after):\n%s", diff)
			}
		})
	}
}

func TestWriteSecretKeepsWhatOthersHoldOnIt(t *testing.T) {
	f := newFixture(t)
	o := f.wanted("held", "old").object()
	o.Finalizers = []string{"example.com/backup"}
	f.put(t, o)
	if outcome, _, err := f.WriteSecret(t.Context(), f.wanted("held", "new"), f.read(t, "held")); err != nil || outcome != Updated {
		t.Fatalf("outcome is %s, error %v", outcome, err)
	}
	after := f.read(t, "held")
	if diff := cmp.Diff([]string{"example.com/backup"}, after.Finalizers); diff != "" {
		t.Errorf("finalizers (-want +stored):\n%s", diff)
	}
	f.change(t, after, func(s *corev1.Secret) { s.Finalizers = nil })
}
