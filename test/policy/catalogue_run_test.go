package policy

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/testenv"
)

// actions of policies.
var actions = []string{"Deny", "Warn", "Audit"}

// state is how the webhook is.
type state string

const (
	up       state = "up"
	down     state = "down"
	flapping state = "flapping"
)

// minEntries is how many objects the catalogue has at least.
const minEntries = 60

func TestEachObjectOfTheCatalogueGetsItsVerdict(t *testing.T) {
	entries := catalogue()
	if len(entries) < minEntries {
		t.Fatalf("%d entries, expected %d", len(entries), minEntries)
	}
	store(t, entries)
	for _, action := range actions {
		for name, spec := range demands(action) {
			demand(t, name+"-"+strings.ToLower(action), spec)
		}
		awaitDemands(t, action)
	}
	count := 0
	for _, s := range []state{up, down, flapping} {
		t.Run("webhook "+string(s), func(t *testing.T) {
			webhookIs(t, s)
			for _, action := range actions {
				for _, e := range entries {
					t.Run(action+"/"+e.name, func(t *testing.T) { e.try(t, action, s) })
					count++
				}
			}
		})
	}
	noted(t, entries)
	t.Logf("%d objects, %d writes", len(entries), count)
}

// store makes the Namespaces and what is stored before any policy.
func store(t *testing.T, entries []entry) {
	t.Helper()
	apply(t, "{apiVersion: v1, kind: Namespace, metadata: {name: older}}")
	older := parse(t, strings.NewReplacer("NAME", "first", "NS", "older").Replace(gateway("", https("older.example.com", simple))))
	if err := stack.Client().Create(t.Context(), older); err != nil {
		t.Fatal(err)
	}
	removed(t, older)
	for _, action := range actions {
		for kind, labels := range map[string]string{"guarded": `guarded: "yes"`, "open": "", "listed": "", "ruled": ""} {
			apply(t, fmt.Sprintf("{apiVersion: v1, kind: Namespace, metadata: {name: %s, labels: {%s}}}", place(action, kind), labels))
		}
		for _, e := range entries {
			if e.before == "" {
				continue
			}
			o := parse(t, e.fill(e.before, action))
			if err := person.Create(t.Context(), o); err != nil {
				t.Fatalf("%s: %v", e.name, err)
			}
			removed(t, o)
		}
	}
}

func (e entry) fill(manifest, action string) string {
	ns := place(action, e.in)
	return strings.NewReplacer("NAME", e.name, "NS", ns, "open/", place(action, "open")+"/").Replace(manifest)
}

// awaitDemands waits until the API server judges by the policies of an action, of which it learned in their order; and
// the agent has told what of exceptions has ended.
func awaitDemands(t *testing.T, action string) {
	t.Helper()
	name := "last-" + strings.ToLower(action)
	demand(t, name, fmt.Sprintf(`{action: %s, match: {namespaces: [%s], gatewaySelector: {istio: %s}}, require: {plainHTTP: Forbidden}}`, action, place(action, "open"), name))
	probe := entry{name: "probe-" + name, in: "open", object: gatewayOf("v1", "{istio: "+name+"}", "", unencrypted("HTTP", ""))}
	testenv.Eventually(t, patience, "policies with action "+action, func(ctx context.Context) error {
		said.take()
		err := person.Create(ctx, parse(t, probe.fill(probe.object, action)), client.DryRunAll)
		refused, warned := err != nil, strings.Contains(said.take(), name)
		if action == "Deny" && refused || action == "Warn" && warned || action == "Audit" {
			return nil //nolint:nilerr // the refusal is what is waited for. What is noted cannot be asked for; the agent is asked next
		}
		return fmt.Errorf("not in force: %w", err)
	})
	testenv.Eventually(t, patience, "what has ended of the exceptions with action "+action, func(ctx context.Context) error {
		status, err := policyNamed(ctx, "edge-"+strings.ToLower(action))
		if err != nil {
			return err
		}
		if ended, _ := status["endedExceptions"].([]any); len(ended) != 1 {
			return fmt.Errorf("ended are %v", ended)
		}
		said.take()
		gone := entry{name: "ended", in: "guarded", object: gateway("", https(host, simple))}
		err = person.Create(ctx, parse(t, gone.fill(gone.object, action)), client.DryRunAll)
		if action == "Deny" && err == nil || action == "Warn" && !strings.Contains(said.take(), "edge-warn") {
			return errors.New("the API server has not heard")
		}
		return nil
	})
}

