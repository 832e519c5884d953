package policy

import (
	"fmt"
	"strings"
)

// entry is one write, and the demand that it does not meet.
type entry struct {
	name string
	// in is where it is written: guarded is demanded to be mutual, listed to use certain authorities, ruled to offer TLS
	// 1.3 alone, open nothing by its Namespace.
	in string
	// before is what is stored at the time; nothing if the object is created.
	before string
	object string
	// by is how it is written; create, or update if something is stored.
	by string
	// violates is the policy, and field where; both empty if nothing is demanded that it is not.
	violates, field string
	// needsWebhook is an object that is complete only once the webhook wrote into it: without, the backstop
	// refuses it where nothing else does.
	needsWebhook bool
	// conflicts is an object that the webhook refuses for its host, whatever policies say.
	conflicts bool
}

const (
	mutual   = "mtls.sallyport.dev/mode: mutual"
	optional = "mtls.sallyport.dev/mode: optional"
	disabled = "mtls.sallyport.dev/mode: disabled"
	// complete is what the webhook writes.
	complete = "tls: {mode: MUTUAL, credentialName: NS.NAME.mtls, caCertCredentialName: NS.NAME.mtls-cacert, minProtocolVersion: TLSV1_2}"
	eased    = "tls: {mode: OPTIONAL_MUTUAL, credentialName: NS.NAME.mtls, caCertCredentialName: NS.NAME.mtls-cacert, minProtocolVersion: TLSV1_2}"
	strict   = "tls: {mode: MUTUAL, credentialName: NS.NAME.mtls, caCertCredentialName: NS.NAME.mtls-cacert, minProtocolVersion: TLSV1_3}"
	simple   = "tls: {mode: SIMPLE, credentialName: own-NAME-NS}"
	host     = "NAME.NS.example.com"
)

// gateway is a Gateway with annotations and servers.
func gateway(annotations string, servers ...string) string {
	return gatewayOf("v1", "{istio: ingressgateway}", annotations, servers...)
}

func gatewayOf(version, selector, annotations string, servers ...string) string {
	return fmt.Sprintf("{apiVersion: networking.istio.io/%s, kind: Gateway, metadata: {name: NAME, namespace: NS, annotations: {%s}}, spec: {selector: %s, servers: [%s]}}",
		version, annotations, selector, strings.Join(servers, ", "))
}

// https is a server with TLS, unencrypted one without; each server has a port of its own name.
func https(host, tls string) string {
	return fmt.Sprintf("{port: {number: 443, name: https, protocol: HTTPS}, hosts: [%q], %s}", host, tls)
}

func unencrypted(protocol, more string) string {
	return fmt.Sprintf("{port: {number: 80, name: http, protocol: %s}, hosts: [%s]%s}", protocol, host, more)
}

const redirect = ", tls: {httpsRedirect: true}"

// rule is an APIRule.
func rule(version, annotations, spec string) string {
	hosts := "hosts: [" + host + "]"
	if version == "v1beta1" {
		hosts = "host: " + host
	}
	return fmt.Sprintf("{apiVersion: gateway.kyma-project.io/%s, kind: APIRule, metadata: {name: NAME, namespace: NS, annotations: {%s}}, spec: {%s, service: {name: a, port: 80}, rules: [{path: /*, methods: [GET], noAuth: true}], %s}}",
		version, annotations, hosts, spec)
}

const (
	own     = "gateway: NS/NAME-mtls"
	kymas   = "gateway: kyma-system/kyma-gateway"
	mode    = "metadata.annotations[mtls.sallyport.dev/mode]"
	listed  = "metadata.annotations[mtls.sallyport.dev/authorities]"
	minTLS  = "metadata.annotations[mtls.sallyport.dev/min-tls]"
	first   = "spec.servers[0]"
	second  = "spec.servers[1]"
	listing = "mtls.sallyport.dev/authorities: "
)

