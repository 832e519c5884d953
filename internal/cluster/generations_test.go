package cluster

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/testenv"
	"sallyport.dev/sallyport/pkg/intent"
)

// nobody must not be asked.
type nobody struct {
	client.Reader
	t *testing.T
}

func (n nobody) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	n.t.Errorf("the API server is asked for %T %s", o, key)
	return errors.New("nobody answers")
}

// TestACachedLedgerAsksNobody: a scrape must cost the API server nothing.
func TestACachedLedgerAsksNobody(t *testing.T) {
	view := testenv.NewView(environment.Admin(t))
	namespace := environment.Namespace(t, "cluster")
	c := New(view, nobody{t: t}, namespace.Name)
	authority := func(name, uid string) *v1alpha1.CertificateAuthority {
		return &v1alpha1.CertificateAuthority{ObjectMeta: metav1.ObjectMeta{Namespace: namespace.Name, Name: name, UID: types.UID(uid)}}
	}
	store := func(name string, change func(*corev1.Secret)) {
		t.Helper()
		record, err := c.Record(t.Context(), authority(name, "0a1b"))
		if err != nil {
			t.Fatal(err)
		}
		written, err := c.WriteLedger(t.Context(), record, StoredLedger{}, ledgerOf(t))
		if err != nil {
			t.Fatal(err)
		}
		change(written.secret)
		if err := view.Update(t.Context(), written.secret); err != nil {
			t.Fatal(err)
		}
	}
	store("default", func(*corev1.Secret) {})
	store("broken", func(s *corev1.Secret) { s.Data["ledger.json"], s.Data["g1.crt"] = []byte("{"), []byte("x") })
	store("hidden", func(s *corev1.Secret) { delete(s.Labels, intent.KeyManaged) })
	store("foreign", func(s *corev1.Secret) { s.Annotations[intent.KeyOwner] = "CertificateAuthority/shop/other/0a1b" })
	tests := map[string]struct {
		authority   *v1alpha1.CertificateAuthority
		generations int
		want        error
	}{
		"as it was written":                   {authority("default", "0a1b"), 1, nil},
		"of an authority that has none":       {authority("other", "0a1b"), 0, nil},
		"of one of the same name, made again": {authority("default", "0a1c"), 1, nil},
		"that the cache does not show":        {authority("hidden", "0a1b"), 0, nil},
		"that is somebody else's":             {authority("foreign", "0a1b"), 0, ErrLedgerForeign},
		"that cannot be read":                 {authority("broken", "0a1b"), 0, ErrLedgerUnreadable},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ledger, err := c.CachedLedger(t.Context(), test.authority)
			if !errors.Is(err, test.want) || len(ledger.Generations()) != test.generations {
				t.Errorf("%d generations, error %v, expected %d and %v", len(ledger.Generations()), err, test.generations, test.want)
			}
		})
	}
}
