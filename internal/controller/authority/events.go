package authority

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/metrics"
	"sallyport.dev/sallyport/pkg/rotate"
)

// done is what each action did, for people.
var done = map[rotate.Action]string{
	rotate.CreateGeneration: "made generation %s of the authority",
	rotate.SignCRL:          "signed the CRL of generation %s",
	rotate.Trust:            "generation %s is trusted from now on",
	rotate.Activate:         "generation %s issues from now on",
	rotate.Renew:            "took the certificate of generation %s that its owner renewed",
	rotate.NoteReplaced:     "no counted replica serves a certificate of generation %s any more",
	rotate.Withdraw:         "generation %s is trusted no more",
	rotate.Remove:           "generation %s is gone, with its key",
	rotate.ThrowOut:         "generation %s was thrown out: its key is in somebody else's hands",
}

// announce counts what a pass made, and tells it in one event.
func (r *Reconciler) announce(authority *v1alpha1.CertificateAuthority, plan rotate.Plan, brings bool) {
	if len(plan.Steps) == 0 {
		return
	}
	for _, step := range plan.Steps {
		switch step.Action {
		case rotate.CreateGeneration:
			if brings {
				continue // somebody else issued it
			}
			r.Counters.Issued(metrics.CA, step.Reason)
		case rotate.SignCRL:
			r.Counters.Issued(metrics.CRL, step.Reason)
		case rotate.Trust, rotate.Activate, rotate.Renew, rotate.NoteReplaced, rotate.Withdraw, rotate.Remove, rotate.ThrowOut:
		}
	}
	first := plan.Steps[0]
	kind := corev1.EventTypeNormal
	if first.Reason == rotate.ReasonCompromised || first.Reason == rotate.ReasonTime {
		kind = corev1.EventTypeWarning // a person ought to look
	}
	r.Recorder.Eventf(authority, nil, kind, string(first.Reason), string(first.Action), "%s", fmt.Sprintf(done[first.Action], first.Generation))
}
