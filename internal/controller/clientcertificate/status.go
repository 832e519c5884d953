package clientcertificate

import (
	"context"
	"fmt"
	"slices"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/condition"
	"sallyport.dev/sallyport/pkg/rotate"
)

// writeStatus tells what a pass found: one write, none if it was told already. A
// certificate that is in somebody's hands stays told, whatever keeps it from being
// renewed.
func (r *Reconciler) writeStatus(ctx context.Context, c *v1alpha1.ClientCertificate, f found, now time.Time) error {
	status := c.Status.DeepCopy()
	status.Identity = f.identity
	if leaf := f.chain.Leaf(); !leaf.IsZero() {
		notBefore, notAfter := metav1.NewTime(leaf.NotBefore()), metav1.NewTime(leaf.NotAfter())
		renewal := metav1.NewTime(rotate.RenewalTime(leaf, f.settings).Truncate(time.Second))
		status.Serial, status.AuthorityKeyID = leaf.Serial().String(), leaf.AuthorityKeyID()
		status.DNSNames = slices.Sorted(slices.Values(leaf.X509().DNSNames))
		status.NotBefore, status.NotAfter, status.RenewalTime = &notBefore, &notAfter, &renewal
		if c.Spec.CSR != "" {
			if f.issued != "" {
				status.PreviousNotAfter = c.Status.NotAfter
			}
			status.Certificate = string(f.chain.PEM())
		}
	}
	status.Conditions = condition.Update(c.Status.Conditions, c.Generation, now, f.conditions()...)
	if apiequality.Semantic.DeepEqual(c.Status, *status) {
		return nil
	}
	updated := c.DeepCopy()
	updated.Status = *status
	if err := r.Cluster.Client().Status().Update(ctx, updated, client.FieldOwner(cluster.FieldOwner)); err != nil {
		return fmt.Errorf("writing status of ClientCertificate %s/%s: %w", c.Namespace, c.Name, err)
	}
	return nil
}

func (f found) conditions() []metav1.Condition {
	if f.problem == nil {
		return []metav1.Condition{condition.True(v1alpha1.ConditionReady, v1alpha1.ReasonIssued, "a current certificate is in place")}
	}
	all := []metav1.Condition{condition.False(v1alpha1.ConditionReady, f.problem.Reason, f.problem.Message)}
	if f.problem.Reason == v1alpha1.ReasonSecretAccessDenied {
		all = append(all, condition.True(v1alpha1.ConditionSecretAccessDenied, f.problem.Reason, f.problem.Message))
	}
	return all
}
