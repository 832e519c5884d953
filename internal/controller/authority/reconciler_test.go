package authority

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/endpoint"
	"sallyport.dev/sallyport/internal/metrics"
	"sallyport.dev/sallyport/internal/mounted"
	"sallyport.dev/sallyport/internal/testenv"
	"sallyport.dev/sallyport/internal/testpki"
)

var environment testenv.Environment

func TestMain(m *testing.M) { os.Exit(testenv.Run(m, &environment)) }

// reader reads from the API server, but for what it is told to fail with.
type reader struct {
	client.Reader
	failing map[types.NamespacedName]error
}

func (r *reader) Get(ctx context.Context, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
	if err := r.failing[key]; err != nil {
		return err
	}
	return r.Reader.Get(ctx, key, o, options...)
}

// fixture is a Reconciler at a real API server, with one authority, whose CA is brought in the Secret "ca".
type fixture struct {
	*Reconciler
	client client.Client
	reader *reader
	clock  *clocktesting.FakePassiveClock
	key    types.NamespacedName
}

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newFixture(t *testing.T, spec v1alpha1.CertificateAuthoritySpec) fixture {
	t.Helper()
	view := testenv.NewView(environment.Admin(t))
	for _, index := range []func(context.Context, client.FieldIndexer) error{cluster.IndexSecrets, endpoint.Index, Index} {
		if err := index(t.Context(), view); err != nil {
			t.Fatal(err)
		}
	}
	namespace := environment.Namespace(t, "authority").Name
	c := clocktesting.NewFakePassiveClock(began)
	f := fixture{client: view.Client, reader: &reader{view.Client, map[types.NamespacedName]error{}}, clock: c, key: types.NamespacedName{Namespace: namespace, Name: "corporate"}}
	f.Reconciler = &Reconciler{
		Cluster: cluster.New(view, f.reader, namespace), Mounted: mounted.New(nil, clocktesting.NewFakeClock(began)), TrustDomain: "cluster.local",
		ServiceAccount: types.NamespacedName{Namespace: "sallyport-system", Name: "sallyport-agent"},
		Clock:          c, Recorder: events.NewFakeRecorder(1000), Counters: metrics.NewCounters(), Bell: NewBell(), LookEvery: time.Second,
	}
	if err := f.client.Create(t.Context(), &v1alpha1.CertificateAuthority{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: f.key.Name}, Spec: spec}); err != nil {
		t.Fatal(err)
	}
	return f
}

func bringing(mode v1alpha1.RevocationMode) v1alpha1.CertificateAuthoritySpec {
	return v1alpha1.CertificateAuthoritySpec{
		Source:     v1alpha1.AuthoritySource{Type: v1alpha1.SourceSecret, Secret: &v1alpha1.LocalObjectReference{Name: "ca"}},
		Revocation: v1alpha1.RevocationSettings{Mode: mode},
	}
}

func (f fixture) secret() types.NamespacedName {
	return types.NamespacedName{Namespace: f.key.Namespace, Name: "ca"}
}

// put writes the Secret with the CA, offered or not.
func (f fixture) put(t *testing.T, ca testpki.Issued, offered bool) {
	t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.key.Namespace, Name: "ca"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{"tls.crt": ca.PEM(), "tls.key": ca.KeyPEM(t)}}
	if offered {
		s.Annotations = map[string]string{"mtls.sallyport.dev/use-as-ca": f.key.Name}
	}
	if err := f.client.Delete(t.Context(), s.DeepCopy()); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	if err := f.client.Create(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	f.glances(t, s.UID)
}

// glances waits until the API server's cache, which the authority looks at, shows the Secret of a UID; none if that is empty.
func (f fixture) glances(t *testing.T, want types.UID) {
	t.Helper()
	testenv.Eventually(t, time.Minute, "the Secret in the API server's cache", func(ctx context.Context) error {
		var shown corev1.Secret
		err := f.client.Get(ctx, f.secret(), &shown, &client.GetOptions{Raw: &metav1.GetOptions{ResourceVersion: "0"}})
		if client.IgnoreNotFound(err) == nil && shown.UID != want {
			err = fmt.Errorf("it shows %q, expected %q", shown.UID, want)
		}
		return client.IgnoreNotFound(err)
	})
}

