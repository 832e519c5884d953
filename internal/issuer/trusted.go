package issuer

import (
	"context"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// Trust is what gateways trust that accept callers of other CAs too.
type Trust struct {
	// Bundle has the authority's own generations first.
	Bundle pki.Bundle
	// Others is how each of spec.trustedCertificates stands.
	Others []rotate.Standing
	// Next is when to look again; zero if only a change of the authority changes anything.
	Next time.Time
}

// maxLeftOut bounds what is told of one entry, in bytes.
const maxLeftOut = 1024

// Told is how the CA of somebody else stands, as a status tells it under a name.
func Told(name string, s rotate.Standing) v1alpha1.TrustedCertificateStatus {
	t := v1alpha1.TrustedCertificateStatus{Name: name}
	if !s.NotAfter.IsZero() {
		notAfter, renewal := metav1.NewTime(s.NotAfter), metav1.NewTime(s.Expected)
		t.NotAfter, t.RenewalTime = &notAfter, &renewal
	}
	if s.LeftOut != nil {
		why := strings.ToValidUTF8(s.LeftOut.Error(), "?")
		t.LeftOut = strings.ToValidUTF8(why[:min(len(why), maxLeftOut)], "")
	}
	return t
}

// TrustOf adds spec.trustedCertificates to the bundle of an authority.
func TrustOf(ctx context.Context, c *cluster.Cluster, authority *v1alpha1.CertificateAuthority, ledger rotate.Ledger, bundle pki.Bundle, now time.Time) (Trust, error) {
	return TrustSome(ctx, c, authority, ledger, bundle, func(rotate.TrustedCertificate) bool { return true }, now)
}

// TrustSome adds those of spec.trustedCertificates that are chosen.
func TrustSome(ctx context.Context, c *cluster.Cluster, authority *v1alpha1.CertificateAuthority, ledger rotate.Ledger, bundle pki.Bundle, choose func(rotate.TrustedCertificate) bool, now time.Time) (Trust, error) {
	settings := rotate.AuthoritySettings{
		Revocation: Revokes(authority.Spec, ledger),
		Rotation:   rotate.RotationSettings{Compromised: authority.Spec.Rotation.Compromised},
	}
	trusted, next, err := c.TrustedCertificates(ctx, authority, now)
	if err != nil {
		return Trust{}, err
	}
	trusted = slices.DeleteFunc(slices.Clone(trusted), func(t rotate.TrustedCertificate) bool { return !choose(t) })
	t := Trust{Next: next}
	t.Bundle, t.Others = ledger.TrustAlso(bundle, trusted, settings, now)
	for _, s := range t.Others {
		if !s.Next.IsZero() && (t.Next.IsZero() || s.Next.Before(t.Next)) {
			t.Next = s.Next
		}
	}
	return t, nil
}
