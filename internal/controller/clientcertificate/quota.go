package clientcertificate

import (
	"context"
	"fmt"
	"time"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// A caller may have so many certificates at a time that have not ended, for whatever reason they were issued. Each that is issued
// stands in everybody's record, and in everybody's CRL once it is revoked. Beyond that he waits after each one: a minute, then twice as
// long each time, until it is a share of a certificate's life, so that of one life no more than that many come on top. Who has
// nothing good never waits for longer than an hour: he may have lost his Secret, not deleted it in a loop.
const (
	freely        = 16
	firstWait     = time.Minute
	shareOfLife   = 64
	longestOutage = time.Hour
)

// pause is how long a caller waits after his last certificate, who has so many that have not ended.
func pause(unexpired int, lifetime time.Duration, hasGood bool) time.Duration {
	if unexpired < freely {
		return 0
	}
	longest := lifetime / shareOfLife
	if !hasGood {
		longest = min(longest, longestOutage)
	}
	doublings := min(unexpired-freely, 20)
	return min(firstWait<<doublings, longest)
}

// asksTooOften says until when a caller waits for what is due, and why; the zero time if he does not. What time or a change of
// the CA makes due is never held up, nor counted: nobody but the authority's owner can make it due in a loop.
func (r *Reconciler) asksTooOften(ctx context.Context, c *v1alpha1.ClientCertificate, s rotate.LeafSettings, is issuer.Issuer, plan rotate.LeafPlan, hasGood bool, now time.Time) (time.Time, *issuer.Problem, error) {
	if plan.Reason == rotate.ReasonDue || plan.Reason == rotate.ReasonIssuer {
		return time.Time{}, nil, nil
	}
	uid, err := r.Cluster.NamespaceUID(ctx, c.Namespace)
	if err != nil {
		return time.Time{}, nil, err
	}
	unexpired, err := r.Cluster.UnexpiredOf(ctx, is.Record, cluster.CallerID(uid, c.Name), now)
	if err != nil {
		return time.Time{}, nil, err
	}
	wait := pause(unexpired, s.Lifetime, hasGood)
	until := lastIssue(c, now).Add(wait)
	if wait == 0 || !now.Before(until) {
		return time.Time{}, nil, nil
	}
	return until, &issuer.Problem{Reason: v1alpha1.ReasonIssuedTooOften, Lasting: true, Message: fmt.Sprintf(
		"the next certificate is issued at %s, because %d of this caller have not ended (%s is asked for): find out who keeps changing this object, deleting it or its Secret",
		until.UTC().Format(time.RFC3339), unexpired, plan.Reason)}, nil
}

// lastIssue is when a caller got his last certificate; of one that has none yet, when his object was made: who deletes it and
// makes it again waits as well. It is not after now: a CA that is younger than the back-dating cuts it off.
func lastIssue(c *v1alpha1.ClientCertificate, now time.Time) time.Time {
	made := c.CreationTimestamp.Time
	if c.Status.NotBefore == nil || c.Status.NotAfter == nil {
		return made
	}
	// What was back-dated is a part of the span: of eleven tenths of a lifetime the one on top.
	lifetime := c.Status.NotAfter.Sub(c.Status.NotBefore.Time) * 10 / 11
	issued := c.Status.NotBefore.Add(pki.Backdate(lifetime))
	switch {
	case issued.Before(made):
		return made
	case issued.After(now):
		return now
	}
	return issued
}
