package cluster

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/testpki"
)

// failing reads from the API server, unless it has an error to answer with.
type failing struct {
	client.Reader
	err error
}

func (f *failing) Get(ctx context.Context, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
	if f.err != nil {
		return f.err
	}
	return f.Reader.Get(ctx, key, o, options...)
}

// A ConfigMap that cannot be read for a while leaves its entry as it was, and no other entry without its CA.
func TestAConfigMapThatCannotBeRead(t *testing.T) {
	forbidden := apierrors.NewForbidden(corev1.Resource("configmaps"), "partner", errors.New("no Role"))
	broken := errors.New("the server is on fire")
	for name, row := range map[string]struct {
		err     error
		known   bool // it was read before
		err2    bool // nothing can be said
		leftOut string
	}{
		"it is forbidden later":        {err: forbidden, known: true},
		"it fails later":               {err: broken, known: true},
		"it is forbidden at once":      {err: forbidden, leftOut: "is forbidden"},
		"it fails at once":             {err: broken, err2: true},
		"it can be read all along":     {known: true},
		"it is there since it is read": {},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			ca := testpki.Root(t, "partner", testpki.Around(start))
			stored := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "partner"}, Data: map[string]string{"ca.crt": string(ca.PEM())}}
			if err := f.view.Create(t.Context(), stored); err != nil {
				t.Fatal(err)
			}
			reader := &failing{Reader: f.view.Client}
			c := New(f.view, reader, f.namespace)
			authority := &v1alpha1.CertificateAuthority{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "default", UID: "1", Generation: 1},
				Spec: v1alpha1.CertificateAuthoritySpec{TrustedCertificates: []v1alpha1.TrustedCertificate{
					{Name: "partner", ConfigMapKeyRef: &v1alpha1.KeyReference{Name: "partner", Key: "ca.crt"}},
					{Name: "inline", Certificate: string(ca.PEM())},
				}}}
			now := start
			if row.known {
				if _, _, err := c.TrustedCertificates(t.Context(), authority, now); err != nil {
					t.Fatal(err)
				}
				now = now.Add(trustedEvery)
			}
			reader.err = row.err
			found, next, err := c.TrustedCertificates(t.Context(), authority, now)
			if row.err2 {
				if !errors.Is(err, row.err) {
					t.Errorf("error %v, expected %v", err, row.err)
				}
				return
			}
			if err != nil || len(found) != 2 || !next.Equal(now.Add(30*time.Second)) {
				t.Fatalf("found %v, look again at %s, error %v", found, next, err)
			}
			if found[1].Unreadable != nil || len(found[1].Entries) != 1 {
				t.Errorf("the inline entry is %+v", found[1])
			}
			switch unreadable := found[0].Unreadable; {
			case row.leftOut == "" && (unreadable != nil || len(found[0].Entries) != 1):
				t.Errorf("the entry is %+v, expected as it was", found[0])
			case row.leftOut != "" && (unreadable == nil || !strings.Contains(unreadable.Error(), row.leftOut)):
				t.Errorf("it is unreadable: %v, expected %q", unreadable, row.leftOut)
			}
			authority.Generation++
			if _, _, err := c.TrustedCertificates(t.Context(), authority, now); (err != nil) != (row.err != nil && !apierrors.IsForbidden(row.err)) {
				t.Errorf("of another spec: error %v", err)
			}
		})
	}
}
