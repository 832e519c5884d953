package programming

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/condition"
	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/mutate"
)

// trust is what a Gateway trusts.
type trust struct {
	issuer.Trust
	// namedBy is what tells callers apart by name, so that the CAs of others are left out: each of
	// them can mint any name. Empty if nothing does.
	namedBy string
}

// headersEvery is how often to look whether workloads are still told who called.
const headersEvery = time.Minute

// trustOf is what a Gateway is to trust. It waits where it is not known yet whether a workload is told
// who called: the CAs of others are not let in before, nor thrown out.
func (p *Programmer) trustOf(ctx context.Context, t Target, i issuer.Issuer, now time.Time) (found trust, waiting bool, err error) {
	if found.Trust, err = issuer.TrustOf(ctx, p.Cluster, i.Object, i.Ledger, i.Bundle, now); err != nil || len(found.Others) == 0 {
		return found, false, err
	}
	if len(t.Intent.AllowedClients()) > 0 || mutate.NamesCallers(t.Gateway) {
		found.namedBy = intent.KeyAllowedClients
	} else {
		gateway := ingress.GatewayFrom(t.Gateway)
		told, known, err := p.Headers.Tell(ctx, gateway.Ref())
		if err != nil || !known {
			return found, !known, err
		}
		if told || len(t.Intent.ClientHeaders()) > 0 {
			found.namedBy = intent.KeyClientHeaders
			found.Next = first(found.Next, now.Add(headersEvery))
		}
	}
	if found.namedBy != "" {
		found.Bundle = i.Bundle
	}
	return found, false, found.nobody(i, t)
}

// nobody says that there is nobody to trust, nil if there is: what gateways have stays as it is.
func (t trust) nobody(i issuer.Issuer, target Target) error {
	if !t.Bundle.IsZero() {
		return nil
	}
	if t.namedBy != "" {
		return &issuer.Problem{Reason: v1alpha1.ReasonForeignAuthorityNotAllowed, Lasting: true, Message: fmt.Sprintf(
			"CertificateAuthority %s trusts CAs of others only, and %s goes by names, which a foreign CA can mint: take it off, or name another authority", target.Intent.Authority(), t.namedBy)}
	}
	return &issuer.Problem{Reason: v1alpha1.ReasonLeftOut, Message: fmt.Sprintf(
		"CertificateAuthority %s has no CA that gateways can trust now: %s", client.ObjectKeyFromObject(i.Object), "see its status.trustedCertificates")}
}

// condition tells how the CAs of others stand; false if there are none.
func (t trust) condition() (metav1.Condition, bool) {
	const kind = v1alpha1.ConditionTrustedCertificatesCurrent
	if len(t.Others) == 0 {
		return metav1.Condition{}, false
	}
	if t.namedBy != "" && t.Bundle.IsZero() {
		return condition.False(kind, v1alpha1.ReasonForeignAuthorityNotAllowed,
			"gateways go on with what they trusted before, because there is no other CA to trust: callers of the authority's spec.trustedCertificates may still be ACCEPTED here, under any name, though "+t.namedBy+" goes by names; take it off, or name an authority with a CA of its own"), true
	}
	if t.namedBy != "" {
		return condition.False(kind, v1alpha1.ReasonForeignAuthorityNotAllowed,
			"callers of the authority's spec.trustedCertificates are refused here: "+t.namedBy+" goes by names, and a foreign CA can mint any name; take it off, or name an authority without trustedCertificates"), true
	}
	return condition.True(kind, v1alpha1.ReasonTrusted, "gateways trust what the authority's status.trustedCertificates tells"), true
}
