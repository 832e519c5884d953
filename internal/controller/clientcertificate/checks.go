package clientcertificate

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/controller/authority"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// leafSettings merge what the caller asks for with what its authority prescribes.
func leafSettings(c *v1alpha1.ClientCertificate, is issuer.Issuer) (rotate.LeafSettings, error) {
	spec := is.Object.Spec
	settings := rotate.LeafSettings{
		Lifetime:    spec.ClientCertificates.EffectiveLifetime(),
		RenewBefore: spec.ClientCertificates.EffectiveRenewBefore(),
		Object:      "ClientCertificate/" + c.Namespace + "/" + c.Name,
	}
	if c.Spec.Lifetime != nil {
		settings.Lifetime = c.Spec.Lifetime.Duration
	}
	if longest := spec.ClientCertificates.EffectiveMaxLifetime(); settings.Lifetime > longest {
		return settings, &issuer.Problem{Reason: v1alpha1.ReasonLifetimeTooLong, Lasting: true, Message: fmt.Sprintf(
			"a lifetime of %s is asked for; the authority's clientCertificates.maxLifetime is %s", settings.Lifetime, longest)}
	}
	if tooLong := is.CheckLifetime(settings.Lifetime); tooLong != "" {
		return settings, &issuer.Problem{Reason: v1alpha1.ReasonLifetimeTooLong, Message: tooLong, Lasting: true}
	}
	var err error
	settings.Algorithm, err = pki.ParseAlgorithm(string(spec.ClientCertificates.EffectiveKeyAlgorithm()))
	return settings, err
}

// checkNames holds DNS names to what the authority allows this namespace, and to
// one namespace at a time.
func (r *Reconciler) checkNames(ctx context.Context, c *v1alpha1.ClientCertificate, ca *v1alpha1.CertificateAuthority, now time.Time) error {
	if len(c.Spec.DNSNames) == 0 {
		return nil
	}
	for _, name := range c.Spec.DNSNames {
		if !slices.Contains(ca.Spec.ClientCertificates.AllowedNames, v1alpha1.AllowedName{Namespace: c.Namespace, Name: name}) {
			return &issuer.Problem{Reason: v1alpha1.ReasonNameNotAllowed, Lasting: true, Message: fmt.Sprintf(
				"DNS name %s is not in clientCertificates.allowedNames of CertificateAuthority %s/%s for namespace %s: its owner adds it there", name, ca.Namespace, ca.Name, c.Namespace)}
		}
	}
	var others v1alpha1.ClientCertificateList
	if err := r.Cluster.Client().List(ctx, &others, client.MatchingFields{authority.ByAuthority: client.ObjectKeyFromObject(ca).String()}); err != nil {
		return fmt.Errorf("listing ClientCertificates of %s/%s: %w", ca.Namespace, ca.Name, err)
	}
	for i := range others.Items {
		o := &others.Items[i]
		if o.Namespace == c.Namespace {
			continue
		}
		for _, name := range c.Spec.DNSNames {
			has := func(c *v1alpha1.ClientCertificate) bool { return holdsName(c, name, now) }
			if (slices.Contains(o.Spec.DNSNames, name) || has(o)) && yields(c, o, has) {
				return &issuer.Problem{Reason: v1alpha1.ReasonNameInUse, Lasting: true, Message: fmt.Sprintf(
					"DNS name %s is held by ClientCertificate %s/%s under the same authority: two namespaces could call in each other's name", name, o.Namespace, o.Name)}
			}
		}
	}
	return nil
}

// byKey is the cache's index of ClientCertificates by the public key of their
// certificate request.
const byKey = "sallyport.csr-key"

func keysOf(o client.Object) []string {
	c, ok := o.(*v1alpha1.ClientCertificate)
	if !ok || c.Spec.CSR == "" {
		return nil
	}
	csr, err := pki.ParseCertificateRequest([]byte(c.Spec.CSR))
	if err != nil {
		return nil // told in its own status
	}
	id, err := csr.KeyID()
	if err != nil {
		return nil
	}
	return []string{id}
}

// yields reports whether a ClientCertificate leaves to another one what both ask for:
// to the one that has a certificate for what it asks, and among equals to the older.
// So it does not matter which of the two is looked at first.
func yields(c, other *v1alpha1.ClientCertificate, has func(*v1alpha1.ClientCertificate) bool) bool {
	if has, otherHas := has(c), has(other); has != otherHas {
		return otherHas
	}
	if !c.CreationTimestamp.Equal(&other.CreationTimestamp) {
		return other.CreationTimestamp.Before(&c.CreationTimestamp)
	}
	return other.UID < c.UID
}

// holdsName reports whether a ClientCertificate has a certificate for a DNS name, whatever is in the way of the next one: as long as it
// is good, its caller can call in that name.
func holdsName(c *v1alpha1.ClientCertificate, name string, now time.Time) bool {
	if slices.Contains(c.Status.DNSNames, name) && good(c, now) {
		return true
	}
	return served(c) && slices.Contains(c.Spec.DNSNames, name) // by an agent that did not tell the names
}

// good reports whether the certificate that the status tells of has not ended and was not revoked.
func good(c *v1alpha1.ClientCertificate, now time.Time) bool {
	if ready := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady); ready != nil && ready.Reason == v1alpha1.ReasonRevoked {
		return false
	}
	return c.Status.Serial != "" && c.Status.NotAfter != nil && now.Before(c.Status.NotAfter.Time)
}

// served reports whether a certificate was issued for what is asked now.
func served(c *v1alpha1.ClientCertificate) bool {
	ready := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady)
	return c.Status.Serial != "" && ready != nil && ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == c.Generation
}

// checkKey refuses a key that an older ClientCertificate has: with one key in two
// certificates, who holds it can call in both names.
func (r *Reconciler) checkKey(ctx context.Context, c *v1alpha1.ClientCertificate, csr pki.CertificateRequest, now time.Time) error {
	id, err := csr.KeyID()
	if err != nil {
		return err
	}
	var others v1alpha1.ClientCertificateList
	if err := r.Cluster.Client().List(ctx, &others, client.MatchingFields{byKey: id}); err != nil {
		return fmt.Errorf("listing ClientCertificates by key: %w", err)
	}
	for i := range others.Items {
		o := &others.Items[i]
		// The request of an object never changes, so a certificate of it is one for its key.
		if o.UID != c.UID && yields(c, o, func(c *v1alpha1.ClientCertificate) bool { return good(c, now) || served(c) }) {
			return &issuer.Problem{Reason: v1alpha1.ReasonInvalidCSR, Lasting: true, Message: "spec.csr: its key is certified for another ClientCertificate: make a new key for each caller"}
		}
	}
	return nil
}

// denied turns a refusal by RBAC into a Problem whose message holds what would
// allow it.
func (r *Reconciler) denied(err error, namespace string) error {
	if !apierrors.IsForbidden(err) {
		return err
	}
	return issuer.SecretAccessDenied(namespace, "write Secrets in namespace "+namespace+": use csr", r.ServiceAccount)
}
