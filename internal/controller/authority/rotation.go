package authority

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/condition"
	"sallyport.dev/sallyport/pkg/rotate"
)

// maxNamed bounds what is named in a status.
const maxNamed = 10

// phaseTold is how each phase is told.
var phaseTold = map[rotate.Phase]struct{ reason, message string }{
	rotate.PhasePrepare:  {v1alpha1.ReasonPrepare, "the next generation exists, and nobody sees it yet"},
	rotate.PhaseTrust:    {v1alpha1.ReasonTrust, "gateways and callers are learning to trust the next generation; it issues once every replica accepted a certificate of it and its time has come"},
	rotate.PhaseActivate: {v1alpha1.ReasonActivate, "the new generation issues, and the certificates of gateways are being issued again"},
	rotate.PhaseRetire:   {v1alpha1.ReasonRetire, "the generation before waits for the last certificate that a caller may hold of it to end, and then for every replica to refuse it"},
}

// rotating tells the phase.
func (v view) rotating() metav1.Condition {
	const kind = v1alpha1.ConditionRotating
	if v.problem != nil {
		return condition.Unknown(kind, v1alpha1.ReasonPending, "nothing is known of its generations")
	}
	if v.ledger.Unvouched(v.settings.Rotation.CallersUpdated) {
		return condition.True(kind, v1alpha1.ReasonCallersMustUpdate, fmt.Sprintf(
			"nothing vouches for the CA that issues now, so that callers who know only the one before cannot verify what it signs: gateways keep their certificates until a sixth of each one's life is left, or until spec.rotation.callersUpdated is %s", v.activeKeyID()))
	}
	if told, under := phaseTold[v.ledger.Phase()]; under {
		return condition.True(kind, told.reason, told.message)
	}
	if queued := v.plan.Wait.Queued; !queued.IsZero() {
		return condition.False(kind, v1alpha1.ReasonRotationQueued, fmt.Sprintf(
			"a rotation waits until %s: callers may know only the generation before the active one, and could not verify the one after; it begins at once when spec.rotation.callersUpdated is %s", queued.UTC().Format(time.RFC3339), v.activeKeyID()))
	}
	return condition.False(kind, v1alpha1.ReasonStable, "one generation is active")
}

func (v view) activeKeyID() string {
	active, _ := v.ledger.Active()
	return active.Authority.Certificate().SubjectKeyID()
}

// rotationBlocked tells what holds the rotation up that ought to go on.
func (v view) rotationBlocked() metav1.Condition {
	const kind = v1alpha1.ConditionRotationBlocked
	wait := v.plan.Wait
	switch {
	case wait.Irreplaceable != "":
		return condition.True(kind, v1alpha1.ReasonCompromised, fmt.Sprintf(
			"generation %s is compromised and still trusted, because there is no other: put another CA into the Secret that spec.source names, and it is thrown out at once", wait.Irreplaceable))
	case wait.Held && !wait.Opens.IsZero():
		return condition.False(kind, v1alpha1.ReasonOutsideWindows, fmt.Sprintf("the next phase is due, and entered when the next of spec.rotation.windows opens, at %s", wait.Opens.UTC().Format(time.RFC3339)))
	case wait.Held:
		return condition.True(kind, v1alpha1.ReasonPaused, "the next phase is due, and spec.rotation.paused keeps the authority from it until a twelfth of the active generation's life is left")
	case len(wait.Blocked) == 0:
		return condition.False(kind, v1alpha1.ReasonNone, "nothing holds a rotation up")
	case wait.Until.IsZero():
		return condition.True(kind, v1alpha1.ReasonReplicaRefuses, blockers(wait.Blocked)+". It goes on when that is mended, or when the active generation ends")
	}
	return condition.True(kind, v1alpha1.ReasonReplicaUnknown, fmt.Sprintf("%s. If nothing else is known by %s, time alone decides", blockers(wait.Blocked), wait.Until.UTC().Format(time.RFC3339)))
}

