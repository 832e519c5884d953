package policy

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/testenv"
)

// exceptions is a list of so many.
func exceptions(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`{kind: Gateway, namespace: a, name: g%d, expirationTime: "2999-01-01T00:00:00Z", reason: r}`, i))
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// A policy that could mean nothing, or that nobody can mean, is refused, and the answer names the field.
func TestNonsenseIsRefusedWithItsField(t *testing.T) {
	const rest = "require: {mode: Mutual}, action: Deny"
	for name, test := range map[string]struct{ spec, field string }{
		"nothing":                               {"{}", "spec.action: Required"},
		"no demand":                             {"{action: Deny}", "spec.require: Invalid value"},
		"an empty demand":                       {"{action: Deny, require: {}, match: {namespaces: [a]}}", "spec.require: Invalid value"},
		"a demand of what is allowed":           {"{action: Deny, require: {plainHTTP: Allowed}}", "spec.require: Invalid value"},
		"authorities of whom":                   {"{action: Deny, require: {minTLS: TLSv1.2, authorities: [{namespace: a, name: b}]}}", "spec.require.authorities: Invalid value"},
		"opting in to what":                     {"{action: Deny, optIn: true, require: {plainHTTP: Forbidden}}", "spec.optIn: Invalid value"},
		"another action":                        {"{action: Refuse, require: {mode: Mutual}}", `spec.action: Unsupported value: "Refuse"`},
		"a mode in the annotation's words":      {"{action: Deny, require: {mode: mutual}}", `spec.require.mode: Unsupported value: "mutual"`},
		"a version in Istio's words":            {"{action: Deny, require: {minTLS: TLSV1_3}}", `spec.require.minTLS: Unsupported value: "TLSV1_3"`},
		"every host":                            {"{match: {hostSuffixes: ['*']}, " + rest + "}", "spec.match.hostSuffixes[0]: Invalid value"},
		"a wildcard":                            {"{match: {hostSuffixes: ['*.example.com']}, " + rest + "}", "spec.match.hostSuffixes[0]: Invalid value"},
		"a regular expression":                  {"{match: {hostSuffixes: ['.*example\\.com$']}, " + rest + "}", "spec.match.hostSuffixes[0]: Invalid value"},
		"a dot before it":                       {"{match: {hostSuffixes: ['.example.com']}, " + rest + "}", "spec.match.hostSuffixes[0]: Invalid value"},
		"upper case":                            {"{match: {hostSuffixes: [Example.com]}, " + rest + "}", "spec.match.hostSuffixes[0]: Invalid value"},
		"an empty suffix":                       {"{match: {hostSuffixes: ['']}, " + rest + "}", "spec.match.hostSuffixes[0]"},
		"one suffix twice":                      {"{match: {hostSuffixes: [a.com, a.com]}, " + rest + "}", "spec.match.hostSuffixes[1]: Duplicate value"},
		"a namespace that cannot be":            {"{match: {namespaces: ['Shop*']}, " + rest + "}", "spec.match.namespaces[0]: Invalid value"},
		"a label that cannot be":                {"{match: {namespaceLabels: {'a b': c}}, " + rest + "}", "spec.match.namespaceLabels: Invalid value"},
		"a value that cannot be":                {"{match: {gatewaySelector: {a: 'b c'}}, " + rest + "}", "spec.match.gatewaySelector.a: Invalid value"},
		"ten thousand exceptions":               {"{" + rest + ", exceptions: " + exceptions(10_000) + "}", "spec.exceptions: Too many: 10000: must have at most 64 items"},
		"one exception twice":                   {"{" + rest + ", exceptions: " + strings.Replace(exceptions(2), "g1", "g0", 1) + "}", "spec.exceptions[1]: Duplicate value"},
		"an exception without an end":           {"{" + rest + ", exceptions: [{kind: Gateway, namespace: a, name: b, reason: c}]}", "spec.exceptions[0].expirationTime: Required value"},
		"an exception without a reason":         {"{" + rest + `, exceptions: [{kind: Gateway, namespace: a, name: b, expirationTime: "2999-01-01T00:00:00Z", reason: ""}]}`, "spec.exceptions[0].reason"},
		"an exception for ever":                 {"{" + rest + `, exceptions: [{kind: Gateway, namespace: a, name: b, expirationTime: never, reason: c}]}`, "spec.exceptions[0].expirationTime: Invalid value"},
		"an exception of everything":            {"{" + rest + `, exceptions: [{kind: "*", namespace: a, name: b, expirationTime: "2999-01-01T00:00:00Z", reason: c}]}`, `spec.exceptions[0].kind: Unsupported value: "*"`},
		"a field that nobody reads":             {"{" + rest + ", enforce: true}", `unknown field "spec.enforce"`},
		"a field of a demand that nobody reads": {"{action: Deny, require: {mode: Mutual, maxTLS: TLSv1.3}}", `unknown field "spec.require.maxTLS"`},
	} {
		t.Run(name, func(t *testing.T) {
			o := parse(t, "{apiVersion: mtls.sallyport.dev/v1alpha1, kind: MutualTLSPolicy, metadata: {name: nonsense}, spec: "+test.spec+"}")
			err := client.WithFieldValidation(person, "Strict").Create(t.Context(), o, client.DryRunAll)
			if err == nil || !strings.Contains(err.Error(), test.field) {
				t.Errorf("the answer does not say %q: %.600v", test.field, err)
			}
		})
	}
}

