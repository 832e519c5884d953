package authority

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/endpoint"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/internal/probe"
	"sallyport.dev/sallyport/internal/proving"
	"sallyport.dev/sallyport/pkg/rotate"
)

// Proofs tell what handshakes with the gateways showed.
type Proofs interface {
	// Of is what is known of an endpoint with callers of an authority; false if nothing is tried there.
	Of(endpoint, authority types.NamespacedName) (proving.View, bool)
}

// evidence gathers what is known of the gateways that trust an authority. Those it does not
// serve do not count: whoever names it would hold its rotation up.
func (r *Reconciler) evidence(ctx context.Context, authority *v1alpha1.CertificateAuthority, ledger rotate.Ledger, issued cluster.IssuedToCallers) (rotate.Evidence, error) {
	e := rotate.Evidence{ClientsEnd: issued.End, ClientsUnknown: len(issued.Incomplete) > 0, InUse: map[string]bool{}}
	if ledger.Phase() == rotate.PhaseStable {
		return e, nil // nothing is asked of anybody
	}
	endpoints, err := endpoint.Using(ctx, r.Cluster.Client(), client.ObjectKeyFromObject(authority))
	if err != nil {
		return rotate.Evidence{}, err
	}
	w := witness{ledger: ledger, authority: client.ObjectKeyFromObject(authority)}
	for i := range endpoints {
		serves, err := issuer.Serves(ctx, r.Cluster, authority, endpoints[i].Namespace, issuer.ForGateways)
		var problem *issuer.Problem
		if !serves || apierrors.IsNotFound(err) || errors.As(err, &problem) {
			continue
		}
		if err != nil {
			return rotate.Evidence{}, err
		}
		w.hear(&endpoints[i], r.Proofs, &e)
	}
	return e, nil
}

// witness turns what is known of an endpoint into answers to a ledger's questions.
type witness struct {
	ledger    rotate.Ledger
	authority types.NamespacedName
}

func (w witness) hear(e *v1alpha1.MutualTLSEndpoint, proofs Proofs, evidence *rotate.Evidence) {
	works := meta.IsStatusConditionTrue(e.Status.Conditions, v1alpha1.ConditionAccepted) &&
		meta.IsStatusConditionTrue(e.Status.Conditions, v1alpha1.ConditionProgrammed)
	if served := e.Status.ServerCertificate; works && served != nil {
		for _, g := range w.ledger.Generations() {
			if g.Authority.Certificate().SubjectKeyID() == served.AuthorityKeyID {
				evidence.InUse[g.ID] = true
			}
		}
	}
	gateway := e.Namespace + "/" + e.Name
	if e.Status.Gateway != nil {
		gateway = e.Status.Gateway.Namespace + "/" + e.Status.Gateway.Name
	}
	asked := question{gateway: gateway, counted: works && w.accepted(e)}
	if proofs != nil {
		asked.view, asked.tried = proofs.Of(client.ObjectKeyFromObject(e), w.authority)
	}
	if next, is := w.ledger.Next(); is {
		evidence.Accepts = append(evidence.Accepts, asked.put(next.ID, asked.view.Next, probe.NextAccepted)...)
	}
	if active, is := w.ledger.Active(); is {
		evidence.Serves = append(evidence.Serves, asked.put(active.ID, asked.view.Active, probe.ServedLeafCurrent)...)
	}
	if withdrawn, is := w.ledger.Withdrawn(); is {
		evidence.Refuses = append(evidence.Refuses, asked.put(withdrawn.ID, asked.view.Withdrawn, probe.WithdrawnRefused)...)
	}
}

// accepted reports whether a replica of the endpoint once accepted the active generation, or a
// later one.
func (w witness) accepted(e *v1alpha1.MutualTLSEndpoint) bool {
	active, is := w.ledger.Active()
	for _, a := range e.Status.Authorities {
		if is && a.Namespace == w.authority.Namespace && a.Name == w.authority.Name {
			return !rotate.Earlier(a.AcceptedGeneration, active.ID)
		}
	}
	return false
}

// question is put to the replicas of one Gateway.
type question struct {
	gateway string
	counted bool
	view    proving.View
	tried   bool
}

// put is what the replicas answer about a generation, if they were asked about that one.
func (q question) put(about, asked string, e probe.Expectation) []rotate.Finding {
	if !q.tried || about != asked {
		message := "no handshake was tried with generation " + about + " yet"
		return []rotate.Finding{{Gateway: q.gateway, Counted: q.counted, Answer: rotate.Pending, Message: message}}
	}
	findings := make([]rotate.Finding, 0, len(q.view.Replicas))
	for _, r := range q.view.Replicas {
		f := r.Findings[e]
		findings = append(findings, rotate.Finding{
			Gateway: q.gateway, Replica: r.Replica, Counted: q.counted, Answer: answer(f), Message: message(f),
		})
	}
	return findings
}

func answer(f probe.Finding) rotate.Answer {
	switch {
	case f.Verdict == probe.Met:
		return rotate.Yes
	case f.Verdict == probe.Failed:
		return rotate.No
	case f.Reason == probe.Pending || f.Reason == "":
		return rotate.Pending
	}
	return rotate.Unknown
}

func message(f probe.Finding) string {
	if f.Verdict == probe.Met {
		return ""
	}
	return f.Message
}

// tell names a finding for people.
func tell(f rotate.Finding) string {
	if f.Replica == "" {
		return fmt.Sprintf("Gateway %s: %s", f.Gateway, f.Message)
	}
	return fmt.Sprintf("Gateway %s, replica %s: %s", f.Gateway, f.Replica, f.Message)
}
