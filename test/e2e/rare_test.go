package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What the agent does once in the life of an object, or when somebody meddles. Each is
// a right of its, and the end of the run asks whether every right was used.

func TestACallersCertificateFollowsItsLifetime(t *testing.T) {
	for _, ns := range clientNamespaces {
		t.Run(ns, func(t *testing.T) {
			namespace(t, ns)
			manifest := func(lifetime string) string {
				return fmt.Sprintf(`
apiVersion: mtls.sallyport.dev/v1alpha1
kind: CertificateAuthority
metadata: {name: changing, namespace: %[1]s}
spec: {source: {type: SelfSigned}}
---
apiVersion: mtls.sallyport.dev/v1alpha1
kind: ClientCertificate
metadata: {name: changing, namespace: %[1]s}
spec: {authorityRef: {name: changing}, secretName: changing, lifetime: %[2]s}
`, ns, lifetime)
			}
			before := ""
			// Three of one kind of event in a row: the second and third are counted on the first.
			for _, lifetime := range []string{"1h", "2h", "3h", "4h"} {
				if lifetime == "4h" {
					// The version in which it was last seen is no longer there: the agent has to read.
					deleted := secret(t, ns, "changing")
					if err := shared.stack.Client().Delete(t.Context(), deleted); err != nil {
						t.Fatal(err)
					}
				}
				apply(t, manifest(lifetime))
				eventually(t, "a certificate for "+lifetime, func(ctx context.Context) error {
					s := &corev1.Secret{}
					if err := shared.stack.Client().Get(ctx, client.ObjectKey{Namespace: ns, Name: "changing"}, s); err != nil {
						return err
					}
					if found := string(s.Data["tls.crt"]); found != before {
						before = found
						return nil
					}
					return errors.New("it is the one before")
				})
				ready(t, "ClientCertificate", ns, "changing")
			}
			if before == "" {
				t.Error("no certificate was issued")
			}
		})
	}
}

func TestATamperedTrustIsPublishedAgain(t *testing.T) {
	const ns = "trust"
	namespace(t, ns)
	apply(t, gatewayYAML("v1", ns, "edge", "trust.example.com"))
	authority := ready(t, "CertificateAuthority", ns, "default")
	trust := &corev1.ConfigMap{}
	key := client.ObjectKey{Namespace: ns, Name: "default-mtls-trust"}
	if err := shared.stack.Client().Get(t.Context(), key, trust); err != nil {
		t.Fatal(err)
	}
	wanted := trust.Data["ca.crt"]
	trust.Data["ca.crt"] = "nothing"
	if err := shared.stack.Client().Update(t.Context(), trust); err != nil {
		t.Fatal(err)
	}
	// ConfigMaps are not watched: the next look at the authority finds it.
	labelled := authority.DeepCopy()
	labelled.SetLabels(map[string]string{"looked": "at"})
	if err := shared.stack.Client().Patch(t.Context(), labelled, client.MergeFrom(authority)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the trust published again", func(ctx context.Context) error {
		if err := shared.stack.Client().Get(ctx, key, trust); err != nil {
			return err
		}
		if trust.Data["ca.crt"] != wanted {
			return fmt.Errorf("it is %q", trust.Data["ca.crt"])
		}
		return nil
	})
	if wanted == "" {
		t.Error("nothing was published to begin with")
	}
}

// An APIRule that names another Gateway and asks no more has no use for the one that
// was made for it.
func TestAManagedGatewayGoesWithTheWish(t *testing.T) {
	const ns, host = "leaves", "leaves.example.com"
	namespace(t, ns)
	apply(t, ruleYAML("v2", ns, "orders", host, annotated, ""))
	ready(t, "MutualTLSEndpoint", ns, "apirule-orders")
	apply(t, ruleYAML("v2", ns, "orders", host, "mtls.sallyport.dev/mode: disabled", "gateway: kyma-system/kyma-gateway"))
	eventually(t, "the managed Gateway gone", func(ctx context.Context) error {
		gateway := &unstructured.Unstructured{}
		gateway.SetAPIVersion("networking.istio.io/v1")
		gateway.SetKind("Gateway")
		err := shared.stack.Client().Get(ctx, client.ObjectKey{Namespace: ns, Name: "orders-mtls"}, gateway)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is still there (error %w)", err)
	})
	if left := stored(t, "gateway.kyma-project.io/v2", "APIRule", ns, "orders"); left == nil {
		t.Error("the APIRule went with it")
	}
}

func TestAnAPIRuleLeavesAGatewayThatIsNoLongerMutual(t *testing.T) {
	const ns, host = "moves", "moves.example.com"
	namespace(t, ns)
	apply(t, gatewayYAML("v1", ns, "edge", host))
	apply(t, ruleYAML("v2", ns, "orders", host, annotated, "gateway: moves/edge"))
	ready(t, "MutualTLSEndpoint", ns, "apirule-orders")
	gateway := &unstructured.Unstructured{Object: stored(t, "networking.istio.io/v1", "Gateway", ns, "edge")}
	gateway.SetAnnotations(map[string]string{"mtls.sallyport.dev/mode": "disabled"})
	if err := shared.stack.Client().Update(t.Context(), gateway); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the APIRule on a Gateway of its own", func(context.Context) error {
		if named, _, _ := unstructured.NestedString(stored(t, "gateway.kyma-project.io/v2", "APIRule", ns, "orders"), "spec", "gateway"); named != "moves/orders-mtls" {
			return fmt.Errorf("it names %q", named)
		}
		return nil
	})
	ready(t, "MutualTLSEndpoint", ns, "apirule-orders")
}

