package clientcertificate

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// look is what a caller's Secret holds, and what is to be done about it.
type look struct {
	// stored is the Secret; without its data if it was not read.
	stored *corev1.Secret
	// unread is whether the plan was made without reading the Secret.
	unread bool
	// later is when to look at the Secret, where nothing is due by what is told of it.
	later time.Time
	pair  pki.Pair
	plan  rotate.LeafPlan
}

// wish is what a caller's Secret is to hold.
type wish struct {
	key   types.NamespacedName
	owner intent.Owner
	names rotate.ClientNames
	// settings of the certificate, and who issues it.
	settings rotate.LeafSettings
	is       issuer.Issuer
}

// intoSecret issues with a key made here; both go into a Secret.
func (r *Reconciler) intoSecret(ctx context.Context, c *v1alpha1.ClientCertificate, f found, is issuer.Issuer, names rotate.ClientNames, now time.Time) (found, error) {
	w := wish{
		key:   types.NamespacedName{Namespace: c.Namespace, Name: c.Spec.SecretName},
		owner: intent.Owner{Kind: "ClientCertificate", Namespace: c.Namespace, Name: c.Name, UID: string(c.UID)},
		names: names, settings: f.settings, is: is,
	}
	seen, err := r.look(ctx, c, w, now)
	if err != nil {
		return f, r.denied(err, c.Namespace)
	}
	kept := r.keptPair(c, w, now)
	var held *issuer.Problem
	if kept.IsZero() {
		if seen, held, err = r.hold(ctx, c, w, seen, now); err != nil {
			return f, r.denied(err, c.Namespace)
		}
	}
	if ofAnother(seen.stored, w.owner) {
		r.memory.note(c, nil, pki.Serial{})
		return found{identity: f.identity}, foreign(w.key) // before anything is issued that nobody could be handed
	}
	pair := seen.pair
	f.chain, f.next = pair.Chain(), seen.plan.Next
	switch {
	case !seen.later.IsZero():
		f.next = seen.later
		return f, nil
	case seen.plan.Issue:
		if f, pair, err = r.issuePair(ctx, c, f, w, kept, seen.plan, now); err != nil {
			return f, err
		}
	case pair.IsZero() && held != nil:
		return f, held
	}
	if err := r.store(ctx, c, w, seen, pair); err != nil {
		var problem *issuer.Problem
		if errors.As(err, &problem) && problem.Reason == v1alpha1.ReasonKeystorePassword {
			return f, err
		}
		// Nobody holds the new one: what is told stays what was told of the one before.
		return found{identity: f.identity}, err
	}
	if held != nil {
		return f, held
	}
	return f, nil
}

// hold puts off what can wait, and what its caller had too often. The stored pair then goes on, and what is to be trusted beside
// it is what is now: so it has to be read.
func (r *Reconciler) hold(ctx context.Context, c *v1alpha1.ClientCertificate, w wish, seen look, now time.Time) (look, *issuer.Problem, error) {
	if !seen.plan.Issue || ofAnother(seen.stored, w.owner) {
		return seen, nil, nil
	}
	until, held := r.Budget.Hold(w.settings.Object, seen.plan, now)
	var problem *issuer.Problem
	if !held {
		var err error
		if until, problem, err = r.asksTooOften(ctx, c, w.settings, w.is, seen.plan, seen.hasGood(c, w, now), now); err != nil || until.IsZero() {
			return seen, nil, err
		}
	}
	if seen.unread {
		stored, err := r.Cluster.GlancedSecret(ctx, w.key)
		if err != nil {
			return seen, nil, err
		}
		return r.hold(ctx, c, w, w.decide(stored, now), now)
	}
	seen.plan = rotate.LeafPlan{Next: until}
	return seen, problem, nil
}

// hasGood reports whether the caller has a good certificate; by what the status tells of it, where it was not read.
func (l look) hasGood(c *v1alpha1.ClientCertificate, w wish, now time.Time) bool {
	if l.unread {
		return good(c, now)
	}
	return !l.pair.IsZero() && l.pair.Chain().VerifyClient(w.is.Bundle, now) == nil
}

// store writes the pair, and what its caller is to trust, into his Secret.
func (r *Reconciler) store(ctx context.Context, c *v1alpha1.ClientCertificate, w wish, seen look, pair pki.Pair) error {
	data := map[string][]byte{corev1.TLSCertKey: pair.CertificatePEM(), corev1.TLSPrivateKeyKey: pair.KeyPEM(), "ca.crt": w.is.Published.CertificatesPEM()}
	withoutKeystore, err := r.addKeystore(ctx, c, pair, seen.stored, data)
	if err != nil {
		return r.denied(err, c.Namespace)
	}
	outcome, written, err := r.write(ctx, cluster.WantedSecret{Key: w.key, Type: corev1.SecretTypeTLS, Owner: w.owner, Data: data}, seen)
	if err != nil {
		r.memory.note(c, nil, pki.Serial{})
		return r.denied(err, c.Namespace)
	}
	if outcome == cluster.Foreign {
		r.memory.note(c, nil, pki.Serial{})
		return foreign(w.key)
	}
	r.memory.note(c, written, pair.Leaf().Serial())
	r.memory.handedOut(c)
	if withoutKeystore != nil {
		return withoutKeystore
	}
	return nil
}

