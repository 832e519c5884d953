package clientcertificate

import (
	"context"
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

// intoSecret issues with a key made here; both go into a Secret.
func (r *Reconciler) intoSecret(ctx context.Context, c *v1alpha1.ClientCertificate, f found, is issuer.Issuer, names rotate.ClientNames, now time.Time) (found, error) {
	key := types.NamespacedName{Namespace: c.Namespace, Name: c.Spec.SecretName}
	owner := intent.Owner{Kind: "ClientCertificate", Namespace: c.Namespace, Name: c.Name, UID: string(c.UID)}
	seen, err := r.look(ctx, c, owner, f.settings, is, names, now)
	if err != nil {
		return f, r.denied(err, c.Namespace)
	}
	if ofAnother(seen.stored, owner) {
		r.memory.note(c, nil, pki.Serial{})
		return found{identity: f.identity}, foreign(key) // before anything is issued that nobody could be handed
	}
	if again, held := r.Budget.Hold(seen.plan, now); held {
		f.next = again
		return f, nil
	}
	if !seen.later.IsZero() {
		f.next = seen.later
		return f, nil
	}
	pair := seen.pair
	f.chain, f.next = pair.Chain(), seen.plan.Next
	if seen.plan.Issue {
		if f, pair, err = r.issuePair(ctx, c, f, is, seen.plan, names, now); err != nil {
			return f, err
		}
	}
	data := map[string][]byte{corev1.TLSCertKey: pair.CertificatePEM(), corev1.TLSPrivateKeyKey: pair.KeyPEM(), "ca.crt": is.Published.CertificatesPEM()}
	withoutKeystore, err := r.addKeystore(ctx, c, pair, seen.stored, data)
	if err != nil {
		return f, r.denied(err, c.Namespace)
	}
	outcome, written, err := r.write(ctx, cluster.WantedSecret{Key: key, Type: corev1.SecretTypeTLS, Owner: owner, Data: data}, seen)
	if err != nil {
		r.memory.note(c, nil, pki.Serial{})
		// Nobody holds the new one: what is told stays what was told of the one before.
		return found{identity: f.identity}, r.denied(err, c.Namespace)
	}
	if outcome == cluster.Foreign {
		r.memory.note(c, nil, pki.Serial{})
		return found{identity: f.identity}, foreign(key)
	}
	r.memory.note(c, written, pair.Leaf().Serial())
	r.memory.handedOut(c)
	if withoutKeystore != nil {
		return f, withoutKeystore
	}
	return f, nil
}

// issuePair makes a pair and writes its serial number down; or takes the one that was made in an earlier pass and could not be
// written: what keeps a Secret from being written may last, and each pair that is made anew is one more that a revocation has to list.
func (r *Reconciler) issuePair(ctx context.Context, c *v1alpha1.ClientCertificate, f found, is issuer.Issuer, plan rotate.LeafPlan, names rotate.ClientNames, now time.Time) (found, pki.Pair, error) {
	if last := r.memory.unwritten(c); !last.pair.IsZero() {
		again := rotate.PlanClient(last.pair, names, f.settings, is.Signer, now)
		if !again.Issue && last.pair.Chain().VerifyClient(is.Bundle, now) == nil {
			f.chain, f.next, f.issued = last.pair.Chain(), again.Next, plan.Reason
			return f, last.pair, nil
		}
	}
	pair, err := rotate.MaterializeClient(is.Signer, is.Bundle, names, f.settings, now)
	if err != nil {
		return f, pki.Pair{}, err
	}
	f.chain = pair.Chain()
	if f, err = r.handOut(ctx, c, f, is, plan, now); err != nil {
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
// earlier agent told, that one waits for its turn.
func (r *Reconciler) look(ctx context.Context, c *v1alpha1.ClientCertificate, owner intent.Owner, s rotate.LeafSettings, is issuer.Issuer, names rotate.ClientNames, now time.Time) (look, error) {
	if c.Status.NotBefore != nil && c.Status.NotAfter != nil {
		told := rotate.ToldLeaf{NotBefore: c.Status.NotBefore.Time, NotAfter: c.Status.NotAfter.Time, AuthorityKeyID: c.Status.AuthorityKeyID}
		plan := rotate.PlanTold(told, s, is.Signer, now)
		if last := r.memory.last(c, owner); last != nil && plan.Issue && c.Spec.Keystore == nil {
			return look{stored: last, unread: true, plan: plan}, nil
		}
		if at := r.memory.lookAt(c); !plan.Issue && served(c) && now.Before(at) {
			if !plan.Next.IsZero() && plan.Next.Before(at) {
				at = plan.Next
			}
			return look{later: at}, nil
		}
	}
	key := types.NamespacedName{Namespace: c.Namespace, Name: c.Spec.SecretName}
	decide := func(stored *corev1.Secret) look {
		pair := storedPair(stored, owner)
		return look{stored: stored, pair: pair, plan: rotate.PlanClient(pair, names, s, is.Signer, now)}
	}
	if r.memory.first(c) {
		return decide(nil), nil
	}
	if c.Status.Serial != "" {
		glanced, err := r.Cluster.GlancedSecret(ctx, key)
		if err != nil {
			return look{}, err
		}
		if l := decide(glanced); !l.plan.Issue {
			return l, nil
		}
	}
	stored, err := r.Cluster.LiveSecret(ctx, key)
	if err != nil {
		return look{}, err
	}
	return decide(stored), nil
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
