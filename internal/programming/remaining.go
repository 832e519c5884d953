package programming

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// Concerned are the authorities of which a Gateway has to hear: those that it names, and those that its endpoint told last, whose
// CAs gateways trust until the others take their place.
func (p *Programmer) Concerned(ctx context.Context, t Target) ([]types.NamespacedName, error) {
	var last v1alpha1.MutualTLSEndpoint
	if err := p.Cluster.Client().Get(ctx, t.Endpoint, &last); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("reading MutualTLSEndpoint %s: %w", t.Endpoint, err)
	}
	return concerned(t, last), nil
}

func concerned(t Target, last v1alpha1.MutualTLSEndpoint) []types.NamespacedName {
	all := slices.Clone(t.Intent.Authorities())
	for _, told := range last.Status.Authorities {
		if ref := (types.NamespacedName{Namespace: told.Namespace, Name: told.Name}); !slices.Contains(all, ref) {
			all = append(all, ref)
		}
	}
	return all
}

// tighten keeps what gateways trust current behind a Gateway that cannot be programmed. Nobody is let in who was not before: what is
// stored gets its CRLs, and loses the CAs that must not be trusted any more. The server's Secret stays as it is. It reports
// whether everybody is refused from now on, because no CA is left.
func (p *Programmer) tighten(ctx context.Context, t Target, f *facts, now time.Time) (refusesAll bool, err error) {
	if !slices.ContainsFunc(f.edges, func(e edge) bool { return len(e.stored.Trusted()) > 0 }) {
		return false, nil
	}
	decided := !f.trust.Bundle.IsZero() && !f.adoption.offered // what is offered may be in it, and is not taken over
	var vouching []vouched
	if !decided {
		if vouching, err = p.vouching(ctx, t, f, now); err != nil {
			return false, err
		}
	}
	for i := range f.edges {
		e := &f.edges[i]
		stored := e.stored.Trusted()
		if len(stored) == 0 {
			continue
		}
		trusted, nobody := f.trust.Bundle, false
		if !decided {
			if trusted, nobody = remainingOf(stored, vouching, f, now); nobody {
				if trusted, err = p.nobody.bundle(now); err != nil {
					return false, err
				}
			}
		}
		if trusted.IsZero() {
			continue
		}
		if err := p.writeTrusted(ctx, f, e, trusted, now); err != nil {
			return false, err
		}
		refusesAll = refusesAll || nobody
	}
	return refusesAll, nil
}

// writeTrusted writes the Secret of CAs of one ingress namespace alone, and takes nothing over.
func (p *Programmer) writeTrusted(ctx context.Context, f *facts, e *edge, trusted pki.Bundle, now time.Time) error {
	alone, stored := e.secrets, e.stored
	alone.Provided, stored.Offer = true, nil // the server's is left alone
	outcome, err := p.Cluster.WriteEdge(ctx, alone, pki.Pair{}, trusted, stored, now)
	f.changed = f.changed || outcome.Changed()
	return err
}

// vouched is an authority, whomever it serves, and the CAs of others that it names.
type vouched struct {
	accepted
	others []rotate.TrustedCertificate
}

// vouching finds the authorities whose CAs may be stored behind a Gateway, and whether anything tells its callers apart by name.
func (p *Programmer) vouching(ctx context.Context, t Target, f *facts, now time.Time) ([]vouched, error) {
	if err := p.gatherNames(ctx, t, f, now); err != nil {
		return nil, err
	}
	f.waiting = false // those that are stored stay meanwhile
	var all []vouched
	for _, ref := range concerned(t, f.last) {
		v := vouched{accepted: accepted{ref: ref}}
		var err error
		if v.Issuer, err = issuer.Lookup(ctx, p.Cluster, ref, t.Endpoint.Namespace, issuer.ForAnybody, now); err != nil && !errors.As(err, &v.problem) {
			return nil, err
		}
		if v.Object != nil {
			var again time.Time
			if v.others, again, err = p.Cluster.TrustedCertificates(ctx, v.Object, now); err != nil {
				return nil, err
			}
			f.trust.Next = first(f.trust.Next, again)
		}
		all = append(all, v)
	}
	return all, nil
}