// webhookIs brings the webhook into a state for the rest of a test.
func webhookIs(t *testing.T, s state) {
	t.Helper()
	kill := func() error {
		for _, r := range installed.Webhooks {
			if err := r.Process.Kill(); err != nil {
				return err
			}
		}
		return nil
	}
	begin := func() error {
		for _, r := range installed.Webhooks {
			if err := r.Process.Start(); err != nil {
				return err
			}
		}
		return nil
	}
	if s == up {
		return
	}
	t.Cleanup(func() {
		// The test's own context has ended by now.
		if err := errors.Join(begin(), installed.Ready(context.WithoutCancel(t.Context()))); err != nil {
			t.Error(err)
		}
	})
	switch s {
	case up:
	case down:
		if err := kill(); err != nil {
			t.Fatal(err)
		}
	case flapping:
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			var err error
			for err == nil && ctx.Err() == nil {
				if err = kill(); err == nil {
					if err = begin(); err == nil {
						err = installed.Ready(context.WithoutCancel(ctx))
					}
				}
			}
			ended <- errors.Join(err, kill())
		}()
		t.Cleanup(func() {
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// try makes the write, as a dry run, and holds the answer to the verdict.
func (e entry) try(t *testing.T, action string, s state) {
	said.take()
	err := e.write(t.Context(), parse(t, e.fill(e.object, action)))
	warned := said.take()
	switch refused, deniedByPolicy := err != nil, e.violates != "" && action == "Deny"; {
	case deniedByPolicy:
		e.names(t, err, action)
	case refused && e.needsWebhook && s != up:
		if !strings.Contains(err.Error(), "ValidatingAdmissionPolicy 'sallyport-gateway'") {
			t.Errorf("refused otherwise than by the backstop: %v", err)
		}
	case refused && e.conflicts && s != down:
		if !strings.Contains(err.Error(), "admission webhook") {
			t.Errorf("refused otherwise than by the webhook: %v", err)
		}
	case refused:
		t.Errorf("refused, and nothing is wrong with it: %v", err)
	case e.needsWebhook && s == down, e.conflicts && s == up:
		t.Error("accepted")
	}
	if wants := e.violates != "" && action == "Warn"; wants != strings.Contains(warned, "MutualTLSPolicy") {
		t.Errorf("violates is %q, and the warnings are %q", e.violates, warned)
	} else if wants {
		e.names(t, errors.New(warned), action)
	}
}

// names holds an answer to naming the policy, the field, and a way out.
func (e entry) names(t *testing.T, err error, action string) {
	t.Helper()
	if err == nil {
		t.Error("accepted")
		return
	}
	if !apierrors.IsInvalid(err) && action == "Deny" {
		t.Errorf("refused otherwise than by a policy: %v", err)
	}
	for _, part := range []string{e.field + ": MutualTLSPolicy " + e.violates + "-" + strings.ToLower(action), ": write ", "exception"} {
		if part == ": write " && strings.Contains(err.Error(), ": name one of those") {
			continue
		}
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the answer does not say %q: %v", part, err)
		}
	}
}

// write makes it.
func (e entry) write(ctx context.Context, wanted *unstructured.Unstructured) error {
	if e.by == "apply" {
		return person.Apply(ctx, client.ApplyConfigurationFromUnstructured(wanted), client.FieldOwner("another"), client.ForceOwnership, client.DryRunAll)
	}
	if e.before == "" {
		return person.Create(ctx, wanted, client.DryRunAll)
	}
	before, err := stored(ctx, wanted)
	if err != nil {
		return err
	}
	after := before.DeepCopy()
	after.SetAnnotations(wanted.GetAnnotations())
	after.SetLabels(wanted.GetLabels())
	after.Object["spec"] = wanted.Object["spec"]
	switch e.by {
	case "status":
		after.Object["status"] = map[string]any{}
		return person.Status().Update(ctx, after, client.DryRunAll)
	case "merge patch":
		return person.Patch(ctx, after, client.MergeFrom(before), client.DryRunAll)
	case "JSON patch":
		operations, err := json.Marshal([]map[string]any{
			{"op": "add", "path": "/metadata/annotations", "value": map[string]any{}}, {"op": "replace", "path": "/spec", "value": wanted.Object["spec"]},
		})
		if err != nil {
			return err
		}
		return person.Patch(ctx, after, client.RawPatch(types.JSONPatchType, operations), client.DryRunAll)
	}
	return person.Update(ctx, after, client.DryRunAll)
}

// noted holds the audit log to noting what violates a policy, whatever its action, and nothing else.
func noted(t *testing.T, entries []entry) {
	t.Helper()
	log, err := os.Open(stack.AuditLog())
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	found := map[string]string{}
	for lines := bufio.NewScanner(log); lines.Scan(); {
		var event struct {
			ObjectRef   struct{ Namespace, Name string }
			Annotations map[string]string
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			t.Fatal(err)
		}
		if note := event.Annotations["validation.policy.admission.k8s.io/validation_failure"]; strings.Contains(note, "MutualTLSPolicy") {
			found[event.ObjectRef.Namespace+"/"+event.ObjectRef.Name] += note
		}
	}
	for _, action := range actions {
		for _, e := range entries {
			note := found[place(action, e.in)+"/"+e.name]
			if wants := e.violates != ""; wants != strings.Contains(note, e.violates+"-"+strings.ToLower(action)) || !wants && note != "" {
				t.Errorf("%s with action %s violates %q, and is noted as %q", e.name, action, e.violates, note)
			}
		}
	}
}
