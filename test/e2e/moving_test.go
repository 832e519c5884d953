package e2e

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack/product"
)

// generationsOf are those of an authority's status.
func generationsOf(ctx context.Context, ns, name string) ([]map[string]any, error) {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion("mtls.sallyport.dev/v1alpha1")
	object.SetKind("CertificateAuthority")
	if err := shared.stack.Client().Get(ctx, client.ObjectKey{Namespace: ns, Name: name}, object); err != nil {
		return nil, err
	}
	list, _, _ := unstructured.NestedSlice(object.Object, "status", "generations")
	var generations []map[string]any
	for _, g := range list {
		if generation, is := g.(map[string]any); is {
			generations = append(generations, generation)
		}
	}
	if len(generations) == 0 {
		return nil, errors.New("it has no generation")
	}
	return generations, nil
}

// lost deletes a Secret of the ingress, and returns what tells that another took its place.
func lost(t *testing.T, name string) (replaced func() bool) {
	t.Helper()
	before := secret(t, "istio-system", name)
	if err := shared.stack.Client().Delete(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	return func() bool {
		var s corev1.Secret
		return shared.stack.Client().Get(t.Context(), client.ObjectKeyFromObject(before), &s) == nil && s.UID != before.UID
	}
}

// A Gateway is moved from one authority to another without a cut: callers of both are let in, the server's certificate changes
// when callers are said to know the next, a rotation of either waits for what its replicas answer, and whoever is taken off is
// refused.
func TestMovingToAnotherAuthority(t *testing.T) {
	const ns, host = "moving", "moving.example.com"
	namespace(t, ns)
	for name, mode := range map[string]string{"old": "CRL", "new": "CRL", "third": "CRL", "unchecked": "None"} {
		apply(t, fmt.Sprintf(`
apiVersion: mtls.sallyport.dev/v1alpha1
kind: CertificateAuthority
metadata: {name: %s, namespace: moving}
spec: {source: {type: SelfSigned}, revocation: {mode: %s}, rotation: {minimumOverlap: 2s}}
`, name, mode))
		ready(t, "CertificateAuthority", ns, name)
	}
	keyOf := func(name string) string {
		t.Helper()
		generations, err := generationsOf(t.Context(), ns, name)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(generations[0]["subjectKeyID"])
	}
	serve(t, ns, "edge", host, "mtls.sallyport.dev/authorities: old")
	early, late := byRequest(t, ns, "early", "old"), byRequest(t, ns, "late", "new")
	checkThreeAnswers(t, early, host)
	eventually(t, "the authority tells when its last caller's certificate ends", func(ctx context.Context) error {
		generations, err := generationsOf(ctx, ns, "old")
		if err != nil {
			return err
		}
		told, err := time.Parse(time.RFC3339, fmt.Sprint(generations[0]["clientsNotAfter"]))
		if after := told.Sub(early.Certificates[0].Leaf.NotAfter); err == nil && (after < 0 || after >= time.Hour) {
			err = fmt.Errorf("it tells %s, and the certificate ends at %s", told, early.Certificates[0].Leaf.NotAfter)
		}
		return err
	})
	both := early.Roots.Clone()
	both.AppendCertsFromPEM(publishedTrust(t, ns, "new"))
	tell := func(want string) func() bool {
		return func() bool {
			said, err := told(t.Context(), "MutualTLSEndpoint", ns, "gateway-edge", "AuthoritiesTrusted")
			return err == nil && said[:min(len(said), len(want))] == want
		}
	}

	annotate(t, ns, "edge", "authorities", `"new, old"`)
	nobodyIsRefused(t, "callers of the next authority are let in as well", early, host, tell("True Trusted: callers of all authorities are accepted; moving/old issues"))
	late.Roots = both
	answered(t, "a caller of the next authority is let in", late, host, 418)
	checkThreeAnswers(t, early, host)
	// What is lost before callers are said to know the next authority is of the one that they know.
	nobodyIsRefused(t, "the Secret with the server certificate is lost", early, host, lost(t, "moving.edge.mtls"))
	if key := storedLeaf(t, "moving.edge.mtls").AuthorityKeyID(); key != keyOf("old") {
		t.Errorf("the certificate in its place is signed by %s, expected the authority of before", key)
	}

	early.Roots = both // callers are given the next authority's roots beside their own
	patch(t, "mtls.sallyport.dev/v1alpha1", "CertificateAuthority", ns, "new", fmt.Sprintf(`{"spec": {"rotation": {"callersUpdated": %q}}}`, keyOf("new")))
	nobodyIsRefused(t, "the next authority issues the server certificate", early, host, func() bool {
		return storedLeaf(t, "moving.edge.mtls").AuthorityKeyID() == keyOf("new")
	})
	ready(t, "MutualTLSEndpoint", ns, "gateway-edge")

	// The authority that does not issue here any more changes its CA: its callers go on.
	patch(t, "mtls.sallyport.dev/v1alpha1", "CertificateAuthority", ns, "old",
		fmt.Sprintf(`{"spec": {"rotation": {"rotateAfter": %q, "callersUpdated": %q}}}`, time.Now().UTC().Add(-time.Second).Format(time.RFC3339), keyOf("old")))
	rotated := func() bool {
		generations, err := generationsOf(t.Context(), ns, "old")
		return err == nil && len(generations) > 1 && generations[1]["state"] == "Active"
	}
	look(t, ns, "old")
	nobodyIsRefused(t, "the one before changes its CA", early, host, rotated)
	renewed := byRequest(t, ns, "renewed", "old")
	renewed.Roots = both
	answered(t, "a caller of its next generation is let in", renewed, host, 418)

	// The record of the one before is lost: its callers are not thrown out for it, and what is revoked of the other gets through.
	stolen := byRequest(t, ns, "stolen", "new")
	stolen.Roots = both
	answered(t, "a caller is let in before it is revoked", stolen, host, 418)
	lose(t, ns, "old")
	look(t, ns, "old")
	tells(t, "MutualTLSEndpoint", ns, "gateway-edge", "AuthoritiesTrusted", "False AuthorityNotReady", "moving/old")
	patch(t, "mtls.sallyport.dev/v1alpha1", "ClientCertificate", ns, "stolen", `{"spec": {"revocation": {"reason": "KeyCompromise"}}}`)
	answered(t, "a revoked caller of the one that issues is refused", stolen, host, 0)
	for range 5 {
		answered(t, "a caller of the one whose record is lost is let in", early, host, 418)
	}

	annotate(t, ns, "edge", "authorities", `"new, unchecked, absent"`)
	tells(t, "MutualTLSEndpoint", ns, "gateway-edge", "AuthoritiesTrusted", "False LeftOut", "moving/unchecked has another spec.revocation.mode", "moving/absent does not exist")
	answered(t, "a caller of an authority that was taken off is refused", early, host, 0)
	answered(t, "a caller of the one that is left is let in", late, host, 418)
	annotate(t, ns, "edge", "authorities", `"new"`)
	ready(t, "MutualTLSEndpoint", ns, "gateway-edge")
	checkThreeAnswers(t, late, host)

	// The authority that issues is deleted by a mistake: the certificate stays that callers know.
	annotate(t, ns, "edge", "authorities", `"new, third"`)
	tells(t, "MutualTLSEndpoint", ns, "gateway-edge", "AuthoritiesTrusted", "True Trusted")
	third := byRequest(t, ns, "third", "third")
	third.Roots = both
	answered(t, "a caller of a third authority is let in", third, host, 418)
	before := storedLeaf(t, "moving.edge.mtls").Serial()
	gone := &unstructured.Unstructured{}
	gone.SetAPIVersion("mtls.sallyport.dev/v1alpha1")
	gone.SetKind("CertificateAuthority")
	gone.SetNamespace(ns)
	gone.SetName("new")
	if err := shared.stack.Client().Delete(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	tells(t, "MutualTLSEndpoint", ns, "gateway-edge", "Programmed", "False AuthorityNotFound", "moving/new does not exist")
	if after := storedLeaf(t, "moving.edge.mtls").Serial(); after != before {
		t.Error("another authority has issued, which callers may not know")
	}
	answered(t, "a caller of the third authority is still let in", third, host, 418)
}

// lose deletes the record of an authority.
func lose(t *testing.T, ns, name string) {
	t.Helper()
	var all corev1.SecretList
	if err := shared.stack.Client().List(t.Context(), &all, client.InNamespace(product.Namespace)); err != nil {
		t.Fatal(err)
	}
	for i := range all.Items {
		s := &all.Items[i]
		if strings.HasPrefix(s.Annotations["mtls.sallyport.dev/owner"], "CertificateAuthority/"+ns+"/"+name+"/") && s.Data["generations.json"] != nil {
			if err := shared.stack.Client().Delete(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("%s/%s has no record", ns, name)
}

// publishedTrust is what callers of an authority are told to trust.
func publishedTrust(t *testing.T, ns, authority string) []byte {
	t.Helper()
	trust := &unstructured.Unstructured{}
	trust.SetAPIVersion("v1")
	trust.SetKind("ConfigMap")
	if err := shared.stack.Client().Get(t.Context(), client.ObjectKey{Namespace: ns, Name: authority + "-mtls-trust"}, trust); err != nil {
		t.Fatal(err)
	}
	bundle, _, _ := unstructured.NestedString(trust.Object, "data", "ca.crt")
	if !x509.NewCertPool().AppendCertsFromPEM([]byte(bundle)) {
		t.Fatalf("nothing is published for %s", authority)
	}
	return []byte(bundle)
}