// demands are the policies of the catalogue, for one action: NAMESPACES are those it is about.
func demands(action string) map[string]string {
	fill := func(spec string) string {
		return strings.NewReplacer("ACTION", action, "GUARDED", place(action, "guarded"), "LISTED", place(action, "listed"), "OPEN", place(action, "open"), "RULED", place(action, "ruled")).Replace(spec)
	}
	return map[string]string{
		"edge": fill(`{action: ACTION, match: {namespaces: [GUARDED, LISTED, OPEN], namespaceLabels: {guarded: "yes"}}, require: {mode: Mutual, minTLS: TLSv1.2, plainHTTP: Forbidden},
  exceptions: [
    {kind: Gateway, namespace: GUARDED, name: excepted, expirationTime: "2999-01-01T00:00:00Z", reason: "a partner moves in spring"},
    {kind: APIRule, namespace: GUARDED, name: excepted-rule, expirationTime: "2999-01-01T00:00:00Z", reason: "a partner moves in spring"},
    {kind: Gateway, namespace: GUARDED, name: ended, expirationTime: "2001-01-01T00:00:00Z", reason: "it was to move long ago"},
    {kind: APIRule, namespace: GUARDED, name: other-kind, expirationTime: "2999-01-01T00:00:00Z", reason: "of an APIRule of that name"},
    {kind: Gateway, namespace: elsewhere, name: other-namespace, expirationTime: "2999-01-01T00:00:00Z", reason: "of a Gateway of that name"},
    {kind: Gateway, namespace: GUARDED, name: twice, expirationTime: "2999-01-01T00:00:00Z", reason: "from this policy, and not from the other"}]}`),
		"hosts":  fill(`{action: ACTION, match: {namespaces: [OPEN, GUARDED], hostSuffixes: [bank.example.com, vault.example.com]}, require: {mode: Mutual}}`),
		"dmz":    fill(`{action: ACTION, match: {namespaces: [OPEN], gatewaySelector: {istio: dmz}}, require: {minTLS: TLSv1.3, plainHTTP: Forbidden}}`),
		"listed": fill(`{action: ACTION, match: {namespaces: [LISTED]}, require: {mode: Optional, minTLS: TLSv1.2, authorities: [{namespace: platform, name: corp}, {namespace: LISTED, name: partner}]}}`),
		"rules":  fill(`{action: ACTION, match: {namespaces: [RULED]}, require: {minTLS: TLSv1.3}}`),
	}
}

// place is the Namespace of one kind for one action.
func place(action, kind string) string { return kind + "-" + strings.ToLower(action) }

// catalogue is what is tried.
func catalogue() []entry {
	return joined(gateways(), hosts(), changes(), rules())
}

func joined(all ...[]entry) []entry {
	var one []entry
	for _, some := range all {
		one = append(one, some...)
	}
	return one
}

