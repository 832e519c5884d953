package policy

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"sallyport.dev/sallyport/internal/testenv"
)

// told waits until the status of a policy says all of some words.
func told(t *testing.T, name string, words ...string) {
	t.Helper()
	testenv.Eventually(t, patience, fmt.Sprintf("status of MutualTLSPolicy %s: %v", name, words), func(ctx context.Context) error {
		status, err := policyNamed(ctx, name)
		if err != nil {
			return err
		}
		for _, word := range words {
			if !strings.Contains(fmt.Sprint(status), word) {
				return fmt.Errorf("%q is not in %v %v", word, status["violations"], status["reasons"])
			}
		}
		return nil
	})
}

// The agent tells what of the stored does not meet a policy, from the first look on and after each change.
func TestTheStatusTellsWhatIsStored(t *testing.T) {
	const ns = "standing"
	apply(t, "{apiVersion: v1, kind: Namespace, metadata: {name: standing, labels: {zone: inner}}}")
	fill := strings.NewReplacer("NAME", "edge", "NS", ns)
	edge := parse(t, fill.Replace(gateway("", https(host, simple))))
	if err := person.Create(t.Context(), edge); err != nil {
		t.Fatal(err)
	}
	removed(t, edge)
	demand(t, "standing", `{action: Audit, match: {namespaceLabels: {zone: inner}}, require: {mode: Mutual, minTLS: TLSv1.3, plainHTTP: Forbidden}}`)
	told(t, "standing", "matched:1", "violating:1", "reason:Mode", "reason:MinTLS", "field:spec.servers[0].tls.minProtocolVersion", "type:Compliant", "reason:Violated", "reason:Judged")

	edge.SetLabels(map[string]string{"team": "a"})
	if err := person.Update(t.Context(), edge); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, patience, "a note of what was found in the audit log", func(context.Context) error {
		if log, err := os.ReadFile(stack.AuditLog()); err != nil || !strings.Contains(string(log), `"sallyport-policy-audit-gateway/findings":"standing: Mode at metadata.annotations[mtls.sallyport.dev/mode], MinTLS at`) {
			return fmt.Errorf("there is none: %w", err)
		}
		return nil
	})

	edge.SetAnnotations(map[string]string{"mtls.sallyport.dev/mode": "mutual", "mtls.sallyport.dev/min-tls": "TLSv1.3"})
	if err := person.Update(t.Context(), edge); err != nil {
		t.Fatal(err)
	}
	told(t, "standing", "matched:1", "violating:0", "reason:Compliant")

	orders := parse(t, strings.NewReplacer("NAME", "orders", "NS", ns).Replace(rule("v2", "", kymas)))
	if err := person.Create(t.Context(), orders); err != nil {
		t.Fatal(err)
	}
	removed(t, orders)
	told(t, "standing", "matched:2", "violating:1", "kind:APIRule")

	apply(t, "{apiVersion: v1, kind: Namespace, metadata: {name: standing, labels: {zone: outer}}}")
	told(t, "standing", "matched:0", "violating:0")
}