// remaining is what goes on being trusted of what is stored.
type remaining struct {
	stored []pki.BundleEntry
	now    time.Time
	// compromised are the key ids that any of the authorities names.
	compromised []string
	trusted     pki.Bundle
	// known are the stored CAs of which it is known whose they are, ours those of the authorities themselves.
	known, ours []pki.BundleEntry
	// unknowable is whether others may be somebody's who cannot be asked.
	unknowable bool
	// mustGo is whether anything is stored that must not be trusted, and not only cannot.
	mustGo bool
}

// remainingOf is what goes on being trusted of what is stored; nobody is whether nothing is left of it that may be. It is zero
// otherwise if nothing is left that gateways would work with: they refuse what has ended by themselves.
func remainingOf(stored []pki.BundleEntry, vouching []vouched, f *facts, now time.Time) (trusted pki.Bundle, nobody bool) {
	r := remaining{stored: stored, now: now}
	for _, v := range vouching {
		if v.Object != nil {
			r.compromised = append(r.compromised, v.Object.Spec.Rotation.Compromised...)
		}
		r.unknowable = r.unknowable || v.problem != nil
	}
	for _, v := range vouching {
		switch {
		case v.Object == nil:
		case v.problem != nil:
			r.broken(v)
		case !issuer.OnlyVerifies(v.Object.Spec):
			r.own(v)
		}
	}
	named := f.trust.namedBy != ""
	for _, v := range vouching {
		for _, other := range v.others {
			r.other(v, other, named)
		}
	}
	for _, made := range f.adoption.made {
		for _, group := range made.cas {
			if !made.offered {
				r.adopted(group.Entries, named)
			}
		}
	}
	r.unclaimed()
	return r.trusted, r.trusted.IsZero() && (r.mustGo || slices.ContainsFunc(stored, r.out))
}

// own follows the record of an authority of which gateways trust a CA already: what it withdrew goes, and what takes its place comes.
func (r *remaining) own(v vouched) {
	var generations, aboveThem []pki.BundleEntry
	for _, g := range v.Ledger.Generations() {
		generations, aboveThem = append(generations, pki.BundleEntry{CA: g.Authority.Certificate()}), append(aboveThem, g.Above...)
	}
	ours := r.keep(func(e pki.BundleEntry) bool { return among(generations, e) })
	if len(ours) == 0 {
		return
	}
	r.ours = append(r.ours, ours...)
	r.known = slices.Concat(r.known, ours, aboveThem)
	r.add(v.Bundle.Entries())
}

// broken goes on with the CAs of an authority whose record cannot be read, as far as its status knows them.
func (r *remaining) broken(v vouched) {
	own, stays := v.goesOn(r.stored)
	r.ours = append(r.ours, own...)
	for _, entry := range own {
		r.known = append(append(r.known, entry), above(entry, r.stored)...)
	}
	for _, entry := range stays {
		r.add(append([]pki.BundleEntry{entry}, above(entry, r.stored)...))
	}
}

// other goes on with the CA of somebody else that is stored already.
func (r *remaining) other(v vouched, t rotate.TrustedCertificate, named bool) {
	if t.Unreadable != nil {
		r.unknowable = true
		return
	}
	kept := r.keep(func(e pki.BundleEntry) bool { return among(t.Entries, e) })
	r.known = append(r.known, kept...)
	r.mustGo = r.mustGo || named && len(kept) > 0
	if named || len(kept) < len(t.Entries) || slices.ContainsFunc(kept, r.out) {
		return
	}
	if v.problem != nil { // whether its gateways are to check CRLs is told by what is stored
		if t.Entries[0].CRL.IsZero() == kept[0].CRL.IsZero() {
			kept = t.Entries
		}
		if !slices.ContainsFunc(kept, func(e pki.BundleEntry) bool { return among(r.ours, e) }) {
			r.add(kept)
		}
		return
	}
	settings := rotate.AuthoritySettings{Revocation: issuer.Revokes(v.Object.Spec, v.Ledger), Rotation: rotate.RotationSettings{Compromised: r.compromised}}
	r.trusted, _ = v.Ledger.TrustAlso(r.trusted, []rotate.TrustedCertificate{t}, settings, r.now)
}