// What is allowed and of no use, or contradicts another, stops nobody whom it is not about, and tells how it stands.
func TestWhatIsOfNoUseStopsNobodyElse(t *testing.T) {
	apply(t, "{apiVersion: v1, kind: Namespace, metadata: {name: useless}}\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: bystander}}")
	most := strings.ReplaceAll(exceptions(64), "namespace: a", "namespace: useless")
	suffixes := make([]string, 16)
	for i := range suffixes {
		suffixes[i] = fmt.Sprintf("a%d.%sexample.com", i, strings.Repeat("b.", 115))
	}
	for name, spec := range map[string]string{
		"useless-ended": `{action: Deny, match: {namespaces: [useless]}, require: {mode: Mutual}, exceptions: [{kind: Gateway, namespace: useless, name: edge, expirationTime: "2001-01-01T00:00:00Z", reason: "it is over"}]}`,
		"useless-most":  `{action: Deny, match: {namespaces: [useless]}, require: {mode: Mutual}, exceptions: ` + most + `}`,
		"useless-left":  `{action: Deny, match: {namespaces: [useless]}, require: {mode: Mutual, authorities: [{namespace: a, name: left}]}}`,
		"useless-right": `{action: Deny, match: {namespaces: [useless]}, require: {mode: Mutual, authorities: [{namespace: a, name: right}]}}`,
		"useless-empty": `{action: Deny, match: {namespaces: [nowhere], namespaceLabels: {a: b}}, require: {mode: Mutual}}`,
		"useless-hosts": `{action: Deny, match: {hostSuffixes: [` + strings.Join(suffixes, ", ") + `]}, require: {mode: Mutual}}`,
	} {
		demand(t, name, spec)
		told(t, name, "reason:Judged")
	}
	contradicted := parse(t, strings.NewReplacer("NAME", "edge", "NS", "useless").Replace(gateway(mutual+", "+listing+"a/left", https(host, complete))))
	testenv.Eventually(t, patience, "the refusal of what two policies contradict each other about", func(ctx context.Context) error {
		err := person.Create(ctx, contradicted.DeepCopy(), client.DryRunAll)
		if err == nil || !strings.Contains(err.Error(), "MutualTLSPolicy useless-right lists a/right") {
			return fmt.Errorf("answered %w", err)
		}
		return nil
	})
	told(t, "useless-ended", "endedExceptions:[map[kind:Gateway name:edge namespace:useless]]")

	// As many hosts as are looked at, as long as hosts can be, under as many suffixes as there can be.
	long := func(n int) string {
		many := make([]string, n)
		for i := range many {
			many[i] = fmt.Sprintf("%q", fmt.Sprintf("host-%d.%sexample.com", i, strings.Repeat("b.", 115)))
		}
		return strings.Replace(https(host, simple), `"`+host+`"`, strings.Join(many, ", "), 1)
	}
	for name, servers := range map[string]string{"plain": unencrypted("HTTP", ""), "large": long(1000)} {
		o := parse(t, strings.NewReplacer("NAME", name, "NS", "bystander").Replace(gateway("", servers)))
		if err := person.Create(t.Context(), o, client.DryRunAll); err != nil {
			t.Errorf("refused Gateway %s, which no policy is about: %.900v", name, err)
		}
	}
	huge := parse(t, strings.NewReplacer("NAME", "huge", "NS", "bystander").Replace(gateway("", long(1001))))
	if err := person.Create(t.Context(), huge, client.DryRunAll); err == nil || !strings.Contains(err.Error(), "MutualTLSPolicy useless-hosts demands mutual") {
		t.Errorf("a Gateway with more hosts than can be looked at is answered: %.900v", err)
	}
}