// Whose CAs callers are verified by is told as it is once the Secret is there, though nothing that names it changes.
func TestTheStatusHearsOfSecrets(t *testing.T) {
	const ns = "waiting"
	apply(t, "{apiVersion: v1, kind: Namespace, metadata: {name: waiting}}")
	demand(t, "waiting", `{action: Audit, match: {namespaces: [waiting]}, require: {mode: Mutual}}`)
	edge := parse(t, strings.NewReplacer("NAME", "edge", "NS", ns).Replace(gateway(mutual, https(host, simple))))
	edge.SetAnnotations(map[string]string{"mtls.sallyport.dev/mode": "mutual", "mtls.sallyport.dev/authorities": "waiting/late"})
	if err := person.Create(t.Context(), edge); err != nil {
		t.Fatal(err)
	}
	removed(t, edge)
	told(t, "waiting", "matched:1", "violating:1", "reason:UnmanagedTrust")
	late := parse(t, "{apiVersion: mtls.sallyport.dev/v1alpha1, kind: CertificateAuthority, metadata: {name: late, namespace: waiting}, spec: {source: {type: SelfSigned}}}")
	if err := person.Create(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	removed(t, late)
	told(t, "waiting", "matched:1", "violating:0", "reason:Compliant")
}

// What only a look at everything shows is told too: a route that leads past a mutual Gateway.
func TestTheStatusTellsWhatLeadsPast(t *testing.T) {
	const ns = "passing"
	apply(t, "{apiVersion: v1, kind: Namespace, metadata: {name: passing}}\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: beside}}")
	fill := func(manifest, name, ns string) string {
		return strings.NewReplacer("NAME", name, "NS", ns).Replace(manifest)
	}
	edge := parse(t, fill(gateway(mutual, https("pay.example.com", complete)), "edge", ns))
	open := parse(t, fill(gateway("", https("*.example.com", simple)), "open", "beside"))
	route := parse(t, `{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: pay, namespace: passing}, spec: {
  hosts: [pay.example.com], gateways: [passing/edge, beside/open], http: [{route: [{destination: {host: pay}}]}]}}`)
	for _, o := range []*unstructured.Unstructured{edge, open, route} {
		if err := person.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		removed(t, o)
	}
	demand(t, "passing", `{action: Deny, match: {namespaces: [passing]}, require: {mode: Mutual}}`)
	told(t, "passing", "matched:1", "violating:1", "kind:VirtualService", "name:pay", "reason:TwoGateways", "field:spec.gateways[1]")
	if err := unstructured.SetNestedStringSlice(route.Object, []string{"passing/edge"}, "spec", "gateways"); err != nil {
		t.Fatal(err)
	}
	if err := person.Update(t.Context(), route); err != nil {
		t.Fatal(err)
	}
	told(t, "passing", "matched:1", "violating:0", "reason:Compliant")
}

// An exception ends at its moment: from then on its object violates the policy, and the next write of it is refused.
func TestAnExceptionEnds(t *testing.T) {
	const ns = "ending"
	apply(t, "{apiVersion: v1, kind: Namespace, metadata: {name: ending}}")
	end := time.Now().Add(5 * time.Second).UTC().Format(time.RFC3339)
	demand(t, "ending", fmt.Sprintf(`{action: Deny, match: {namespaces: [ending]}, require: {mode: Mutual},
  exceptions: [{kind: Gateway, namespace: ending, name: partner, expirationTime: %q, reason: "a partner moves"}]}`, end))
	other := parse(t, strings.NewReplacer("NAME", "other", "NS", ns).Replace(gateway("", https(host, simple))))
	testenv.Eventually(t, patience, "the policy", func(ctx context.Context) error {
		if person.Create(ctx, other.DeepCopy()) == nil {
			return fmt.Errorf("not in force: %w", stack.Client().Delete(ctx, other.DeepCopy()))
		}
		return nil
	})
	partner := parse(t, strings.NewReplacer("NAME", "partner", "NS", ns).Replace(gateway("", https(host, simple))))
	if err := person.Create(t.Context(), partner); err != nil {
		t.Fatalf("the excepted one: %v", err)
	}
	removed(t, partner)
	told(t, "ending", "matched:1", "violating:0")
	told(t, "ending", "endedExceptions:[map[kind:Gateway name:partner namespace:ending]]", "violating:1")
	testenv.Eventually(t, patience, "the refusal of the next write", func(ctx context.Context) error {
		o, err := stored(ctx, partner)
		if err != nil {
			return err
		}
		o.Object["spec"] = parse(t, strings.NewReplacer("NAME", "partner", "NS", ns).Replace(gateway("", https("b."+host, simple)))).Object["spec"]
		if err := person.Update(ctx, o); err == nil || !strings.Contains(err.Error(), "MutualTLSPolicy ending demands mutual") {
			return fmt.Errorf("answered %w", err)
		}
		return nil
	})
}

// A policy that an APIRule meets and its managed Gateway does not leaves a trace for the APIRule's owner.
func TestARefusedManagedGatewayIsTold(t *testing.T) {
	apply(t, "{apiVersion: v1, kind: Namespace, metadata: {name: refusing}}")
	demand(t, "refusing", `{action: Deny, match: {namespaces: [refusing], gatewaySelector: {istio: ingressgateway}}, require: {minTLS: TLSv1.3}}`)
	told(t, "refusing", "reason:Judged")
	orders := parse(t, strings.NewReplacer("NAME", "orders", "NS", "refusing").Replace(rule("v2", mutual, own)))
	if err := person.Create(t.Context(), orders); err != nil {
		t.Fatal(err)
	}
	removed(t, orders)
	endpoint := parse(t, "{apiVersion: mtls.sallyport.dev/v1alpha1, kind: MutualTLSEndpoint, metadata: {name: apirule-orders, namespace: refusing}}")
	testenv.Eventually(t, patience, "the endpoint of the APIRule", func(ctx context.Context) error {
		o, err := stored(ctx, endpoint)
		if status := fmt.Sprint(o.Object["status"]); err == nil && (!strings.Contains(status, "GatewayRefused") || !strings.Contains(status, "MutualTLSPolicy refusing demands TLSv1.3")) {
			err = fmt.Errorf("it says %s", status)
		}
		return err
	})
}

// A short host of an APIRule has the domain of its Gateway, which admission does not see and the agent does.
func TestAShortHostIsCompleted(t *testing.T) {
	apply(t, "{apiVersion: v1, kind: Namespace, metadata: {name: short}}\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: domain}}")
	domain := parse(t, strings.NewReplacer("NAME", "shared", "NS", "domain").Replace(gateway("", https("*.short.example.org", simple))))
	pay := parse(t, strings.Replace(strings.NewReplacer("NAME", "pay", "NS", "short").Replace(rule("v2", "", "gateway: domain/shared")), "pay.short.example.com", "pay", 1))
	for _, o := range []*unstructured.Unstructured{domain, pay} {
		if err := person.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		removed(t, o)
	}
	demand(t, "short", `{action: Audit, match: {namespaces: [short], hostSuffixes: [short.example.org]}, require: {mode: Mutual}}`)
	told(t, "short", "matched:1", "violating:1", "kind:APIRule", "name:pay", "reason:Mode")
}
