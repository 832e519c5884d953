package authority

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/metrics"
	"sallyport.dev/sallyport/pkg/rotate"
)

// announce counts what a pass made, and tells it in one event.
func (r *Reconciler) announce(authority *v1alpha1.CertificateAuthority, plan rotate.Plan) {
	if len(plan.Steps) == 0 {
		return
	}
	for _, step := range plan.Steps {
		kind := metrics.CRL
		if step.Action == rotate.CreateGeneration {
			kind = metrics.CA
		}
		r.Counters.Issued(kind, step.Reason)
	}
	first := plan.Steps[0]
	note := fmt.Sprintf("signed the CRL of generation %s", first.Generation)
	if first.Action == rotate.CreateGeneration {
		note = fmt.Sprintf("made generation %s of the authority", first.Generation)
	}
	r.Recorder.Eventf(authority, nil, corev1.EventTypeNormal, string(first.Reason), string(first.Action), "%s", note)
}
