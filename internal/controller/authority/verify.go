package authority

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/condition"
	"sallyport.dev/sallyport/internal/controller/pass"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// verify tells how an authority stands that has no CA of its own.
func (r *Reconciler) verify(ctx context.Context, authority *v1alpha1.CertificateAuthority, now time.Time) (reconcile.Result, error) {
	trust, err := issuer.TrustOf(ctx, r.Cluster, authority, rotate.Ledger{}, pki.Bundle{}, now)
	if err != nil {
		return pass.Again(err)
	}
	if err := r.writeStatus(ctx, authority, view{verifies: true, others: trust.Others}, now); err != nil {
		return pass.Again(err)
	}
	return pass.At(trust.Next, now), nil
}

// verifying is whether gateways can verify any caller.
func (v view) verifying() metav1.Condition {
	for _, s := range v.others {
		if s.LeftOut == nil {
			return condition.True(v1alpha1.ConditionReady, v1alpha1.ReasonReady, "gateways accept callers of spec.trustedCertificates; nothing is issued")
		}
	}
	return condition.False(v1alpha1.ConditionReady, v1alpha1.ReasonLeftOut, "there is no CA that gateways can trust: see condition "+v1alpha1.ConditionTrustedCertificatesCurrent)
}