func gateways() []entry {
	dmz := "{istio: dmz, app: gateway}"
	return []entry{
		{name: "complete", in: "guarded", object: gateway(mutual, https(host, complete))},
		{name: "complete-v1beta1", in: "guarded", object: gatewayOf("v1beta1", "{istio: ingressgateway}", mutual, https(host, complete))},
		{name: "complete-v1alpha3", in: "guarded", object: gatewayOf("v1alpha3", "{istio: ingressgateway}", mutual, https(host, complete))},
		{name: "bare", in: "guarded", object: gateway(mutual, https(host, simple)), needsWebhook: true},
		{name: "not-opted-in", in: "guarded", object: gateway("", https(host, simple)), violates: "edge", field: mode},
		{name: "not-opted-in-v1beta1", in: "guarded", object: gatewayOf("v1beta1", "{istio: ingressgateway}", "", https(host, simple)), violates: "edge", field: mode},
		{name: "not-opted-in-v1alpha3", in: "guarded", object: gatewayOf("v1alpha3", "{istio: ingressgateway}", "", https(host, simple)), violates: "edge", field: mode},
		{name: "mutual-by-hand", in: "guarded", object: gateway("", https(host, "tls: {mode: MUTUAL, credentialName: own-NAME-NS}")), violates: "edge", field: mode},
		{name: "opted-out", in: "guarded", object: gateway(disabled, https(host, simple)), violates: "edge", field: mode},
		{name: "optional", in: "guarded", object: gateway(optional, https(host, eased)), violates: "edge", field: mode},
		{name: "passthrough", in: "guarded", object: gateway("", https(host, "tls: {mode: PASSTHROUGH}")), violates: "edge", field: mode},
		{name: "istio-mutual", in: "guarded", object: gateway("", https(host, "tls: {mode: ISTIO_MUTUAL}")), violates: "edge", field: mode},
		{name: "lower-case", in: "guarded", object: gateway("", "{port: {number: 443, name: a, protocol: https}, hosts: ["+host+"], "+simple+"}"), violates: "edge", field: mode},
		{name: "tls-protocol", in: "guarded", object: gateway("", "{port: {number: 443, name: a, protocol: TLS}, hosts: ["+host+"], "+simple+"}"), violates: "edge", field: mode},
		{name: "tls-on-tcp", in: "guarded", object: gateway("", "{port: {number: 443, name: a, protocol: TCP}, hosts: ["+host+"], "+simple+"}"), violates: "edge", field: mode},
		{name: "old-tls", in: "guarded", object: gateway("", https(host, "tls: {mode: SIMPLE, credentialName: own-NAME-NS, minProtocolVersion: TLSV1_0}")), violates: "edge", field: mode},
		{name: "plain", in: "guarded", object: gateway("", unencrypted("HTTP", "")), violates: "edge", field: first + ".port.protocol"},
		{name: "plain-tcp", in: "guarded", object: gateway("", unencrypted("TCP", "")), violates: "edge", field: first + ".port.protocol"},
		{name: "plain-grpc", in: "guarded", object: gateway("", unencrypted("GRPC", "")), violates: "edge", field: first + ".port.protocol"},
		{name: "redirect", in: "guarded", object: gateway("", unencrypted("HTTP", redirect))},
		{name: "redirect-http2", in: "guarded", object: gateway("", unencrypted("HTTP2", redirect))},
		{name: "redirect-off", in: "guarded", object: gateway("", unencrypted("HTTP", ", tls: {httpsRedirect: false}")), violates: "edge", field: first + ".port.protocol"},
		{name: "redirect-tcp", in: "guarded", object: gateway("", unencrypted("TCP", redirect)), violates: "edge", field: first + ".port.protocol"},
		{name: "second-is-plain", in: "guarded", object: gateway("", unencrypted("HTTP", redirect), unencrypted("HTTP", "")), violates: "edge", field: second + ".port.protocol"},
		{name: "no-server", in: "guarded", object: gateway("")},
		{name: "excepted", in: "guarded", object: gateway("", https(host, simple), unencrypted("HTTP", ""))},
		{name: "ended", in: "guarded", object: gateway("", https(host, simple)), violates: "edge", field: mode},
		{name: "other-kind", in: "guarded", object: gateway("", https(host, simple)), violates: "edge", field: mode},
		{name: "other-namespace", in: "guarded", object: gateway("", https(host, simple)), violates: "edge", field: mode},
		{name: "twice", in: "guarded", object: gateway("", https("twice.bank.example.com", simple)), violates: "hosts", field: mode},
		{name: "unguarded", in: "open", object: gateway("", https(host, simple), unencrypted("HTTP", ""))},
		{name: "dmz-1-2", in: "open", object: gatewayOf("v1", dmz, "", https(host, "tls: {mode: SIMPLE, credentialName: own-NAME-NS, minProtocolVersion: TLSV1_2}")), violates: "dmz", field: first + ".tls"},
		{name: "dmz-nothing", in: "open", object: gatewayOf("v1", dmz, "", https(host, simple)), violates: "dmz", field: first + ".tls"},
		{name: "dmz-auto", in: "open", object: gatewayOf("v1", dmz, "", https(host, "tls: {mode: SIMPLE, credentialName: own-NAME-NS, minProtocolVersion: TLS_AUTO}")), violates: "dmz", field: first + ".tls"},
		{name: "dmz-passthrough", in: "open", object: gatewayOf("v1", dmz, "", https(host, "tls: {mode: PASSTHROUGH}")), violates: "dmz", field: first + ".tls"},
		{name: "dmz-1-3", in: "open", object: gatewayOf("v1", dmz, "", https(host, "tls: {mode: SIMPLE, credentialName: own-NAME-NS, minProtocolVersion: TLSV1_3}"))},
		{name: "dmz-second", in: "open", object: gatewayOf("v1", dmz, "", https(host, "tls: {mode: SIMPLE, credentialName: own-NAME-NS, minProtocolVersion: TLSV1_3}"), https("b."+host, simple)), violates: "dmz", field: second + ".tls"},
		{name: "dmz-mutual", in: "open", object: gatewayOf("v1", dmz, mutual+", mtls.sallyport.dev/min-tls: TLSv1.3", https(host, strict))},
		{name: "dmz-mutual-low", in: "open", object: gatewayOf("v1", dmz, mutual, https(host, complete)), violates: "dmz", field: first + ".tls"},
		{name: "dmz-no-selector", in: "open", object: gatewayOf("v1", "{}", "", https(host, simple)), violates: "dmz", field: first + ".tls"},
		{name: "dmz-other-label", in: "open", object: gatewayOf("v1", "{app: gateway}", "", https(host, simple)), violates: "dmz", field: first + ".tls"},
		{name: "other-selector", in: "open", object: gatewayOf("v1", "{istio: inner, app: gateway}", "", https(host, simple), unencrypted("HTTP", ""))},
		{name: "implied-authority", in: "listed", object: gateway(mutual, https(host, complete)), violates: "listed", field: listed},
		{name: "listed-authority", in: "listed", object: gateway(mutual+", "+listing+"platform/corp", https(host, complete))},
		{name: "listed-here", in: "listed", object: gateway(optional+", "+listing+`"partner, platform/corp"`, https(host, eased))},
		{name: "one-is-not-listed", in: "listed", object: gateway(mutual+", "+listing+`"platform/corp, platform/other"`, https(host, complete)), violates: "listed", field: listed},
		{name: "same-name-elsewhere", in: "listed", object: gateway(mutual+", "+listing+"corp", https(host, complete)), violates: "listed", field: listed},
		{name: "not-even-optional", in: "listed", object: gateway("", https(host, simple)), violates: "listed", field: mode},
	}
}

