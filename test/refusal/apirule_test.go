package refusal

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The Gateway that an APIRule names has to ask for what the APIRule asks for.
func TestGatewayOfAnAPIRule(t *testing.T) {
	const id = "named"
	p := places(t, id)
	namespace(t, id+"-gateways")
	stored := func(name, annotations, tls string) {
		manifest := gatewayNamed(name, "annotations: {"+annotations+"}", serverOn(443, "HTTPS", name+".gateways.example.com", tls))
		create(t, fill(manifest, "v1", id+"-gateways"))
	}
	stored("open", "", "mode: SIMPLE, credentialName: a")
	stored("kept-off", mtls+"mode: disabled", "mode: SIMPLE, credentialName: a")
	stored("mutual", mutual, "")
	stored("optional", mtls+"mode: optional", "")
	for _, ns := range []string{p.fresh, p.stored} {
		// Somebody's Gateway in the place of the one that would be made.
		taken := gatewayNamed("taken-mtls", "annotations: {}", serverOn(443, "HTTPS", "taken."+ns+".example.com", "mode: SIMPLE, credentialName: a"))
		create(t, fill(taken, "v1", ns))
	}
	on := func(gateway string) string { return rule(mutual, "gateway: "+gateway) }
	host := func(host string) row {
		return row{object: ruleNamed("orders", mutual, fmt.Sprintf("%q", host), "", "{path: /, methods: [GET], noAuth: true}"), field: "spec.hosts[0]"}
	}
	rows := map[string]row{
		"one that does not ask": {
			object: on("named-gateways/open"),
			field:  "spec.gateway", found: "Gateway named-gateways/open does not ask for mutual TLS",
			wayOut: "annotate it with mtls.sallyport.dev/mode: mutual, or leave spec.gateway out and a Gateway is made"},
		"one that keeps it off": {
			object: on("named-gateways/kept-off"),
			field:  "spec.gateway", found: "Gateway named-gateways/kept-off does not ask for mutual TLS",
			wayOut: "annotate it with mtls.sallyport.dev/mode: mutual, or leave spec.gateway out and a Gateway is made"},
		"one that lets callers in without a certificate": {
			object: on("named-gateways/optional"),
			field:  "spec.gateway", found: "Gateway named-gateways/optional is optional and this APIRule asks for mutual", wayOut: "change one of the two"},
		"one that asks for more": {
			object: strings.Replace(on("named-gateways/mutual"), "mode: mutual", "mode: optional", 1),
			field:  "spec.gateway", found: "Gateway named-gateways/mutual is mutual and this APIRule asks for optional", wayOut: "change one of the two"},
		"no name of a Gateway": {
			object: on("Named/Open"),
			field:  "spec.gateway", found: `found "Named/Open"`, wayOut: "expected <namespace>/<name> of a Gateway"},
		"Kyma's external Gateway": {
			object: rule(mutual, "externalGateway: NAMESPACE/orders"),
			field:  "spec.externalGateway", found: `found "NAMESPACE/orders", whose Gateway is owned by Kyma's operator`, wayOut: "use spec.gateway, or leave both out and a Gateway is made"},
		"somebody's in the place of its own": {
			object: strings.Replace(rule(mutual, ""), "name: orders,", "name: taken,", 1), createOnly: true,
			field: "metadata.name", found: "would be NAMESPACE/taken-mtls, which exists and was not made for it", wayOut: "rename one of the two, or name a Gateway in spec.gateway"},
		"a short host":         host("orders").saying(`found "orders", which is short`, "write the full host, or name a Gateway in spec.gateway"),
		"an address":           host("192.0.2.1").saying(`found "192.0.2.1", which no server certificate can be issued for`, "give it a DNS name, and write that"),
		"letters beyond ASCII": host("bücher.example.com").saying(`found "bücher.example.com", which no server certificate can be issued for`, "write letters beyond a to z in their ASCII form, which begins with xn--"),
		"a label of 64":        host(strings.Repeat("a", 64)+".example.com").saying("which no server certificate can be issued for", "of labels up to 63"),
		"every host":           host("*.").saying(`found "*."`, "write * alone as the first label, and a domain after it"),
	}
	for name, r := range rows {
		t.Run(name, func(t *testing.T) { r.refused(t, p, ruleVersions) })
	}
	t.Run("the managed one of another APIRule", func(t *testing.T) {
		other := create(t, fill(strings.Replace(rule(mutual, ""), "name: orders,", "name: other,", 1), "v2", id+"-gateways"))
		managed := &unstructured.Unstructured{}
		managed.SetAPIVersion("networking.istio.io/v1")
		managed.SetKind("Gateway")
		awaitStored(t, managed, client.ObjectKey{Namespace: id + "-gateways", Name: "other-mtls"})
		r := row{
			object: on("named-gateways/other-mtls"),
			field:  "spec.gateway", found: fmt.Sprintf(`Gateway named-gateways/other-mtls is made for another object (APIRule/named-gateways/other/%s)`, other.GetUID()),
			wayOut: "leave spec.gateway out, or name a Gateway of your own"}
		awaitRefused(t, fill(r.object, "v2", p.fresh))
		r.refused(t, p, ruleVersions)
	})
	t.Run("the managed one of another APIRule, changed by hand", func(t *testing.T) {
		create(t, fill(strings.Replace(rule(mutual, ""), "name: orders,", "name: changed,", 1), "v2", id+"-gateways"))
		managed := &unstructured.Unstructured{}
		managed.SetAPIVersion("networking.istio.io/v1")
		managed.SetKind("Gateway")
		awaitStored(t, managed, client.ObjectKey{Namespace: id + "-gateways", Name: "changed-mtls"})
		managed.SetAnnotations(map[string]string{mtls + "mode": "disabled", mtls + "owner": managed.GetAnnotations()[mtls+"owner"]})
		row{field: "metadata.labels[mtls.sallyport.dev/managed]", found: "is managed for", wayOut: "change the object that it was made for"}.
			check(t, "update", id+"-gateways", shared.person.Update(t.Context(), managed, client.DryRunAll))
	})
}