// pass has the authority looked at, and returns it.
func (f fixture) pass(t *testing.T) *v1alpha1.CertificateAuthority {
	t.Helper()
	if _, err := f.Reconcile(t.Context(), reconcile.Request{NamespacedName: f.key}); err != nil {
		t.Fatal(err)
	}
	return f.stored(t)
}

func (f fixture) stored(t *testing.T) *v1alpha1.CertificateAuthority {
	t.Helper()
	authority := &v1alpha1.CertificateAuthority{}
	if err := f.client.Get(t.Context(), f.key, authority); err != nil {
		t.Fatal(err)
	}
	return authority
}

// says holds a condition to its status, its reason, and words of its message.
func says(t *testing.T, a *v1alpha1.CertificateAuthority, kind string, status metav1.ConditionStatus, reason, words string) {
	t.Helper()
	c := meta.FindStatusCondition(a.Status.Conditions, kind)
	if c == nil || c.Status != status || c.Reason != reason || !strings.Contains(c.Message, words) {
		t.Errorf("%s is %+v, expected %s, %s: %q", kind, c, status, reason, words)
	}
}

// decade is the validity of a CA that is good for all lifetimes.
var decade = testpki.Span{From: began.Add(-time.Hour), To: began.Add(87600 * time.Hour)}

var (
	forbidden = apierrors.NewForbidden(corev1.Resource("secrets"), "ca", errors.New("no RoleBinding"))
	errBroken = errors.New("the server is on fire")
)

// Who takes an offer back means it, whatever becomes of the Secret afterwards; only a Secret that is offered ends that.
func TestAnOfferThatIsTakenBackStaysTakenBack(t *testing.T) {
	root := testpki.Root(t, "corporate", decade)
	for way, happens := range map[string]func(t *testing.T, f fixture){
		"the Secret is deleted": func(t *testing.T, f fixture) {
			t.Helper()
			if err := f.client.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.key.Namespace, Name: "ca"}}); err != nil {
				t.Fatal(err)
			}
			f.glances(t, "")
		},
		"the agent may not read it any more": func(_ *testing.T, f fixture) { f.reader.failing[f.secret()] = forbidden },
		"it cannot be read":                  func(_ *testing.T, f fixture) { f.reader.failing[f.secret()] = errBroken },
		"the spec is invalid for a while": func(t *testing.T, f fixture) {
			t.Helper()
			a := f.stored(t)
			a.Spec.Rotation.Windows = []v1alpha1.RotationWindow{{Schedule: "0 25 * * *", Duration: metav1.Duration{Duration: time.Hour}}} // no hour is the 25th
			if err := f.client.Update(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			says(t, f.pass(t), v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonInvalid, "windows[0]")
			a = f.stored(t)
			a.Spec.Rotation.Windows = nil
			if err := f.client.Update(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			f.reader.failing[f.secret()] = errBroken
		},
	} {
		t.Run(way, func(t *testing.T) {
			f := newFixture(t, bringing(v1alpha1.RevocationCRL))
			f.put(t, root, true)
			says(t, f.pass(t), v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady, "")
			f.put(t, root, false)
			says(t, f.pass(t), v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNotOffered, "is not offered to this authority")
			happens(t, f)
			for range 2 {
				says(t, f.pass(t), v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNotOffered, "its owner took the offer back")
			}
			f.reader.failing = map[types.NamespacedName]error{}
			f.put(t, root, true)
			says(t, f.pass(t), v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady, "")
		})
	}
}

