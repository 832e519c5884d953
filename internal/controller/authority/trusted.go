package authority

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/condition"
	"sallyport.dev/sallyport/internal/issuer"
)

// trusted is how the CAs of others stand, for the status.
func (v view) trusted() []v1alpha1.TrustedCertificateStatus {
	var told []v1alpha1.TrustedCertificateStatus
	for _, s := range v.others {
		told = append(told, issuer.Told(s.Name, s))
	}
	return told
}

// trustedCertificatesCurrent names those that gateways do not trust.
func (v view) trustedCertificatesCurrent() metav1.Condition {
	const kind = v1alpha1.ConditionTrustedCertificatesCurrent
	var out []string
	for _, s := range v.others {
		if s.LeftOut != nil {
			out = append(out, fmt.Sprintf("%s: %s", s.Name, issuer.Told(s.Name, s).LeftOut))
		}
	}
	if len(out) == 0 {
		return condition.True(kind, v1alpha1.ReasonTrusted, "gateways accept callers of every one of spec.trustedCertificates")
	}
	if v.verifies && len(out) == len(v.others) {
		return condition.False(kind, v1alpha1.ReasonLeftOut,
			"there is no other CA to trust, so gateways go on with what they trusted before, but for what is compromised: "+strings.Join(out, "; "))
	}
	return condition.False(kind, v1alpha1.ReasonLeftOut, "gateways refuse callers of "+strings.Join(out, "; "))
}
