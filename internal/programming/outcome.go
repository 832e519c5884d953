package programming

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/condition"
	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// outcome tells how a Gateway stands once its Secrets were written, or could not be.
func (p *Programmer) outcome(t Target, f facts, m material, proven proof) Outcome {
	o := Outcome{Status: statusOf(t, f), Issued: m.issued, Adopted: f.taken, Next: m.next}
	if !m.pair.IsZero() {
		leaf := m.pair.Leaf()
		served := &v1alpha1.ServedCertificate{Serial: leaf.Serial().String(), AuthorityKeyID: leaf.AuthorityKeyID(), NotAfter: metav1.NewTime(leaf.NotAfter())}
		renewal := f.issuer.Signer.RenewalTime(leaf, f.settings)
		if f.provided {
			served.AuthorityKeyID, renewal = "", expectedBy(leaf)
		} else if f.madeByHand(m.pair) {
			served.AuthorityKeyID, renewal = "", rotate.Handover(leaf)
		}
		told := metav1.NewTime(renewal.Truncate(time.Second)) // as it is stored
		served.RenewalTime = &told
		o.Status.ServerCertificate = served
	}
	for i, a := range f.authorities {
		told := &o.Status.Authorities[i]
		if ca := a.Signer.Authority; !ca.IsZero() {
			notAfter := metav1.NewTime(ca.Certificate().NotAfter())
			told.NotAfter = &notAfter
		}
		told.AcceptedGeneration = acceptedGeneration(f.last, *told, p.acceptedOf(t.Endpoint, a.ref))
	}
	if !f.provided && !f.madeByHand(m.pair) && !f.holds(m.pair) {
		o.Status.Authorities, o.Status.Hosts = f.last.Status.Authorities, f.last.Status.Hosts
	}
	accepted := condition.True(v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted, "the annotations are well-formed, supported and allowed")
	if f.refused != nil && f.refused.Lasting {
		accepted = condition.False(v1alpha1.ConditionAccepted, f.refused.Reason, f.refused.Message)
	}
	o.Status.Conditions, o.Status.Replicas = conditions(accepted, programmed(f), proven, f, m.pair), proven.replicas
	o.Next = first(f.lookAgain(), o.Next)
	return o
}

// lookAgain is when to look again, whatever is to be issued.
func (f facts) lookAgain() time.Time {
	next := f.trust.Next
	for _, c := range f.contests {
		next = first(next, c.Next)
	}
	return next
}

// holds reports whether a certificate holds the hosts for the Gateway: the authority that issues signed it for them. Who is
// refused and goes on with what he has would take hosts from the next otherwise, by asking for them.
func (f facts) holds(pair pki.Pair) bool {
	return !pair.IsZero() && f.issuer.Ledger.Signed(pair.Leaf()) && slices.Equal(slices.Sorted(slices.Values(pair.Leaf().X509().DNSNames)), f.hosts)
}