// adopted goes on with what was made by hand.
func (r *remaining) adopted(made []pki.BundleEntry, named bool) {
	kept := r.keep(func(e pki.BundleEntry) bool { return among(made, e) && !among(r.ours, e) })
	r.known = append(r.known, kept...)
	r.mustGo = r.mustGo || named && len(kept) > 0
	if !named && !slices.ContainsFunc(kept, r.out) {
		r.add(kept)
	}
}

// unclaimed are stored CAs of which nobody says that they are his. They stay unless they are compromised, as long as not all can be
// asked, or nobody else is left: an authority that is deleted takes none of its callers with it.
func (r *remaining) unclaimed() {
	if !r.unknowable && !r.trusted.IsZero() {
		return
	}
	for _, entry := range r.keep(func(e pki.BundleEntry) bool { return !among(r.known, e) && !r.out(e) }) {
		r.add(append([]pki.BundleEntry{entry}, above(entry, r.stored)...))
	}
}

// keep are the stored CAs that are chosen.
func (r *remaining) keep(choose func(pki.BundleEntry) bool) []pki.BundleEntry {
	return slices.DeleteFunc(slices.Clone(r.stored), func(e pki.BundleEntry) bool { return !choose(e) })
}

// add trusts further CAs as well, if a gateway would work with them: what has ended holds up no other.
func (r *remaining) add(further []pki.BundleEntry) {
	if len(further) == 0 {
		return
	}
	if with, err := r.trusted.With(further, r.now); err == nil {
		r.trusted = with
	}
}

// out reports whether a CA must not be trusted, because its key or one above it is compromised.
func (r *remaining) out(e pki.BundleEntry) bool { return compromised(e, r.stored, r.compromised) }

func compromised(e pki.BundleEntry, stored []pki.BundleEntry, ids []string) bool {
	return slices.ContainsFunc(append(above(e, stored), e), func(e pki.BundleEntry) bool {
		own, err := e.CA.KeyID()
		return slices.Contains(ids, e.CA.SubjectKeyID()) || err == nil && slices.Contains(ids, own)
	})
}

// above are the CAs among the stored ones that signed one of them, up to the root.
func above(e pki.BundleEntry, stored []pki.BundleEntry) []pki.BundleEntry {
	chain := []pki.BundleEntry{e}
	for i := 0; i < len(chain); i++ {
		for _, candidate := range stored {
			if !among(chain, candidate) && chain[i].CA.SignedBy(candidate.CA) {
				chain = append(chain, candidate)
			}
		}
	}
	return chain[1:]
}

func among(entries []pki.BundleEntry, e pki.BundleEntry) bool {
	return slices.ContainsFunc(entries, func(other pki.BundleEntry) bool { return other.CA.Equal(e.CA) })
}

// goesOn are the stored CAs of an authority that is broken, by its status, and those of them that go on being trusted: they were not
// withdrawn, and are not compromised. The generation before may vouch for one that is compromised, by a certificate that no CRL
// can revoke without the record: what was before it goes with it.
func (a accepted) goesOn(stored []pki.BundleEntry) (own, stays []pki.BundleEntry) {
	generation := func(e pki.BundleEntry) (v1alpha1.AuthorityGeneration, bool) {
		at := slices.IndexFunc(a.Object.Status.Generations, func(g v1alpha1.AuthorityGeneration) bool { return g.SubjectKeyID == e.CA.SubjectKeyID() })
		if at < 0 {
			return v1alpha1.AuthorityGeneration{}, false
		}
		return a.Object.Status.Generations[at], true
	}
	newest := "" // that is compromised
	for _, e := range stored {
		if g, is := generation(e); is {
			own = append(own, e)
			if compromised(e, stored, a.Object.Spec.Rotation.Compromised) && rotate.Earlier(newest, g.ID) {
				newest = g.ID
			}
		}
	}
	for _, e := range own {
		if g, _ := generation(e); g.State != v1alpha1.GenerationWithdrawn && rotate.Earlier(newest, g.ID) {
			stays = append(stays, e)
		}
	}
	return own, stays
}