// blockers names findings, the failed ones first, and how many more there are.
func blockers(findings []rotate.Finding) string {
	findings = slices.Clone(findings)
	slices.SortStableFunc(findings, func(a, b rotate.Finding) int {
		switch {
		case (a.Answer == rotate.No) == (b.Answer == rotate.No):
			return strings.Compare(tell(a), tell(b))
		case a.Answer == rotate.No:
			return -1
		}
		return 1
	})
	named := make([]string, 0, maxNamed)
	for _, f := range findings[:min(len(findings), maxNamed)] {
		named = append(named, tell(f))
	}
	if more := len(findings) - len(named); more > 0 {
		named = append(named, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(named, "; ")
}

// unproven are the replicas of which nothing is known and that hold nothing up.
func (v view) unproven() []v1alpha1.UnprovenReplica {
	var unproven []v1alpha1.UnprovenReplica
	for _, f := range v.plan.Wait.Unproven {
		namespace, name, _ := strings.Cut(f.Gateway, "/")
		_, pod, _ := strings.Cut(f.Replica, "/")
		unproven = append(unproven, v1alpha1.UnprovenReplica{Namespace: namespace, Gateway: name, Replica: pod, Reason: f.Message[:min(len(f.Message), 1024)]})
	}
	slices.SortFunc(unproven, func(a, b v1alpha1.UnprovenReplica) int {
		return strings.Compare(a.Namespace+"/"+a.Gateway+"/"+a.Replica, b.Namespace+"/"+b.Gateway+"/"+b.Replica)
	})
	return unproven[:min(len(unproven), maxNamed)]
}

// callersCutOff names the callers that are refused because their generation was thrown out.
func (v view) callersCutOff() metav1.Condition {
	named := strings.Join(v.cutOff[:min(len(v.cutOff), maxNamed)], ", ")
	if more := len(v.cutOff) - maxNamed; more > 0 {
		named += fmt.Sprintf(" and %d more", more)
	}
	return condition.True(v1alpha1.ConditionCallersCutOff, v1alpha1.ReasonCompromised, fmt.Sprintf(
		"%d callers hold certificates of a generation that was thrown out, and are refused until they use the new ones, with the trust that is published now: %s", len(v.cutOff), named))
}

// cutOff are the callers with certificates of a generation that is gone before they ended: it was
// thrown out. They are told until those would have ended.
func (r *Reconciler) cutOff(ctx context.Context, authority *v1alpha1.CertificateAuthority, record cluster.AuthorityRecord, ledger rotate.Ledger, ends map[string]time.Time, now time.Time) ([]string, error) {
	var thrown []string
	for id, end := range ends {
		known := slices.ContainsFunc(ledger.Generations(), func(g rotate.Generation) bool { return g.ID == id })
		if !known && end.After(now) {
			thrown = append(thrown, id)
		}
	}
	if len(thrown) == 0 {
		return nil, nil
	}
	callers, err := r.Cluster.CallersOf(ctx, record, now, thrown...)
	if err != nil {
		return nil, err
	}
	var clients v1alpha1.ClientCertificateList
	if err := r.Cluster.Client().List(ctx, &clients, client.MatchingFields{ByAuthority: client.ObjectKeyFromObject(authority).String()}); err != nil {
		return nil, fmt.Errorf("listing ClientCertificates of %s/%s: %w", authority.Namespace, authority.Name, err)
	}
	var named []string
	for i := range clients.Items {
		c := &clients.Items[i]
		uid, err := r.Cluster.NamespaceUID(ctx, c.Namespace)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if id := cluster.CallerID(uid, c.Name); callers[id] {
			named = append(named, c.Namespace+"/"+c.Name)
			delete(callers, id)
		}
	}
	slices.Sort(named)
	for range callers {
		named = append(named, "(a caller whose ClientCertificate was deleted)")
	}
	return named, nil
}
