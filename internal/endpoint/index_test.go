package endpoint

import (
	"context"
	"os"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/testenv"
)

var environment testenv.Environment

func TestMain(m *testing.M) { os.Exit(testenv.Run(m, &environment)) }

// A host is held by whom a certificate was issued for it, under the authority that issued it, and by nobody else.
func TestWhoHoldsAHost(t *testing.T) {
	view := testenv.NewView(environment.Admin(t))
	if err := Index(t.Context(), view); err != nil {
		t.Fatal(err)
	}
	namespace := environment.Namespace(t, "holder").Name
	shared, second := types.NamespacedName{Namespace: namespace, Name: "shared"}, types.NamespacedName{Namespace: namespace, Name: "second"}
	hold := func(host, issuedBy string) {
		t.Helper()
		e := &v1alpha1.MutualTLSEndpoint{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "gateway-" + host[:3]},
			Spec: v1alpha1.MutualTLSEndpointSpec{ObjectRef: v1alpha1.ObjectReference{Kind: v1alpha1.ObjectGateway, Name: host[:3]}}}
		if err := view.Create(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		e.Status = v1alpha1.MutualTLSEndpointStatus{Hosts: []string{host},
			Authorities:       []v1alpha1.EndpointAuthority{{Namespace: shared.Namespace, Name: shared.Name}, {Namespace: second.Namespace, Name: second.Name}},
			ServerCertificate: &v1alpha1.ServedCertificate{Serial: "01", AuthorityKeyID: issuedBy, NotAfter: metav1.NewTime(time.Now())}}
		if err := view.Status().Update(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	hold("one.example.com", "0a")
	hold("two.example.com", "") // its owner brought the certificate
	for sentence, row := range map[string]struct {
		authority types.NamespacedName
		namespace string
		host      string
		held      bool
	}{
		"it is held under the authority that issued":        {shared, "other", "one.example.com", true},
		"by the namespace it was issued in not from itself": {shared, namespace, "one.example.com", false},
		"not under an authority that is merely listed":      {second, "other", "one.example.com", false},
		"a certificate that is provided holds nothing":      {shared, "other", "two.example.com", false},
		"a host that nobody asked for is held by nobody":    {shared, "other", "six.example.com", false},
	} {
		host, by, err := HeldElsewhere(t.Context(), view, row.authority, types.NamespacedName{Namespace: row.namespace, Name: "gateway-x"}, []string{row.host})
		if err != nil || (host != "") != row.held || row.held && by != namespace {
			t.Errorf("%s: host %q is held by %q, error %v", sentence, host, by, err)
		}
	}
}

// behind stands for a cache that shows nothing of what was written lately.
type behind struct{ client.Reader }

func (behind) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

// Of two namespaces that are issued a certificate for one host at the same time, one is: also while the cache does not show the
// first one's.
func TestTwoNamespacesTakeOneHost(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	shared, other := types.NamespacedName{Namespace: "platform", Name: "shared"}, types.NamespacedName{Namespace: "platform", Name: "other"}
	var names Names
	for _, step := range []struct {
		sentence  string
		authority types.NamespacedName
		namespace string
		hosts     []string
		after     time.Duration
		taken     bool
	}{
		{"nobody has it", shared, "shop", []string{"a.example.com", "b.example.com"}, 0, true},
		{"another namespace comes at the same time", shared, "mallory", []string{"m.example.com", "b.example.com"}, 0, false},
		{"what was not taken is nobody's", shared, "bank", []string{"m.example.com"}, 0, true},
		{"the same namespace comes again", shared, "shop", []string{"b.example.com"}, takenFor / 2, true},
		{"it is under another authority", other, "mallory", []string{"b.example.com"}, takenFor / 2, true},
		{"whom nobody showed as its holder for long has it no more", shared, "mallory", []string{"a.example.com"}, takenFor, true},
		{"nor by asking for it again and again", shared, "mallory", []string{"b.example.com"}, takenFor, true},
	} {
		refusal, err := names.Take(t.Context(), behind{}, step.authority, types.NamespacedName{Namespace: step.namespace, Name: "gateway-edge"}, step.hosts, noon.Add(step.after))
		if taken := refusal.Host == ""; err != nil || taken != step.taken || !taken && !refusal.Until.Equal(noon.Add(takenFor)) {
			t.Errorf("%s: %+v, error %v", step.sentence, refusal, err)
		}
	}
}

// Whoever was issued nothing gives a name back. Another endpoint of his namespace, which may have been, keeps it.
func TestANameIsGivenBack(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	authority, hosts := types.NamespacedName{Namespace: "platform", Name: "shared"}, []string{"a.example.com"}
	first, second := types.NamespacedName{Namespace: "shop", Name: "gateway-first"}, types.NamespacedName{Namespace: "shop", Name: "gateway-second"}
	var names Names
	free := func() bool {
		refusal, err := names.Take(t.Context(), behind{}, authority, types.NamespacedName{Namespace: "bank", Name: "gateway-edge"}, hosts, now)
		return err == nil && refusal.Host == ""
	}
	for _, own := range []types.NamespacedName{first, second} {
		if refusal, err := names.Take(t.Context(), behind{}, authority, own, hosts, now); err != nil || refusal.Host != "" {
			t.Fatalf("%s: %+v, error %v", own, refusal, err)
		}
	}
	if names.Return(authority, first, hosts); free() {
		t.Error("another of the namespace lost it")
	}
	if names.Return(authority, second, hosts); !free() {
		t.Error("it is not given back")
	}
}
