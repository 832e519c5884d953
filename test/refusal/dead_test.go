package refusal

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/testenv"
)

// With every replica of the webhook dead, the API server refuses the same mistakes in
// objects that are complete otherwise, as render or Git would have them. What it lets
// through is listed, with the reason why it opens nothing.
func TestTheSameWithoutTheWebhook(t *testing.T) {
	namespace(t, "dead")
	rows := map[string]row{}
	for name, r := range servers() {
		rows["a server: "+name] = r
	}
	for name, r := range hosts() {
		rows["a host: "+name] = r
	}
	for name, r := range together() {
		rows["keys: "+name] = r
	}
	for name, k := range keys() {
		if r, ok := k.onGateway(); ok {
			rows["a key on a Gateway: "+name] = r
		}
		if r, ok := k.onAPIRule(); ok {
			rows["a key on an APIRule: "+name] = r
		}
	}
	withoutWebhook(t)
	refused := 0
	for name, r := range rows {
		for _, version := range versionsOf(r.object) {
			object := parse(t, fill(r.object, version, "dead"))
			complete(t, object)
			err := shared.person.Create(t.Context(), object, client.DryRunAll)
			why, passes := harmless[name]
			switch {
			case err == nil && !passes:
				t.Errorf("%s, %s: accepted", name, version)
			case err != nil && passes:
				t.Errorf("%s, %s: refused, though %s: %v", name, version, why, err)
			case err != nil:
				refused++
				if strings.HasPrefix(r.field, "spec.servers[") && apierrors.IsForbidden(err) && !namesAServer.MatchString(err.Error()) {
					t.Errorf("%s, %s: the answer does not name the field and what was found: %v", name, version, err)
				}
				if strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsGraphic(r) }) {
					t.Errorf("%s, %s: the answer does harm in a terminal or a log: %q", name, version, err.Error())
				}
			}
		}
	}
	t.Logf("%d writes refused; %d of %d rows are accepted", refused, len(harmless), len(rows))
}

// namesAServer is how a policy says what is wrong with a server.
var namesAServer = regexp.MustCompile(`spec\.servers\[\d\](\.\w+)+: found ("[^"]*"|what cannot be printed), .+`)

// harmless are the rows that the policies accept.
var harmless = func() map[string]string {
	rows := map[string]string{
		"a key on an APIRule: a caller twice":                    "a name that is there twice allows nobody else",
		"keys: settings of a Gateway on an APIRule that uses it": "the policies cannot look up the Gateway, and the agent says that they are not in force",
	}
	for name := range hosts() {
		if !strings.HasPrefix(name, "every host") {
			rows["a host: "+name] = "it is mutual all the same, and no server certificate is issued for it"
		}
	}
	return rows
}()

// What the policies cannot see of an APIRule and its Gateway, the agent says.
func TestTheAgentJudgesWhatIsStoredWithoutTheWebhook(t *testing.T) {
	const ns = "judged"
	namespace(t, ns)
	settings := "mode: MUTUAL, credentialName: NAMESPACE.edge.mtls, caCertCredentialName: NAMESPACE.edge.mtls-cacert, minProtocolVersion: TLSV1_2"
	withoutWebhook(t)
	create(t, fill(gateway(mutual, serverOn(443, "HTTPS", "'*.NAMESPACE.example.com'", settings)), "v1", ns))
	tests := map[string]struct{ annotations, want string }{
		"its own callers on a Gateway for all": {mutual + ", " + mtls + "allowed-clients: a.example.com", "spec.gateway: mtls.sallyport.dev/allowed-clients is set by the annotations of Gateway judged/edge, not by those of an APIRule that uses it: move it there"},
		"another minimum version":              {mutual + ", " + mtls + "min-tls: TLSv1.3", "spec.gateway: mtls.sallyport.dev/min-tls is set by the annotations of Gateway judged/edge, not by those of an APIRule that uses it: move it there"},
		"optional on a Gateway that is mutual": {mtls + "mode: optional", "spec.gateway: Gateway judged/edge is mutual and this APIRule asks for optional: change one of the two"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			orders := create(t, fill(rule(test.annotations, "gateway: NAMESPACE/edge"), "v2", ns))
			testenv.Eventually(t, followed, test.want, func(ctx context.Context) error {
				endpoint := ofKind("mtls.sallyport.dev/v1alpha1", "MutualTLSEndpoint")
				if err := shared.person.Get(ctx, client.ObjectKey{Namespace: ns, Name: "apirule-orders"}, endpoint); err != nil {
					return err
				}
				if said := fmt.Sprint(endpoint.Object["status"]); !strings.Contains(said, test.want) || !strings.Contains(fmt.Sprint(endpoint.GetOwnerReferences()), string(orders.GetUID())) {
					return fmt.Errorf("found %s", said)
				}
				return nil
			})
		})
	}
}

// complete writes into the servers of a Gateway what the webhook would have, where
// nothing else is said.
func complete(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	servers, found, err := unstructured.NestedSlice(object.Object, "spec", "servers")
	if err != nil {
		t.Fatal(err)
	}
	if !found {
		return
	}
	for _, item := range servers {
		server := item.(map[string]any) //nolint:forcetypeassert // as it was parsed
		settings, _ := server["tls"].(map[string]any)
		if protocol, _, _ := unstructured.NestedString(server, "port", "protocol"); settings == nil && protocol != "HTTPS" {
			continue
		}
		if settings == nil {
			settings = map[string]any{}
		}
		if mode := settings["mode"]; mode == nil || mode == "SIMPLE" {
			settings["mode"] = "MUTUAL"
		}
		if settings["credentialName"] == nil && settings["credentialNames"] == nil {
			settings["credentialName"] = object.GetNamespace() + "." + object.GetName() + ".mtls"
		}
		if settings["minProtocolVersion"] == nil {
			settings["minProtocolVersion"] = "TLSV1_2"
		}
		server["tls"] = settings
	}
	if err := unstructured.SetNestedSlice(object.Object, servers, "spec", "servers"); err != nil {
		t.Fatal(err)
	}
}