// first of two instants; zero is none.
func first(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// acceptedOf is the newest generation of an authority of which handshakes showed that a certificate is accepted.
func (p *Programmer) acceptedOf(endpoint, authority types.NamespacedName) string {
	if p.Prover == nil {
		return ""
	}
	view, _ := p.Prover.Of(endpoint, authority)
	return view.Accepted
}

// acceptedGeneration is the newest generation of which a replica ever accepted a certificate.
func acceptedGeneration(last v1alpha1.MutualTLSEndpoint, authority v1alpha1.EndpointAuthority, newest string) string {
	for _, a := range last.Status.Authorities {
		if a.Namespace == authority.Namespace && a.Name == authority.Name && rotate.Earlier(newest, a.AcceptedGeneration) {
			newest = a.AcceptedGeneration
		}
	}
	return newest
}

// held tells how a Gateway stands for which nothing can be issued. What is stored
// behind it stays as it is.
func (p *Programmer) held(t Target, f facts, problem *issuer.Problem, now time.Time) Outcome {
	o, last := Outcome{Status: statusOf(t, f)}, p.lastProof(t, f, now)
	o.Next = first(f.lookAgain(), now.Add(refusedEvery))
	accepted := condition.True(v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted, "the annotations are well-formed and supported")
	if problem.Lasting {
		accepted = condition.False(v1alpha1.ConditionAccepted, problem.Reason, problem.Message)
	}
	o.Status.Conditions = conditions(accepted, condition.False(v1alpha1.ConditionProgrammed, problem.Reason, problem.Message), last, f, f.storedPair())
	if f.adoption.offered {
		o.Next = first(o.Next, now.Add(missingEvery))
	}
	o.Status.Replicas = last.replicas
	return o
}

// refusedEvery is how often a Gateway is looked at that cannot be programmed: no watch shows that whoever held its host let go of
// it, or that its namespace got the label that its authority asks for.
const refusedEvery = 5 * time.Minute

// offeredEvery is how often to look whether the owner of an authority's CA offers it again.
const offeredEvery = 15 * time.Second

func modeOf(t Target) v1alpha1.EndpointMode {
	if t.Intent.Mode() == intent.ModeOptional {
		return v1alpha1.ModeOptional
	}
	return v1alpha1.ModeMutual
}

func statusOf(t Target, f facts) v1alpha1.MutualTLSEndpointStatus {
	gateway := ingress.GatewayFrom(t.Gateway)
	status := v1alpha1.MutualTLSEndpointStatus{
		Mode:    modeOf(t),
		Gateway: &v1alpha1.NamespacedReference{Namespace: gateway.Namespace, Name: gateway.Name},
		Hosts:   f.hosts[:min(len(f.hosts), maxHosts)],
	}
	named := t.Intent.Authorities()
	if f.ref.Name != "" { // the one that issues first
		named = append([]types.NamespacedName{f.ref}, slices.DeleteFunc(slices.Clone(named), func(n types.NamespacedName) bool { return n == f.ref })...)
	}
	for _, n := range named {
		status.Authorities = append(status.Authorities, v1alpha1.EndpointAuthority{Namespace: n.Namespace, Name: n.Name})
	}
	if f.adoption.problem == nil {
		status.AdoptedCertificates = f.adoption.stands
	}
	for _, e := range f.edges {
		status.Secrets = append(status.Secrets, v1alpha1.EndpointSecrets{Namespace: e.secrets.Server.Namespace, Server: e.secrets.Server.Name, CA: e.secrets.CA.Name})
	}
	return status
}

// programmed judges whether the stored Gateway is mutual and its Secrets are in
// place everywhere.
func programmed(f facts) metav1.Condition {
	no := func(reason, message string) metav1.Condition {
		return condition.False(v1alpha1.ConditionProgrammed, reason, message)
	}
	if len(f.violations) > 0 {
		messages := make([]string, 0, len(f.violations))
		for _, v := range f.violations {
			messages = append(messages, v.String())
		}
		return no(v1alpha1.ReasonNotMutual, "the Gateway is stored without mutual TLS: "+strings.Join(messages, "; "))
	}
	if len(f.edges) == 0 {
		return no(v1alpha1.ReasonNoIngressMatch, "the Gateway's selector matches no configured ingress: its Secrets have no place to be written to")
	}
	if f.refused != nil {
		return no(f.refused.Reason, f.refused.Message)
	}
	if f.issuer.Withheld != "" {
		return no(v1alpha1.ReasonNotOffered, f.issuer.Withheld)
	}
	if len(f.trouble) > 0 {
		return no(v1alpha1.ReasonInvalid, strings.Join(f.trouble, "; "))
	}
	if len(f.contests) > 0 {
		return no(v1alpha1.ReasonForeignChange, contested(f.contests))
	}
	for _, e := range f.edges {
		if e.isTaken {
			return no(v1alpha1.ReasonForeignSecret, fmt.Sprintf("Secret %s exists and was not made for this Gateway: delete it, hand it over (%s: %s), or leave credentialName out of the Gateway", e.taken, intent.KeyAdopt, e.secrets.Owner.Namespace+"/"+e.secrets.Owner.Name))
		}
	}
	return condition.True(v1alpha1.ConditionProgrammed, v1alpha1.ReasonProgrammed, "the Gateway is mutual and its Secrets are current")
}

// conditions are all that an endpoint has. Ready waits for Proven where anything can be
// tried.
func conditions(accepted, programmed metav1.Condition, proven proof, f facts, serving pki.Pair) []metav1.Condition {
	all := []metav1.Condition{accepted, programmed, proven.condition}
	ready := condition.True(v1alpha1.ConditionReady, v1alpha1.ReasonReady, "the edge asks for client certificates, and has what it needs to verify them")
	if proven.required && proven.condition.Status != metav1.ConditionTrue {
		ready = condition.False(v1alpha1.ConditionReady, proven.condition.Reason, proven.condition.Message)
	}
	if others, any := f.trust.condition(); any {
		all = append(all, others)
		if others.Status != metav1.ConditionTrue {
			ready = condition.False(v1alpha1.ConditionReady, others.Reason, others.Message)
		}
	}
	if others, any := f.authoritiesTrusted(); any {
		all = append(all, others)
		if others.Status != metav1.ConditionTrue {
			ready = condition.False(v1alpha1.ConditionReady, others.Reason, others.Message)
		}
	}
	if made, any := f.adopted(serving); any {
		all = append(all, made)
		if made.Status != metav1.ConditionTrue {
			ready = condition.False(v1alpha1.ConditionReady, made.Reason, made.Message)
		}
	}
	for _, c := range []metav1.Condition{programmed, accepted} {
		if c.Status != metav1.ConditionTrue {
			ready = condition.False(v1alpha1.ConditionReady, c.Reason, c.Message)
		}
	}
	if held := heldHosts(f.conflicts); held != "" {
		all = append(all, condition.True(v1alpha1.ConditionHostConflict, v1alpha1.ReasonHostHeld, held))
		ready = condition.False(v1alpha1.ConditionReady, v1alpha1.ReasonHostHeld, held)
	}
	if len(f.contests) > 0 {
		all = append(all, condition.True(v1alpha1.ConditionConflictingWriter, v1alpha1.ReasonForeignChange, contested(f.contests)))
	}
	if len(f.edges) == 0 {
		all = append(all, condition.True(v1alpha1.ConditionNoIngressMatch, v1alpha1.ReasonNoIngressMatch,
			"the Gateway's selector matches no configured ingress"))
	}
	return append(all, ready)
}

// contested says which Secrets somebody else keeps changing, and who.
func contested(contests []cluster.Contest) string {
	messages := make([]string, 0, len(contests))
	for _, c := range contests {
		by := "somebody"
		if c.By != "" {
			by = strconv.Quote(c.By)
		}
		messages = append(messages, fmt.Sprintf("%s keeps changing Secret %s: it is put right once a minute at most; stop that writer (the field managers of the Secret name it)", by, c.Secret))
	}
	return strings.Join(messages, "; ")
}

// heldHosts says which hosts an older Gateway holds; empty if none.
func heldHosts(conflicts []ingress.Conflict) string {
	var held []string
	for _, c := range conflicts {
		if c.OtherIsOlder {
			held = append(held, fmt.Sprintf("host %s on port %d of ingress %s is served from the older Gateway %s, and Istio drops the server that has it here", c.Host, c.Port, c.Ingress, c.Other))
		}
	}
	return strings.Join(slices.Compact(held), "; ")
}
