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
	// cas are its CAs, in groups.
	cas []rotate.TrustedCertificate
	in  types.NamespacedName
	// offered is whether it is yet to be taken over, kept whether it is all that gateways trusted before it was forgotten.
	offered, kept bool
}

// gatherAdoption finds out what was made by hand. All ingress namespaces serve one certificate, so what is taken over has to be
// the same everywhere.
func (f *facts) gatherAdoption(now time.Time) {
	var served pki.Pair
	add := func(found rotate.Adopted, e edge, how made) {
		if how.Adopted, how.cas, how.in = found, found.CAs(now), e.secrets.Adopted; !found.IsZero() {
			f.adoption.made = append(f.adoption.made, how)
		}
	}
	for _, e := range f.edges {
		add(e.stored.Adopted, e, made{})
		add(e.stored.Kept(), e, made{kept: true})
		if offer := e.stored.Offer; offer != nil {
			f.adoption.offered = true
			if offer.Problem != nil {
				f.refuseAdoption(v1alpha1.ReasonForeignSecret, offer.Problem.Error())
				continue
			}
			add(offer.Adopted.At(now), e, made{offered: true})
		}
		if e.stored.Forgotten != nil {
			f.forgotten = true
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
		if stored := &f.edges[i].stored; stored.Offer != nil && !f.provided {
			stored.Pair = pki.Pair{} // it is not what is served elsewhere
		}
		f.edges[i].stored.Offer = nil
	}
}

// hurried refuses what is offered if its server certificate would be replaced at once, by one that its callers may not know.
func (f *facts) hurried(now time.Time) {
	for _, e := range f.edges {
		if e.stored.Offer == nil || e.stored.Pair.IsZero() || f.provided {
			continue
		}
		const otherwise = "; or, if its callers may refuse another, delete that Secret and hand over the one with the CAs alone"
		if handover := rotate.Handover(e.stored.Pair.Leaf()); !now.Before(handover) {
			f.refuseAdoption(v1alpha1.ReasonCallersMustUpdate, fmt.Sprintf("the certificate in Secret %s would be replaced at once, because less than a sixth of its life is left since %s: put one there that lives longer%s",
				e.secrets.Server, handover.UTC().Format(time.RFC3339), otherwise))
		} else if len(f.authorities) > 0 && f.authorities[0].known() {
			f.refuseAdoption(v1alpha1.ReasonCallersMustUpdate, fmt.Sprintf("the certificate in Secret %s would be replaced at once, because spec.rotation.callersUpdated of CertificateAuthority %s says that every caller knows that one: take it off until those of this Gateway do%s",
				e.secrets.Server, f.ref, otherwise))
		}
	}
}

// waitsWithAdoption says why nothing at all is written: what is offered has to stay as it is, and nothing that is ours has to be
// kept current; nil otherwise.
func (f facts) waitsWithAdoption() *issuer.Problem {
	switch {
	case !f.adoption.offered || slices.ContainsFunc(f.edges, func(e edge) bool { return len(e.stored.Trusted()) > 0 }):
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
	f.hurried(now)
	if f.trustMade(now); f.adoption.problem != nil {
		f.trust.Bundle, f.trust.Next = own, next
		f.decline()
		f.trustMade(now)
	}
}

func (f *facts) trustMade(now time.Time) {
	var cas []rotate.TrustedCertificate
	for _, m := range f.adoption.made {
		for _, group := range m.cas {
			if group.Entries = f.besideOwn(group.Entries, m.kept); len(group.Entries) > 0 {
				cas = append(cas, group)
			}
		}
	}
	switch {
	case len(cas) == 0:
		return
	case f.trust.namedBy != "":
		f.leaveOut(v1alpha1.ReasonForeignAuthorityNotAllowed, f.trust.namedBy+" goes by names, and the CAs that were made by hand can mint any name: take it off, or what was made by hand")
		return
	case f.trust.unknown != "":
		f.refuseAdoption(v1alpha1.ReasonPending, f.trust.unknown+", so it is not known whether a workload is told who called")
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

// besideOwn leaves out of what was made by hand what the authority trusts as its own, under its own CRL. What that CRL does not
// list, and the hand-made one does, must not be let in again.
func (f *facts) besideOwn(entries []pki.BundleEntry, kept bool) []pki.BundleEntry {
	own := f.issuer.Bundle.Entries()
	return slices.DeleteFunc(slices.Clone(entries), func(made pki.BundleEntry) bool {
		at := slices.IndexFunc(own, func(e pki.BundleEntry) bool { return e.CA.Equal(made.CA) })
		if at < 0 {
			return false
		}
		if kept || made.CRL.IsZero() {
			return true
		}
		unlisted := 0
		for _, revoked := range made.CRL.Revoked() {
			if crl := own[at].CRL; crl.IsZero() || !crl.Lists(revoked.Serial) {
				unlisted++
			}
		}
		if unlisted > 0 {
			f.leaveOut(v1alpha1.ReasonLeftOut, fmt.Sprintf("CA %q is the authority's own, and gateways would let %d callers in again that its hand-made CRL lists: put their serial numbers into spec.revocation.serials, with spec.revocation.mode CRL",
				made.CA.X509().Subject.CommonName, unlisted))
		}
		return true
	})
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
	if f.forgotten && !stored.IsZero() { // it may be the one
		return material{pair: stored, next: now.Add(lookEvery)}, true
	}
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
	for _, e := range f.edges {
		switch {
		case e.stored.Offer == nil:
		case e.isTaken:
			return condition.False(kind, v1alpha1.ReasonForeignSecret, fmt.Sprintf("what was made by hand is not taken over: Secret %s was not made for this Gateway: delete it", e.taken)), true
		case !f.taken:
			return condition.False(kind, v1alpha1.ReasonPending, "what was made by hand is about to be taken over"), true
		}
	}
	var goesOn []string
	if f.madeByHand(serving) {
		goesOn = append(goesOn, fmt.Sprintf("the server certificate until %s, or until spec.rotation.callersUpdated of CertificateAuthority %s names its active key",
			rotate.Handover(serving.Leaf()).UTC().Format(time.RFC3339), f.ref))
	}
	for _, m := range f.adoption.made {
		for _, group := range m.cas {
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