// What cannot be read is told, and the authority goes on with the CA it has: its CRLs are signed.
func TestASourceThatCannotBeRead(t *testing.T) {
	for name, row := range map[string]struct {
		err    error
		reason string
	}{
		"because the agent may not":   {forbidden, v1alpha1.ReasonSecretAccessDenied},
		"because of the API server":   {errBroken, v1alpha1.ReasonSourceUnreadable},
		"because it is not there now": {apierrors.NewNotFound(corev1.Resource("secrets"), "ca"), v1alpha1.ReasonUnfitCA},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, bringing(v1alpha1.RevocationCRL))
			f.put(t, testpki.Root(t, "corporate", decade), true)
			first := f.pass(t).Status.CRL
			f.reader.failing[f.secret()] = row.err
			f.clock.SetTime(began.Add(200 * time.Hour)) // CRLs are signed every five days
			a := f.pass(t)
			says(t, a, v1alpha1.ConditionSourceCurrent, metav1.ConditionFalse, row.reason, "")
			says(t, a, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady, "")
			if second := a.Status.CRL; first == nil || second == nil || second.Number <= first.Number {
				t.Errorf("CRL %+v after %+v, expected the next one", second, first)
			}
			version := a.ResourceVersion
			f.clock.SetTime(began.Add(201 * time.Hour))
			if again := f.pass(t); again.ResourceVersion != version {
				t.Error("the status is written though nothing changed")
			}
		})
	}
}

// A record that is lost is not made anew from what is brought, nor while nothing can be read.
func TestALostRecordOfABroughtCAIsNotMadeAnew(t *testing.T) {
	for name, err := range map[string]error{"and the CA is there": nil, "and nothing can be read": errBroken} {
		t.Run("the record is lost "+name, func(t *testing.T) {
			f := newFixture(t, bringing(v1alpha1.RevocationNone))
			f.put(t, testpki.Root(t, "corporate", decade), true)
			f.pass(t)
			record, recordErr := f.Cluster.Record(t.Context(), f.stored(t))
			if recordErr != nil {
				t.Fatal(recordErr)
			}
			lost := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.Cluster.Namespace(), Name: record.Name}}
			if err := f.client.Delete(t.Context(), lost); err != nil {
				t.Fatal(err)
			}
			f.reader.failing[f.secret()] = err
			says(t, f.pass(t), v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonKeyMissing, "restore the Secret from your backup")
			if err := f.client.Get(t.Context(), client.ObjectKeyFromObject(lost), lost); !apierrors.IsNotFound(err) {
				t.Errorf("reading the record: %v, expected none", err)
			}
		})
	}
}

