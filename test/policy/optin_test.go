package policy

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/testenv"
)

// What is created where a policy opts in is mutual without a word of its author; what is stored already is left as it is,
// and what is opted in stays so.
func TestWhatIsCreatedIsOptedIn(t *testing.T) {
	const ns = "joining"
	apply(t, "{apiVersion: v1, kind: Namespace, metadata: {name: joining}}\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: eased, labels: {mtls.sallyport.dev/default-mode: optional}}}")
	make := func(t *testing.T, manifest, name, namespace string) *unstructured.Unstructured {
		t.Helper()
		o := parse(t, strings.NewReplacer("NAME", name, "NS", namespace).Replace(manifest))
		if err := person.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		removed(t, o)
		return o
	}
	weak := gateway("", https(host, simple))
	old := make(t, weak, "old", ns)
	demand(t, "joining", `{action: Warn, optIn: true, match: {namespaces: [joining, eased]}, require: {mode: Mutual},
  exceptions: [{kind: Gateway, namespace: joining, name: excepted, expirationTime: "2999-01-01T00:00:00Z", reason: "it moves in spring"}]}`)
	probe := parse(t, strings.NewReplacer("NAME", "probe", "NS", ns).Replace(weak))
	testenv.Eventually(t, patience, "the first that is opted in", func(ctx context.Context) error {
		o := probe.DeepCopy()
		if err := person.Create(ctx, o, client.DryRunAll); err != nil {
			return err
		}
		return wantMode(o, "mutual")
	})
	t.Run("it is mutual, as the webhook makes it", func(t *testing.T) {
		o := make(t, weak, "new", ns)
		if err := wantMode(o, "mutual"); err != nil {
			t.Error(err)
		}
		if tls := fmt.Sprint(o.Object["spec"]); !strings.Contains(tls, "mode:MUTUAL") || !strings.Contains(tls, "caCertCredentialName:own-new-joining-cacert") {
			t.Errorf("it is stored as %s", tls)
		}
		said.take()
		o.SetAnnotations(map[string]string{"note": "the other one is dropped"})
		if err := person.Update(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if err := wantMode(o, "mutual"); err != nil {
			t.Errorf("after its annotation was dropped: %v", err)
		}
		if warned := said.take(); strings.Contains(warned, "MutualTLSPolicy") {
			t.Errorf("warned of what was opted in: %s", warned)
		}
	})
	t.Run("the stricter of two wins", func(t *testing.T) {
		if err := wantMode(make(t, weak, "stricter", "eased"), "mutual"); err != nil {
			t.Error(err)
		}
	})
	for name, manifest := range map[string]string{"excepted": weak, "opted-out": gateway(disabled, https(host, simple)), "plain": gateway("", unencrypted("HTTP", "")),
		"mixed": gateway("", https(host, simple), unencrypted("HTTP", redirect)), "passthrough": gateway("", https(host, "tls: {mode: PASSTHROUGH}")), "everything": gateway("", https("*", simple)),
		"owned": strings.Replace(gateway("", https(host, simple)), "annotations: {}", "ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: a, uid: b, controller: true}]", 1),
		"kymas": rule("v2", "", kymas), "external": rule("v2", "", "externalGateway: a/b")} {
		t.Run("left alone: "+name, func(t *testing.T) {
			want := ""
			if name == "opted-out" {
				want = "disabled"
			}
			if err := wantMode(make(t, manifest, name, ns), want); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("left alone: what was stored before", func(t *testing.T) {
		old.SetLabels(map[string]string{"team": "a"})
		if err := person.Update(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		if err := wantMode(old, ""); err != nil {
			t.Error(err)
		}
	})
	t.Run("an APIRule", func(t *testing.T) {
		o := make(t, strings.Replace(rule("v2", "", "gateway: a/b"), "gateway: a/b", "description: none", 1), "orders", ns)
		if err := wantMode(o, "mutual"); err != nil {
			t.Error(err)
		}
	})
}

func wantMode(o *unstructured.Unstructured, want string) error {
	if found := o.GetAnnotations()["mtls.sallyport.dev/mode"]; found != want {
		return fmt.Errorf("%s %s is opted in to %q, expected %q", o.GetKind(), o.GetName(), found, want)
	}
	return nil
}
