package authority

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/condition"
)

// maxLeftOut bounds what is told of one entry, in bytes.
const maxLeftOut = 1024

// trusted is how the CAs of others stand, for the status.
func (v view) trusted() []v1alpha1.TrustedCertificateStatus {
	var told []v1alpha1.TrustedCertificateStatus
	for _, s := range v.others {
		t := v1alpha1.TrustedCertificateStatus{Name: s.Name}
		if !s.NotAfter.IsZero() {
			notAfter, renewal := metav1.NewTime(s.NotAfter), metav1.NewTime(s.Expected)
			t.NotAfter, t.RenewalTime = &notAfter, &renewal
		}
		if s.LeftOut != nil {
			t.LeftOut = bounded(s.LeftOut.Error())
		}
		told = append(told, t)
	}
	return told
}

func bounded(text string) string {
	text = strings.ToValidUTF8(text, "?")
	return strings.ToValidUTF8(text[:min(len(text), maxLeftOut)], "")
}

// trustedCertificatesCurrent names those that gateways do not trust.
func (v view) trustedCertificatesCurrent() metav1.Condition {
	const kind = v1alpha1.ConditionTrustedCertificatesCurrent
	var out []string
	for _, s := range v.others {
		if s.LeftOut != nil {
			out = append(out, fmt.Sprintf("%s: %s", s.Name, bounded(s.LeftOut.Error())))
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