// What an authority's gateways and callers could not use is told before it is taken.
func TestABroughtCAIsTriedWithWhatItIsFor(t *testing.T) {
	f := newFixture(t, bringing(v1alpha1.RevocationCRL))
	f.put(t, testpki.Root(t, "brief", testpki.Span{From: began, To: began.Add(6*720*time.Hour - time.Second)}), true)
	says(t, f.pass(t), v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonUnfitCA, "certificates of 720h0m0s are asked for")
	f.put(t, testpki.Root(t, "long", decade), true)
	a := f.pass(t)
	says(t, a, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady, "")

	use := func(host, keyID string) {
		t.Helper()
		e := &v1alpha1.MutualTLSEndpoint{ObjectMeta: metav1.ObjectMeta{Namespace: f.key.Namespace, Name: "gateway-" + strings.ReplaceAll(host, ".", "-")},
			Spec: v1alpha1.MutualTLSEndpointSpec{ObjectRef: v1alpha1.ObjectReference{Kind: v1alpha1.ObjectGateway, Name: host}}}
		if err := f.client.Create(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		e.Status = v1alpha1.MutualTLSEndpointStatus{
			Hosts: []string{host}, Authorities: []v1alpha1.EndpointAuthority{{Namespace: f.key.Namespace, Name: f.key.Name}},
			ServerCertificate: &v1alpha1.ServedCertificate{Serial: "01", AuthorityKeyID: keyID, NotAfter: metav1.NewTime(began.Add(time.Hour))},
		}
		if err := f.client.Status().Update(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	use("shop.example", a.Status.Generations[0].SubjectKeyID)
	use("stranger.example", "00ff") // never issued by this authority: it must not hold anything up
	only := func(domain string) testpki.Option {
		return func(c *x509.Certificate) { c.PermittedDNSDomains = []string{domain} }
	}
	f.put(t, testpki.Root(t, "other", decade, only("other.example")), true)
	a = f.pass(t)
	says(t, a, v1alpha1.ConditionSourceCurrent, metav1.ConditionFalse, v1alpha1.ReasonUnfitCA, `"shop.example" is not permitted`)
	says(t, a, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady, "")
	if n := len(a.Status.Generations); n != 1 {
		t.Errorf("%d generations, expected one", n)
	}
	f.put(t, testpki.Root(t, "shops", decade, only("shop.example")), true)
	a = f.pass(t)
	says(t, a, v1alpha1.ConditionSourceCurrent, metav1.ConditionTrue, v1alpha1.ReasonSourceInUse, "")
	if n := len(a.Status.Generations); n != 2 {
		t.Errorf("%d generations, expected two", n)
	}
}

// CRLs that are asked for of a root that may sign none are not tried for ever in silence.
func TestCRLsAreAskedForOfARootThatMaySignNone(t *testing.T) {
	f := newFixture(t, bringing(v1alpha1.RevocationNone))
	f.put(t, testpki.Root(t, "no CRLs", decade, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }), true)
	says(t, f.pass(t), v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady, "")
	a := f.stored(t)
	a.Spec.Revocation.Mode = v1alpha1.RevocationCRL
	if err := f.client.Update(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	a = f.pass(t)
	says(t, a, v1alpha1.ConditionRevocationCurrent, metav1.ConditionFalse, v1alpha1.ReasonUnfitCA, "may sign none")
	says(t, a, v1alpha1.ConditionSourceCurrent, metav1.ConditionFalse, v1alpha1.ReasonUnfitCA, "cRLSign is missing")
	says(t, a, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady, "")
}

// A CA that has ended is told once, and not at each look.
func TestABroughtCAThatHasEndedIsToldOnce(t *testing.T) {
	f := newFixture(t, bringing(v1alpha1.RevocationCRL))
	f.put(t, testpki.Root(t, "brief", testpki.Span{From: began, To: began.Add(6 * 720 * time.Hour)}), true)
	f.pass(t)
	f.clock.SetTime(began.Add(6*720*time.Hour + time.Minute))
	a := f.pass(t)
	says(t, a, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonEnded, "bring another CA where spec.source says")
	says(t, a, v1alpha1.ConditionSourceCurrent, metav1.ConditionFalse, v1alpha1.ReasonUnfitCA, "ended at")
	f.clock.SetTime(began.Add(6*720*time.Hour + 2*time.Minute))
	if again := f.pass(t); again.ResourceVersion != a.ResourceVersion {
		t.Error("the status is written though nothing changed")
	}
}

// When the last certificate of a caller ends is told by the hour; a renewal within it concerns nobody.
func TestAnotherEndOfACertificateIsHeard(t *testing.T) {
	ending := func(at string) *v1alpha1.ClientCertificate {
		c := &v1alpha1.ClientCertificate{}
		if at != "" {
			end, err := time.Parse(time.TimeOnly, at)
			if err != nil {
				t.Fatal(err)
			}
			notAfter := metav1.NewTime(end)
			c.Status.NotAfter = &notAfter
		}
		return c
	}
	for name, c := range map[string]struct {
		before, now string
		heard       bool
	}{
		"the first one":         {"", "10:20:00", true},
		"in the same hour":      {"10:20:00", "10:40:00", false},
		"in the next hour":      {"10:20:00", "11:00:01", true},
		"none, as before":       {"", "", false},
		"the same one, no more": {"10:20:00", "", true},
	} {
		if got := endChanged.Update(event.UpdateEvent{ObjectOld: ending(c.before), ObjectNew: ending(c.now)}); got != c.heard {
			t.Errorf("%s: heard %t, expected %t", name, got, c.heard)
		}
	}
}
