package programming

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/condition"
	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// accepted is an authority whose callers a Gateway accepts.
type accepted struct {
	issuer.Issuer
	ref types.NamespacedName
	// problem is why its callers are not let in; nil if they are.
	problem *issuer.Problem
}

// usable reports whether it can be the one that issues, or, for a server certificate that is provided, the one that is
// told of first.
func (a accepted) usable(provided bool) bool {
	return a.problem == nil && (provided || !issuer.OnlyVerifies(a.Object.Spec))
}

// gatherAuthorities finds the authorities that an object names: the one that issues, and those whose callers are accepted
// as well. It waits where the first was just made.
func (p *Programmer) gatherAuthorities(ctx context.Context, t Target, gateway ingress.Gateway, f *facts, now time.Time) error {
	var all []accepted
	for _, ref := range t.Intent.Authorities() {
		a := accepted{ref: ref}
		var err error
		if a.Issuer, err = issuer.Lookup(ctx, p.Cluster, ref, gateway.Namespace, issuer.ForGateways, now); err != nil && !errors.As(err, &a.problem) {
			return err
		}
		all = append(all, a)
	}
	issuing := f.issuing(all, t.Intent.Provided(), now)
	if issuing < 0 {
		f.ref = all[0].ref
		return p.unusable(ctx, t, all[0], f, now)
	}
	first := all[issuing]
	f.ref, f.issuer = first.ref, first.Issuer
	f.authorities = slices.Insert(slices.Delete(all, issuing, issuing+1), 0, first)
	return nil
}

// issuing is which of the authorities issues, or is told of first where the server certificate is provided; -1 if none can yet.
func (f *facts) issuing(all []accepted, provided bool, now time.Time) int {
	first, last := slices.IndexFunc(all, func(a accepted) bool { return a.usable(provided) }), f.lastIssuer(all)
	if f.storedPair().IsZero() && first != 0 && last < 0 {
		return -1 // the first certificate is the first authority's: nobody knows another yet
	}
	if first < 0 || provided {
		return first
	}
	if told := f.lastTold(all); told >= 0 && !f.storedPair().IsZero() && all[told].problem != nil && now.Before(f.nextIssues()) {
		f.refused = all[told].problem // what is stored goes on: callers may know no other
		if all[told].broken() {
			return told
		}
		return first
	}
	if last >= 0 && !all[first].known() {
		return last
	}
	return first
}

// further are the authorities that do not issue here.
func (f facts) further() []accepted { return f.authorities[min(1, len(f.authorities)):] }

// broken reports whether it may be used and cannot be at present.
func (a accepted) broken() bool { return a.problem != nil && a.Object != nil }

// lastTold is which of the authorities issued by what was told last; -1 if none did.
func (f *facts) lastTold(all []accepted) int {
	told := f.last.Status.Authorities
	if len(told) == 0 {
		return -1
	}
	return slices.IndexFunc(all, func(a accepted) bool { return a.ref.Namespace == told[0].Namespace && a.ref.Name == told[0].Name })
}

// nextIssues is when another authority issues, if the one that did cannot any more.
func (f *facts) nextIssues() time.Time { return rotate.Handover(f.storedPair().Leaf()) }

// keep adds to what is trusted what gateways trust already of an authority that is broken, as long as they can: its callers are
// not thrown out because of it, nor are the CRLs of the others held up.
func (f *facts) keep(a accepted, now time.Time) pki.Bundle {
	if !a.broken() {
		return f.trust.Bundle
	}
	var kept []pki.BundleEntry
	for _, e := range f.edges {
		stored := e.stored.Trusted()
		_, stays := a.goesOn(stored)
		for _, entry := range stays {
			kept = append(append(kept, entry), above(entry, stored)...)
		}
	}
	if len(kept) == 0 {
		return f.trust.Bundle
	}
	with, err := f.trust.Bundle.With(kept, now)
	if err != nil {
		return f.trust.Bundle // one of its CRLs has ended: gateways refuse its callers already
	}
	return with
}

// known reports whether its owner said that every caller knows the authority.
func (a accepted) known() bool {
	return !a.Signer.Authority.IsZero() && a.Object.Spec.Rotation.CallersUpdated == a.Signer.Generation.Authority.Certificate().SubjectKeyID()
}

// lastIssuer is which of the authorities signed the certificate that is stored, or was if it is lost, if it still issues; -1
// if none did. Callers know that one: another follows when they are said to know it.
func (f *facts) lastIssuer(all []accepted) int {
	stored := f.storedPair()
	if stored.IsZero() {
		if told := f.lastTold(all); told >= 0 && all[told].usable(false) {
			return told
		}
		return -1
	}
	return slices.IndexFunc(all, func(a accepted) bool { return a.usable(false) && a.Ledger.Signed(stored.Leaf()) })
}

// unusable says why the first authority cannot issue, or waits for it.
func (p *Programmer) unusable(ctx context.Context, t Target, a accepted, f *facts, now time.Time) error {
	problem := a.problem
	switch {
	case problem == nil:
		return &issuer.Problem{Reason: v1alpha1.ReasonInvalid, Lasting: true, Message: fmt.Sprintf(
			"CertificateAuthority %s only verifies callers and issues no server certificate: annotate %s: provided, with the Secret of one, or name another authority", a.ref, intent.KeyServerCertificate)}
	case problem.Reason == v1alpha1.ReasonAuthorityNotFound && t.Intent.AuthorityImplied():
		f.waiting = true
		return p.makeAuthority(ctx, a.ref)
	case !problem.Lasting && a.Object != nil && now.Sub(a.Object.CreationTimestamp.Time) < newAuthority:
		f.waiting = true // its key is being made: telling so would cost two writes and last for milliseconds
		return nil
	}
	return problem
}

// beside adds what gateways trust for a further authority, or says why they cannot.
func (a accepted) beside(trusted, further pki.Bundle, now time.Time) (pki.Bundle, *issuer.Problem) {
	leftOut := func(why string) *issuer.Problem {
		return &issuer.Problem{Reason: v1alpha1.ReasonLeftOut, Message: fmt.Sprintf("CertificateAuthority %s %s", a.ref, why)}
	}
	if further.IsZero() {
		return trusted, leftOut("has no CA that gateways can trust now: see its status.trustedCertificates")
	}
	if further.Entries()[0].CRL.IsZero() != trusted.Entries()[0].CRL.IsZero() {
		return trusted, leftOut("has another spec.revocation.mode than the authority that issues: gateways check CRLs of all CAs, or of none")
	}
	with, err := trusted.With(further.Entries(), now)
	if err != nil {
		return trusted, leftOut("cannot be trusted beside the others: " + err.Error())
	}
	return with, nil
}

// authoritiesTrusted tells whose callers are refused though the object names their authority; false if it names one.
func (f facts) authoritiesTrusted() (metav1.Condition, bool) {
	const kind = v1alpha1.ConditionAuthoritiesTrusted
	if len(f.further()) == 0 {
		return metav1.Condition{}, false
	}
	var out []string
	reason := ""
	for _, a := range f.further() {
		if a.problem != nil {
			out = append(out, a.problem.Message)
			if reason == "" {
				reason = a.problem.Reason
			}
		}
	}
	if len(out) > 0 {
		return condition.False(kind, reason, "callers of one of the authorities are refused: "+strings.Join(out, "; ")), true
	}
	return condition.True(kind, v1alpha1.ReasonTrusted, fmt.Sprintf(
		"callers of all authorities are accepted; %s issues the server certificate, until spec.rotation.callersUpdated of the first names its active key", f.ref)), true
}
