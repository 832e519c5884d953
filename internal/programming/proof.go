package programming

import (
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/condition"
	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/internal/probe"
	"sallyport.dev/sallyport/internal/proving"
	"sallyport.dev/sallyport/pkg/intent"
)

// proof is what handshakes showed, as the endpoint tells it.
type proof struct {
	condition metav1.Condition
	replicas  *v1alpha1.ReplicaCounts
	// required is whether the endpoint is not ready without it.
	required bool
}

// lastProof is that of a Gateway for which nothing new is to be written. What stands at
// the edge stays, and so does what is expected of it; there is nothing to expect of one
// that was never programmed.
func (p *Programmer) lastProof(t Target, f facts, now time.Time) proof {
	if p.Prover == nil {
		return notProbed("no handshake is tried: the agent runs with --probe-period=0")
	}
	if found, tried := p.Prover.Last(t.Endpoint, f.servers, seen(t, f), now); tried {
		return told(found, t, f)
	}
	return notProbed("no handshake is tried before the Gateway is programmed")
}

func notProbed(message string) proof {
	return proof{condition: condition.Unknown(v1alpha1.ConditionProven, v1alpha1.ReasonNotProbed, message)}
}

// Forget drops what is known of an endpoint that is no longer programmed.
func (p *Programmer) Forget(endpoint types.NamespacedName) {
	if p.Prover != nil {
		p.Prover.Forget(endpoint)
	}
	if p.Callers != nil {
		p.Callers.Forget(endpoint)
	}
}

// prove says what is to be tried, and what was found so far.
func (p *Programmer) prove(t Target, f facts, m material, now time.Time) proof {
	gateway := ingress.GatewayFrom(t.Gateway)
	if p.Prover == nil || m.pair.IsZero() {
		return p.lastProof(t, f, now)
	}
	held := f.issuer.Signer.Held
	if f.provided || !f.issuer.Ledger.Signed(m.pair.Leaf()) {
		held = nil // who trusts what somebody else signed is not known here
	}
	wanted := proving.Subject{
		Endpoint: t.Endpoint, Authority: f.ref, Gateway: gateway.Ref(), Servers: f.servers,
		Optional:   t.Intent.Mode() == intent.ModeOptional,
		AllowList:  len(t.Intent.AllowedClients()) > 0,
		Revocation: issuer.Revokes(f.issuer.Object.Spec, f.issuer.Ledger),
		Issuer:     f.issuer.Signer.Generation, Next: f.issuer.Next, Withdrawn: f.issuer.Withdrawn, Held: held,
		Leaf: m.pair.Leaf(), Changed: f.changed, Seen: seen(t, f),
		Known: before(t, f) != nil && !f.changed,
	}
	var further []proving.Subject
	for _, a := range f.further() {
		if a.problem == nil && !issuer.OnlyVerifies(a.Object.Spec) {
			also := wanted
			also.Authority, also.Issuer, also.Next, also.Withdrawn, also.Held = a.ref, a.Signer.Generation, a.Next, a.Withdrawn, nil
			further = append(further, also)
		}
	}
	return told(p.Prover.Prove(wanted, now, further...), t, f)
}

// seen are the versions of all that a gateway reads.
func seen(t Target, f facts) string {
	gateway := unstructured.Unstructured{Object: t.Gateway}
	versions := strconv.FormatInt(gateway.GetGeneration(), 10)
	for _, e := range f.edges {
		versions += " " + e.stored.Versions()
	}
	return versions
}

// before is what was told of the same hosts in the same mode when the endpoint was last
// written; nil if nothing was found out by then.
func before(t Target, f facts) *metav1.Condition {
	last := meta.FindStatusCondition(f.last.Status.Conditions, v1alpha1.ConditionProven)
	if last == nil || last.Reason == v1alpha1.ReasonNotProbed || last.Reason == v1alpha1.ReasonPending || f.last.Status.Replicas == nil ||
		f.last.Status.Mode != modeOf(t) || !slices.Equal(f.last.Status.Hosts, f.hosts) {
		return nil
	}
	return last
}

// told puts a proof into words. What is not found out yet leaves what was told before as
// it is: an agent that begins has to try everything once.
func told(found proving.Proof, t Target, f facts) proof {
	if last := before(t, f); last != nil && found.State == proving.Underway {
		return proof{condition: *last, replicas: f.last.Status.Replicas, required: true}
	}
	total := found.Proven + found.Failed + found.Unknown
	p := proof{
		replicas: &v1alpha1.ReplicaCounts{Total: int32(total), Proven: int32(found.Proven), Failed: int32(found.Failed), Unknown: int32(found.Unknown)}, //nolint:gosec // pods are fewer
		required: found.State != proving.NoReplicas,
	}
	const kind = v1alpha1.ConditionProven
	switch found.State {
	case proving.Proven:
		p.condition = condition.True(kind, v1alpha1.ReasonProven, "every replica refused every stranger that was tried and accepted the agent's own certificate")
		if f.issuer.Object != nil && issuer.OnlyVerifies(f.issuer.Object.Spec) {
			p.condition.Message = "every replica refused every stranger that was tried; that it lets a good caller in cannot be tried, because the authority issues no certificate"
		}
	case proving.NoReplicas:
		p.condition = condition.Unknown(kind, v1alpha1.ReasonNoReplicas, "no gateway replica that serves this Gateway is ready: there is none to try")
	case proving.Underway:
		p.condition = condition.Unknown(kind, v1alpha1.ReasonPending, "the replicas are being tried")
	case proving.Unproven:
		p.condition = condition.Unknown(kind, v1alpha1.ReasonReplicaUnknown, found.Message)
	case proving.Refuted:
		p.condition = condition.False(kind, refutation(found.Worst), found.Message)
	}
	return p
}

// refutation is the reason of a Gateway that did not meet an expectation.
func refutation(e probe.Expectation) string {
	switch {
	case e.Negative():
		return v1alpha1.ReasonEdgeOpen
	case e == probe.ManagedAccepted:
		return v1alpha1.ReasonFriendRefused
	}
	return v1alpha1.ReasonServedCertificateDiffers
}
