package programming

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/condition"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// adoption is what somebody made by hand for a Gateway: what was taken over, and what is about to be.
type adoption struct {
	// made is all that goes on.
	made []made
	// offered is whether something is yet to be taken over.
	offered bool
	// problem is why what is offered is not taken over, and stays as it is; nil if nothing stands against it.
	problem *issuer.Problem
	// stands is how each of the CAs stands, by its key id.
	stands []v1alpha1.TrustedCertificateStatus
	// leftOut says whose callers are refused now, by the reason; empty if nobody's are.
	leftOut, reason string
}

// made is what is remembered, or will be, of one ingress namespace.
type made struct {
	rotate.Adopted
	in types.NamespacedName
	// offered is whether it is yet to be taken over.
	offered bool
}

// gatherAdoption finds out what was made by hand. All ingress namespaces serve one certificate, so what is taken over has to be
// the same everywhere.
func (f *facts) gatherAdoption(now time.Time) {
	var served pki.Pair
	for _, e := range f.edges {
		found := e.stored.Adopted
		if offer := e.stored.Offer; offer != nil {
			f.adoption.offered = true
			if offer.Problem != nil {
				f.refuseAdoption(v1alpha1.ReasonForeignSecret, offer.Problem.Error())
				continue
			}
			found = offer.Adopted.At(now)
		}
		if !found.IsZero() {
			f.adoption.made = append(f.adoption.made, made{found, e.secrets.Adopted, e.stored.Offer != nil})
		}
		if e.stored.Forgotten != nil {
			f.trouble = append(f.trouble, fmt.Sprintf("Secret %s remembers what was taken over of hand-made Secrets, and cannot be read: %s; restore it, or delete it and callers of those CAs are refused", e.secrets.Adopted, e.stored.Forgotten))
		}
		if !served.IsZero() && !e.stored.Pair.IsZero() && !served.Leaf().Equal(e.stored.Pair.Leaf()) && !f.provided {
			f.refuseAdoption(v1alpha1.ReasonForeignSecret, fmt.Sprintf("Secret %s has another server certificate than in the other ingress namespaces, and one is served in all: put the same into each", e.secrets.Server))
		}
		if !e.stored.Pair.IsZero() {
			served = e.stored.Pair
		}
	}
}

// refuseAdoption leaves what is offered as it is.
func (f *facts) refuseAdoption(reason, why string) {
	if f.adoption.offered && f.adoption.problem == nil {
		f.adoption.problem = &issuer.Problem{Reason: reason, Message: "what was made by hand is not taken over, and stays as it is: " + why}
	}
}

// decline leaves what is offered out of all that follows, because something stands against it.
func (f *facts) decline() {
	f.adoption.made = slices.DeleteFunc(f.adoption.made, func(m made) bool { return m.offered })
	f.adoption.leftOut, f.adoption.reason, f.adoption.stands = "", "", nil
	for i := range f.edges {
		f.edges[i].stored.Offer = nil
	}
}

// waitsWithAdoption says why nothing at all is written: what is offered has to stay as it is, and nothing that is ours has to be
// kept current; nil otherwise.
func (f facts) waitsWithAdoption() *issuer.Problem {
	ours := slices.ContainsFunc(f.edges, func(e edge) bool { return len(e.stored.Trusted()) > 0 })
	switch {
	case !f.adoption.offered || ours:
		return nil
	case f.adoption.problem != nil:
		return f.adoption.problem
	}
	return f.refused
}

// trustAdopted adds the CAs that were made by hand to what the Gateway trusts, each as long as gateways would work with it. What
// is not taken over yet is so only if all of them would be trusted: nobody is refused by that.
func (f *facts) trustAdopted(now time.Time) {
	own, next := f.trust.Bundle, f.trust.Next
	if f.trustMade(now); f.adoption.problem != nil {
		f.trust.Bundle, f.trust.Next = own, next
		f.decline()
		f.trustMade(now)
	}
}