// hosts are the spellings of names under a suffix, and of names that only look like it.
func hosts() []entry {
	var all []entry
	for name, h := range map[string]string{
		"exact": "bank.example.com", "below": "pay.bank.example.com", "upper": "Pay.BANK.example.com", "dot": "pay.bank.example.com.", "scoped": "open/pay.bank.example.com", "dot-scoped": "./pay.bank.example.com.",
		"wildcard-below": "*.bank.example.com", "wildcard-above": "*.example.com", "wildcard-com": "*.com", "everything": "*", "scoped-everything": "*/*", "second-suffix": "a.vault.example.com",
	} {
		all = append(all, entry{name: "host-" + name, in: "open", object: gateway("", https(h, simple)), violates: "hosts", field: mode})
	}
	for name, h := range map[string]string{
		"looks-like-it": "evilbank.example.com", "continued": "bank.example.com.evil.io", "other-wildcard": "*.other.example.com", "wildcard-beside": "*.evilbank.example.com", "parent": "example.com",
	} {
		all = append(all, entry{name: "host-" + name, in: "open", object: gateway("", https(h, simple))})
	}
	return append(all, entry{name: "host-mutual", in: "open", object: gateway(mutual, https("mutual.bank.example.com", complete))})
}

// changes are writes to what is stored already.
func changes() []entry {
	weak := gateway("", https(host, simple))
	good := gateway(mutual, https(host, complete))
	return []entry{
		{name: "label-alone", in: "guarded", before: weak, object: strings.Replace(weak, "annotations: {}", "labels: {team: a}", 1)},
		{name: "another-annotation", in: "guarded", before: weak, object: strings.Replace(weak, "annotations: {}", "annotations: {note: a}", 1)},
		{name: "spec-of-a-weak-one", in: "guarded", before: weak, object: gateway("", https("new."+host, simple)), violates: "edge", field: mode},
		{name: "mended", in: "guarded", before: weak, object: good},
		{name: "mended-by-annotation", in: "guarded", before: weak, object: gateway(mutual, https(host, simple)), needsWebhook: true},
		{name: "annotation-dropped", in: "guarded", before: good, object: gateway("", https(host, complete)), violates: "edge", field: mode},
		{name: "eased", in: "guarded", before: good, object: gateway(optional, https(host, eased)), violates: "edge", field: mode},
		{name: "switched-off", in: "guarded", before: good, object: gateway(disabled, https(host, complete)), violates: "edge", field: mode},
		{name: "plain-added", in: "guarded", before: gateway("", unencrypted("HTTP", redirect)), object: gateway("", unencrypted("HTTP", redirect), unencrypted("HTTP", "")), violates: "edge", field: second + ".port.protocol"},
		{name: "dropped-by-merge", in: "guarded", before: good, object: gateway("", https(host, complete)), by: "merge patch", violates: "edge", field: mode},
		{name: "dropped-by-json", in: "guarded", before: good, object: gateway("", https(host, complete)), by: "JSON patch", violates: "edge", field: mode},
		{name: "taken-by-apply", in: "guarded", before: good, object: gateway(disabled, https(host, complete)), by: "apply", violates: "edge", field: mode},
		{name: "applied-again", in: "guarded", before: good, object: good, by: "apply"},
		{name: "applied-weak", in: "guarded", object: weak, by: "apply", violates: "edge", field: mode},
		{name: "status", in: "guarded", before: weak, object: weak, by: "status"},
		{name: "host-moved-in", in: "open", before: gateway("", https(host, simple)), object: gateway("", https("in.vault.example.com", simple)), violates: "hosts", field: mode},
		{name: "host-moved-out", in: "open", before: gateway("", https("out.vault.example.com", simple)), object: gateway("", https(host, simple))},
		{name: "selector-moved-in", in: "open", before: gateway("", https(host, simple)), object: gatewayOf("v1", "{istio: dmz}", "", https(host, simple)), violates: "dmz", field: first + ".tls"},
		{name: "older-one-has-it", in: "open", object: gateway(mutual, https("older.example.com", complete)), conflicts: true},
	}
}