// keptPair is the pair that was made in an earlier pass and could not be written, if it is still what is asked for; zero if there
// is none. What keeps a Secret from being written may last, and each pair that is made anew is one more that a revocation has to list.
func (r *Reconciler) keptPair(c *v1alpha1.ClientCertificate, w wish, now time.Time) pki.Pair {
	kept := r.memory.unwritten(c).pair
	if kept.IsZero() || rotate.PlanClient(kept, w.names, w.settings, w.is.Signer, now).Issue || kept.Chain().VerifyClient(w.is.Bundle, now) != nil {
		return pki.Pair{}
	}
	return kept
}

// issuePair makes a pair and writes its serial number down, or takes the one that was kept.
func (r *Reconciler) issuePair(ctx context.Context, c *v1alpha1.ClientCertificate, f found, w wish, kept pki.Pair, plan rotate.LeafPlan, now time.Time) (found, pki.Pair, error) {
	if !kept.IsZero() {
		f.chain, f.next, f.issued = kept.Chain(), rotate.RenewalTime(kept.Leaf(), f.settings), plan.Reason
		return f, kept, nil
	}
	pair, err := rotate.MaterializeClient(w.is.Signer, w.is.Bundle, w.names, f.settings, now)
	if err != nil {
		return f, pki.Pair{}, err
	}
	f.chain = pair.Chain()
	if f, err = r.handOut(ctx, c, f, w.is, plan, now); err != nil {
		return f, pki.Pair{}, err
	}
	r.memory.keep(c, made{pair: pair})
	return f, pair, nil
}

// ofAnother reports whether a Secret that is there was not made for this caller.
func ofAnother(stored *corev1.Secret, owner intent.Owner) bool {
	if stored == nil {
		return false
	}
	of, ours := cluster.OwnerOf(stored)
	return !ours || !of.Same(owner)
}

func foreign(key types.NamespacedName) *issuer.Problem {
	return &issuer.Problem{Reason: v1alpha1.ReasonForeignSecret, Lasting: true, Message: fmt.Sprintf(
		"Secret %s exists and was not made for this ClientCertificate: delete it, or choose another secretName", key)}
}

// look decides what is due. The Secret is not read if it cannot be there yet, and if what
// the status tells of its certificate is enough to say that another one is due. Where
// nothing is expected to be due, a glance has to do; and where nothing is due by what an
// earlier agent told, that one waits for its turn, unless whom to trust has changed since.
func (r *Reconciler) look(ctx context.Context, c *v1alpha1.ClientCertificate, w wish, now time.Time) (look, error) {
	if l, told := r.lookAtTold(c, w, now); told {
		return l, nil
	}
	if r.memory.first(c) {
		return w.decide(nil, now), nil
	}
	if c.Status.Serial != "" {
		glanced, err := r.Cluster.GlancedSecret(ctx, w.key)
		if err != nil {
			return look{}, err
		}
		if l := w.decide(glanced, now); !l.plan.Issue {
			return l, nil
		}
	}
	stored, err := r.Cluster.LiveSecret(ctx, w.key)
	if err != nil {
		return look{}, err
	}
	return w.decide(stored, now), nil
}

// lookAtTold decides by what the status tells alone; false if that is not enough.
func (r *Reconciler) lookAtTold(c *v1alpha1.ClientCertificate, w wish, now time.Time) (look, bool) {
	if c.Status.NotBefore == nil || c.Status.NotAfter == nil {
		return look{}, false
	}
	told := rotate.ToldLeaf{NotBefore: c.Status.NotBefore.Time, NotAfter: c.Status.NotAfter.Time, AuthorityKeyID: c.Status.AuthorityKeyID}
	plan := rotate.PlanTold(told, w.settings, w.is.Signer, now)
	if plan.Issue {
		last := r.memory.last(c, w.owner)
		return look{stored: last, unread: true, plan: plan}, last != nil && c.Spec.Keystore == nil
	}
	at := r.memory.lookAt(c)
	if !served(c) || !now.Before(at) || r.memory.missed(w.is) {
		return look{}, false
	}
	if !plan.Next.IsZero() && plan.Next.Before(at) {
		at = plan.Next
	}
	return look{later: at}, true
}

// decide says what is due by what is stored.
func (w wish) decide(stored *corev1.Secret, now time.Time) look {
	pair := storedPair(stored, w.owner)
	return look{stored: stored, pair: pair, plan: rotate.PlanClient(pair, w.names, w.settings, w.is.Signer, now)}
}

// write makes the Secret as wanted. If it was not read and has changed since it was last
// seen, it is read now: the certificate was due in any case.
func (r *Reconciler) write(ctx context.Context, wanted cluster.WantedSecret, seen look) (cluster.Outcome, *corev1.Secret, error) {
	outcome, written, err := r.Cluster.WriteSecret(ctx, wanted, seen.stored)
	if !seen.unread || !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return outcome, written, err
	}
	stored, err := r.Cluster.LiveSecret(ctx, wanted.Key)
	if err != nil {
		return "", nil, err
	}
	return r.Cluster.WriteSecret(ctx, wanted, stored)
}

// storedPair is what a Secret of this caller holds; zero if it holds nothing that
// can be used.
func storedPair(stored *corev1.Secret, owner intent.Owner) pki.Pair {
	if stored == nil || ofAnother(stored, owner) {
		return pki.Pair{}
	}
	pair, err := pki.ParsePair(stored.Data[corev1.TLSCertKey], stored.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return pki.Pair{} // replaced: it could not have worked for the caller
	}
	return pair
}