func (f *facts) trustMade(now time.Time) {
	var cas []rotate.TrustedCertificate
	for _, m := range f.adoption.made {
		cas = append(cas, m.CAs()...)
	}
	switch {
	case len(cas) == 0:
		return
	case f.trust.namedBy != "":
		f.leaveOut(v1alpha1.ReasonForeignAuthorityNotAllowed, f.trust.namedBy+" goes by names, and the CAs that were made by hand can mint any name: take it off, or what was made by hand")
		return
	case f.trust.unknown:
		f.refuseAdoption(v1alpha1.ReasonPending, "APIRules cannot be read, so it is not known whether a workload is told who called")
		cas = slices.DeleteFunc(cas, func(t rotate.TrustedCertificate) bool { return !f.stored(t) })
	}
	settings := rotate.AuthoritySettings{
		Revocation: issuer.Revokes(f.issuer.Object.Spec, f.issuer.Ledger),
		Rotation:   rotate.RotationSettings{Compromised: f.issuer.Object.Spec.Rotation.Compromised},
	}
	var standings []rotate.Standing
	f.trust.Bundle, standings = f.issuer.Ledger.TrustAlso(f.trust.Bundle, cas, settings, now)
	for i, s := range standings {
		f.trust.Next = first(f.trust.Next, s.Next)
		f.stand(cas[i], s)
		if s.LeftOut == nil {
			continue
		}
		reason := v1alpha1.ReasonLeftOut
		if errors.Is(s.LeftOut, rotate.ErrNeedsCRL) {
			reason = v1alpha1.ReasonAdoptionNeedsCRL
		}
		f.leaveOut(reason, fmt.Sprintf("%s: %s", s.Name, s.LeftOut))
	}
}

// maxStands bounds the CAs of which the status tells how they stand.
const maxStands = 16

// stand tells how a CA stands that was made by hand, once though it is remembered in several ingress namespaces.
func (f *facts) stand(t rotate.TrustedCertificate, s rotate.Standing) {
	id, err := t.Entries[0].CA.KeyID()
	known := slices.ContainsFunc(f.adoption.stands, func(k v1alpha1.TrustedCertificateStatus) bool { return k.Name == id })
	if err == nil && !known && len(f.adoption.stands) < maxStands {
		f.adoption.stands = append(f.adoption.stands, issuer.Told(id, s))
	}
}

// leaveOut says whose callers are not accepted, and keeps them from being taken over.
func (f *facts) leaveOut(reason, why string) {
	f.refuseAdoption(reason, why)
	if f.adoption.leftOut == "" {
		f.adoption.leftOut, f.adoption.reason = why, reason
	}
}

// madeByHand reports whether a server's certificate is one that was taken over.
func (f facts) madeByHand(pair pki.Pair) bool {
	return slices.ContainsFunc(f.adoption.made, func(m made) bool { return m.Made(pair) })
}

// handMaterial goes on with a server certificate that was made by hand until its time has come, or until its callers are said
// to know the authority's; false if there is none such.
func (f facts) handMaterial(now time.Time) (material, bool) {
	stored := f.storedPair()
	if !f.madeByHand(stored) || f.authorities[0].known() {
		return material{}, false
	}
	handover := rotate.Handover(stored.Leaf())
	if !now.Before(handover) {
		return material{}, false
	}
	m := material{pair: stored, next: handover}
	if trouble := unfit(stored.Leaf(), f.hosts, now); trouble != "" {
		m.trouble = "the server certificate that was made by hand " + trouble
	}
	return m, true
}

// adopted tells how what was made by hand goes on; false if nothing was.
func (f facts) adopted(serving pki.Pair) (metav1.Condition, bool) {
	const kind = v1alpha1.ConditionAdopted
	switch {
	case f.adoption.problem != nil:
		return condition.False(kind, f.adoption.problem.Reason, f.adoption.problem.Message), true
	case f.adoption.leftOut != "":
		return condition.False(kind, f.adoption.reason, "callers of what was made by hand are refused: "+f.adoption.leftOut), true
	case len(f.adoption.made) == 0:
		return metav1.Condition{}, false
	}
	var goesOn []string
	if f.madeByHand(serving) {
		goesOn = append(goesOn, fmt.Sprintf("the server certificate until %s, or until spec.rotation.callersUpdated of CertificateAuthority %s names its active key",
			rotate.Handover(serving.Leaf()).UTC().Format(time.RFC3339), f.ref))
	}
	for _, m := range f.adoption.made {
		for _, group := range m.CAs() {
			if caller := fmt.Sprintf("callers of %s as long as Secret %s is there", group.Name, m.in); !slices.Contains(goesOn, caller) {
				goesOn = append(goesOn, caller)
			}
		}
	}
	if len(goesOn) == 0 {
		return condition.True(kind, v1alpha1.ReasonAdopted, "nothing that was made by hand is in use any more"), true
	}
	return condition.True(kind, v1alpha1.ReasonAdopted, "what was made by hand goes on: "+strings.Join(goesOn, "; ")), true
}