// A header that says who the caller is can be written by nobody else.
func TestIdentityHeaders(t *testing.T) {
	p := places(t, "headers")
	const asked = mutual + ", " + mtls + "client-headers: uri"
	const right = "%DOWNSTREAM_PEER_URI_SAN%"
	with := func(header, value string) string {
		request := fmt.Sprintf(", request: {headers: {%s: %q}}", header, value)
		return ruleNamed("orders", asked, "orders.NAMESPACE.example.com", "", "{path: /a, methods: [GET], noAuth: true}, {path: /b, methods: [GET], noAuth: true"+request+"}")
	}
	rows := map[string]struct{ header, value, expected string }{
		"a value that the caller's own replaces where it comes out empty": {"X-Client-Cert-Uri", right, "uri=" + right},
		"an empty value":                     {"X-Client-Cert-Uri", "", "uri=" + right},
		"an empty value with its literal":    {"X-Client-Cert-Uri", "uri=", "uri=" + right},
		"another identity":                   {"X-Client-Cert-Uri", "uri=spiffe://admin", "uri=" + right},
		"another variable":                   {"X-Client-Cert-Uri", "uri=%REQ(X-Who)%", "uri=" + right},
		"another spelling of the name":       {"x-client-cert-uri", "uri=" + right, "uri=" + right},
		"a header that is not asked for":     {"X-Client-Cert-Subject", "subject=%DOWNSTREAM_PEER_SUBJECT%", "subject="},
		"an empty one that is not asked for": {"X-Client-Cert-Certificate", "", "certificate="},
	}
	for name, r := range rows {
		t.Run(name, func(t *testing.T) {
			row{object: with(r.header, r.value), field: "spec.rules[1].request.headers[" + r.header + "]",
				found: fmt.Sprintf("found %q, expected %q", r.value, r.expected), wayOut: "remove the header"}.
				refused(t, p, ruleVersions)
		})
	}
	t.Run("a header that is missing is written, on every rule", func(t *testing.T) {
		object := parse(t, fill(with("X-Team", "a"), "v2", p.fresh))
		if err := shared.person.Create(t.Context(), object, client.DryRunAll); err != nil {
			t.Fatal(err)
		}
		rules, _, _ := unstructured.NestedSlice(object.Object, "spec", "rules")
		for i, rule := range rules {
			headers, _, _ := unstructured.NestedStringMap(rule.(map[string]any), "request", "headers") //nolint:forcetypeassert // as it was sent
			if headers["X-Client-Cert-Uri"] != "uri="+right || headers["X-Client-Cert-Subject"] != "subject=" || len(headers) != 6+i {
				t.Errorf("rule %d has the headers %q", i, headers)
			}
		}
	})
}