// specless is an APIRule of which the API server takes that it has no spec.
const specless = "{apiVersion: gateway.kyma-project.io/v2alpha1, kind: APIRule, metadata: {name: NAME, namespace: NS}}"

func rules() []entry {
	short := strings.Replace(rule("v2", "", "gateway: open/edge"), host, "orders", 1)
	return []entry{
		{name: "rule-mutual", in: "guarded", object: rule("v2", mutual, own)},
		{name: "rule-v2alpha1", in: "guarded", object: rule("v2alpha1", "", kymas), violates: "edge", field: mode},
		{name: "rule-v1beta1", in: "guarded", object: rule("v1beta1", "", "gateway: kyma-gateway.kyma-system.svc.cluster.local"), violates: "edge", field: mode},
		{name: "rule-not-opted-in", in: "guarded", object: rule("v2", "", kymas), violates: "edge", field: mode},
		{name: "rule-external", in: "guarded", object: rule("v2", "", "externalGateway: a/b"), violates: "edge", field: mode},
		{name: "rule-opted-out", in: "guarded", object: rule("v2", disabled, kymas), violates: "edge", field: mode},
		{name: "excepted-rule", in: "guarded", object: rule("v2", "", kymas)},
		{name: "rule-unguarded", in: "open", object: rule("v2", "", kymas)},
		{name: "rule-under-suffix", in: "open", object: strings.Replace(rule("v2", "", kymas), host, "pay.bank.example.com", 1), violates: "hosts", field: mode},
		{name: "rule-under-suffix-v1beta1", in: "open", object: strings.Replace(rule("v1beta1", "", "gateway: kyma-gateway.kyma-system.svc.cluster.local"), host, "pay.bank.example.com", 1), violates: "hosts", field: mode},
		{name: "rule-short-host", in: "open", object: short},
		{name: "rule-in-an-annotation", in: "open", object: rule("v2alpha1", "gateway.kyma-project.io/original-version: v1beta1, gateway.kyma-project.io/v1beta1-spec: '{}'", kymas), violates: "hosts", field: mode},
		{name: "rule-annotation-changed", in: "guarded", before: rule("v2", "gateway.kyma-project.io/v1beta1-spec: '{}'", kymas), object: rule("v2", "gateway.kyma-project.io/v1beta1-spec: '{a}'", kymas), violates: "edge", field: mode},
		{name: "rule-without-spec", in: "guarded", before: specless, object: strings.Replace(specless, "namespace: NS", "namespace: NS, labels: {a: b}", 1)},
		{name: "rule-1-2", in: "ruled", object: rule("v2", mutual, own), violates: "rules", field: minTLS},
		{name: "rule-1-3", in: "ruled", object: rule("v2", mutual+", mtls.sallyport.dev/min-tls: TLSv1.3", own)},
		{name: "rule-of-another-gateway", in: "ruled", object: rule("v2", "", kymas)},
		{name: "rule-implied-authority", in: "listed", object: rule("v2", mutual, own), violates: "listed", field: listed},
		{name: "rule-listed", in: "listed", object: rule("v2", mutual+", "+listing+"platform/corp", own)},
		{name: "rule-changed", in: "guarded", before: rule("v2", "", kymas), object: strings.Replace(rule("v2", "", kymas), "path: /*", "path: /a", 1), violates: "edge", field: mode},
		{name: "rule-labelled", in: "guarded", before: rule("v2", "", kymas), object: strings.Replace(rule("v2", "", kymas), "annotations: {}", "labels: {a: b}", 1)},
	}
}
