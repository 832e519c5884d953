package endpoint

import (
	"os"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

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
	shared, second := types.NamespacedName{Namespace: "platform", Name: "shared"}, types.NamespacedName{Namespace: "platform", Name: "second"}
	namespace := environment.Namespace(t, "holder").Name
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