// The Secrets of a Gateway go ten minutes after it. The ten minutes are over here
// because somebody who may take the guard of those Secrets away wrote so.
func TestTheSecretsOfAGatewayThatIsGoneAreCollected(t *testing.T) {
	const ns, name = "collected", "collected.edge.mtls"
	namespace(t, ns)
	apply(t, gatewayYAML("v1", ns, "edge", "collected.example.com"))
	ready(t, "MutualTLSEndpoint", ns, "gateway-edge")
	gateway := &unstructured.Unstructured{Object: stored(t, "networking.istio.io/v1", "Gateway", ns, "edge")}
	if err := shared.stack.Client().Delete(t.Context(), gateway); err != nil {
		t.Fatal(err)
	}
	const since = "mtls.sallyport.dev/unreferenced-since"
	eventually(t, "the Secret marked", func(context.Context) error {
		if secret(t, "istio-system", name).Annotations[since] == "" {
			return errors.New("it is not")
		}
		return nil
	})
	withoutBinding(t, "sallyport-secret")
	eventually(t, "the Secret dated back", func(ctx context.Context) error {
		s := secret(t, "istio-system", name)
		s.Annotations[since] = "2001-01-01T00:00:00Z"
		return shared.stack.Client().Update(ctx, s)
	})
	eventually(t, "the Secret gone", func(ctx context.Context) error {
		err := shared.stack.Client().Get(ctx, client.ObjectKey{Namespace: "istio-system", Name: name}, &corev1.Secret{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is still there (error %w)", err)
	})
}

// A Secret that somebody deletes is made again, and the second event of that kind is
// counted on the first.
func TestADeletedSecretIsMadeAgain(t *testing.T) {
	const ns, name = "deleted", "deleted.edge.mtls"
	namespace(t, ns)
	apply(t, gatewayYAML("v1", ns, "edge", "deleted.example.com"))
	ready(t, "MutualTLSEndpoint", ns, "gateway-edge")
	lost := secret(t, "istio-system", name)
	if err := shared.stack.Client().Delete(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another Secret in its place", func(ctx context.Context) error {
		s := &corev1.Secret{}
		if err := shared.stack.Client().Get(ctx, client.ObjectKeyFromObject(lost), s); err != nil {
			return err
		}
		if s.UID == lost.UID {
			return errors.New("it is the one that was deleted")
		}
		return nil
	})
	eventually(t, "a series of events", func(ctx context.Context) error {
		var events eventsv1.EventList
		if err := shared.stack.Client().List(ctx, &events, client.InNamespace(ns)); err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Regarding.Kind == "Gateway" && e.Series != nil && e.Series.Count > 1 {
				return nil
			}
		}
		return fmt.Errorf("there is none among %d events", len(events.Items))
	})
}

// withoutBinding takes an admission policy out of force until the test ends.
func withoutBinding(t *testing.T, name string) {
	t.Helper()
	binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{}
	if err := shared.stack.Client().Get(t.Context(), client.ObjectKey{Name: name}, binding); err != nil {
		t.Fatal(err)
	}
	if err := shared.stack.Client().Delete(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		binding.ResourceVersion, binding.UID = "", ""
		if err := shared.stack.Client().Create(context.WithoutCancel(t.Context()), binding); err != nil {
			t.Error(err)
		}
	})
}

func TestAManagedGatewayFollowsItsAPIRule(t *testing.T) {
	const ns, host = "follows", "follows.example.com"
	namespace(t, ns)
	apply(t, ruleYAML("v2", ns, "orders", host, annotated, ""))
	ready(t, "MutualTLSEndpoint", ns, "apirule-orders")
	apply(t, ruleYAML("v2", ns, "orders", host, annotated+`, mtls.sallyport.dev/min-tls: TLSv1.3`, "gateway: follows/orders-mtls"))
	eventually(t, "TLS 1.3 on its Gateway", func(context.Context) error {
		servers, _, _ := unstructured.NestedSlice(stored(t, "networking.istio.io/v1", "Gateway", ns, "orders-mtls"), "spec", "servers")
		if least, _, _ := unstructured.NestedString(servers[0].(map[string]any), "tls", "minProtocolVersion"); least != "TLSV1_3" { //nolint:forcetypeassert // Istio's schema
			return fmt.Errorf("the least version is %q", least)
		}
		return nil
	})
	if annotations := stored(t, "networking.istio.io/v1", "Gateway", ns, "orders-mtls")["metadata"].(map[string]any)["annotations"]; annotations == nil { //nolint:forcetypeassert // every object has one
		t.Error("the managed Gateway lost its annotations")
	}
}

// A Gateway that was stored while neither the webhook nor the policy judged it is made
// what it asks to be.
func TestAGatewayThatNobodyJudgedIsRepaired(t *testing.T) {
	const ns = "unjudged"
	namespace(t, ns)
	withoutBinding(t, "sallyport-gateway")
	withoutWebhook(t)
	eventually(t, "the Gateway stored as it was sent", func(ctx context.Context) error {
		return shared.stack.ApplyYAML(ctx, gatewayYAML("v1", ns, "edge", "unjudged.example.com"))
	})
	ready(t, "MutualTLSEndpoint", ns, "gateway-edge")
	servers, _, _ := unstructured.NestedSlice(stored(t, "networking.istio.io/v1", "Gateway", ns, "edge"), "spec", "servers")
	if mode, _, _ := unstructured.NestedString(servers[0].(map[string]any), "tls", "mode"); mode != "MUTUAL" { //nolint:forcetypeassert // Istio's schema
		t.Errorf("the Gateway is %q", mode)
	}
}
