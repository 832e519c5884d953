package together

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// An entry of spec.revocation.serials that the API server takes and the agent does not, or one with revocation.mode None, ends
// all that an authority does: CRLs are not signed, and a stolen key is not thrown out.
func TestOneFieldThatCannotBeReadDoesNotStopAnAuthority(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.CertificateAuthority){
		"a serial of zeros": func(a *v1alpha1.CertificateAuthority) { a.Spec.Revocation.Serials = []string{"00"} },
		"serials, and mode None follows": func(a *v1alpha1.CertificateAuthority) {
			a.Spec.Revocation.Serials = []string{"0a"}
			a.Spec.Revocation.Mode = v1alpha1.RevocationNone
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{})
			w.newAuthority("shop", "default", nil)
			w.pass(w.authority, "shop", "default")
			stolen := w.active("shop", "default")
			w.change("shop", "default", change)
			w.pass(w.authority, "shop", "default")
			w.change("shop", "default", compromise(stolen))
			result := w.pass(w.authority, "shop", "default")
			if w.active("shop", "default") == stolen {
				t.Errorf("the stolen key issues on; it is looked at again after %s", result.RequeueAfter)
			}
			a := &v1alpha1.CertificateAuthority{}
			w.get(a, "shop", "default")
			ready := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionReady)
			if ready.Reason != v1alpha1.ReasonInvalid || !strings.HasPrefix(ready.Message, "spec.revocation.serials") {
				t.Errorf("it is told %s: %s", ready.Reason, ready.Message)
			}
		})
	}
}