// What Kyma's conversion makes of an old APIRule is not written by us, or the original
// would be lost; the API server still refuses it on an open Gateway.
func TestOldAPIRules(t *testing.T) {
	p := places(t, "old")
	const converted = mutual + ", gateway.kyma-project.io/original-version: v1beta1"
	const toOwn = "name a Gateway with mtls.sallyport.dev/mode, or <namespace>/<apirule>-mtls, which is made for this APIRule"
	copied := func(gateway string) string {
		return strings.Replace(ruleNamed("orders", converted, "orders.NAMESPACE.example.com", gateway, ""), "rules: []", "", 1)
	}
	rows := map[string]row{
		"a converted copy without rules on Kyma's Gateway": {
			object: copied("gateway: kyma-system/kyma-gateway"), byPolicy: true,
			field: "spec.gateway", found: "is kyma-system/kyma-gateway, which is open to everybody", wayOut: toOwn,
			keeps: "the rules stay, which another manager wrote, and with rules it is no copy"},
		"a converted copy without rules and without a Gateway": {
			object: copied(""), byPolicy: true, keeps: "the rules stay, which another manager wrote, and with rules it is no copy",
			field: "spec.gateway", found: "is not set", wayOut: toOwn},
	}
	for name, r := range rows {
		t.Run(name, func(t *testing.T) { r.refused(t, p, ruleVersions) })
	}
	t.Run("a converted copy without rules on a Gateway of its own is stored as it is", func(t *testing.T) {
		object := parse(t, fill(copied("gateway: NAMESPACE/orders-mtls"), "v2", p.fresh))
		if err := shared.person.Create(t.Context(), object, client.DryRunAll); err != nil {
			t.Error(err)
		}
		if _, written, _ := unstructured.NestedSlice(object.Object, "spec", "rules"); written {
			t.Error("rules were written")
		}
	})
	t.Run("the same annotation on an APIRule with rules changes nothing", func(t *testing.T) {
		object := parse(t, fill(rule(converted, "gateway: kyma-system/kyma-gateway"), "v2", p.fresh))
		if err := shared.person.Create(t.Context(), object, client.DryRunAll); err != nil {
			t.Fatal(err)
		}
		if gateway, _, _ := unstructured.NestedString(object.Object, "spec", "gateway"); gateway != p.fresh+"/orders-mtls" {
			t.Errorf("spec.gateway is %q", gateway)
		}
	})

	const oldHost = "orders.NAMESPACE.example.com"
	beta := map[string]row{
		"identity headers in v1beta1": {
			object: oldRule(mutual+", "+mtls+"client-headers: uri", oldHost, "gateway: kyma-gateway.kyma-system.svc.cluster.local"),
			field:  "metadata.annotations[mtls.sallyport.dev/client-headers]", found: `"uri"`, wayOut: "needs an APIRule of version v2"},
		"a short host in v1beta1": {
			object: oldRule(mutual, "orders", "gateway: kyma-gateway.kyma-system.svc.cluster.local"),
			field:  "spec.host", found: `found "orders", which is short`, wayOut: "write the full host, or name a Gateway in spec.gateway"},
		"a misspelt mode in v1beta1": {
			object: oldRule(mtls+"mode: Mutual", oldHost, "gateway: kyma-gateway.kyma-system.svc.cluster.local"),
			field:  "metadata.annotations[mtls.sallyport.dev/mode]", found: `"Mutual"`, wayOut: `supported values: "mutual", "optional", "disabled"`},
	}
	create(t, fill(gatewayNamed("open", "annotations: {}", serverOn(443, "HTTPS", "open.example.com", "mode: SIMPLE, credentialName: a")), "v1", p.stored))
	for _, spelling := range []string{"open.old-stored.svc.cluster.local", "open.old-stored.svc", "open.old-stored", "old-stored/open"} {
		beta["an open Gateway by the name "+spelling] = row{
			object: oldRule(mutual, oldHost, "gateway: "+spelling),
			field:  "spec.gateway", found: "Gateway old-stored/open does not ask for mutual TLS", wayOut: "annotate it with mtls.sallyport.dev/mode: mutual"}
	}
	awaitRefused(t, fill(oldRule(mutual, oldHost, "gateway: open.old-stored"), "v1beta1", p.fresh))
	for name, r := range beta {
		t.Run(name, func(t *testing.T) {
			r.object = strings.Replace(r.object, "name: orders,", "name: old,", 1)
			r.refused(t, p, []string{"v1beta1"})
		})
	}
}
