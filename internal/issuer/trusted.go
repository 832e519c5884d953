package issuer

import (
	"context"
	"time"

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

// TrustOf adds spec.trustedCertificates to the bundle of an authority.
func TrustOf(ctx context.Context, c *cluster.Cluster, authority *v1alpha1.CertificateAuthority, ledger rotate.Ledger, bundle pki.Bundle, now time.Time) (Trust, error) {
	settings := rotate.AuthoritySettings{
		Revocation: authority.Spec.RevocationMode() == v1alpha1.RevocationCRL,
		Rotation:   rotate.RotationSettings{Compromised: authority.Spec.Rotation.Compromised},
	}
	trusted, next, err := c.TrustedCertificates(ctx, authority, now)
	if err != nil {
		return Trust{}, err
	}
	t := Trust{Next: next}
	t.Bundle, t.Others = ledger.TrustAlso(bundle, trusted, settings, now)
	for _, s := range t.Others {
		if !s.Next.IsZero() && (t.Next.IsZero() || s.Next.Before(t.Next)) {
			t.Next = s.Next
		}
	}
	return t, nil
}
