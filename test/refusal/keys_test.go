package refusal

import (
	"fmt"
	"strings"
	"testing"
)

// An annotation or a label that is not spelt as documented is refused on every kind
// of object that can opt in. Nothing is guessed: a key that nobody reads would look
// like protection and be none.
func TestKeysAndValues(t *testing.T) {
	gateways, rules := places(t, "gateway-keys"), places(t, "rule-keys")
	for name, k := range keys() {
		if r, ok := k.onGateway(); ok {
			t.Run("on a Gateway, "+name, func(t *testing.T) { r.refused(t, gateways, gatewayVersions) })
		}
		if r, ok := k.onAPIRule(); ok {
			t.Run("on an APIRule, "+name, func(t *testing.T) { r.refused(t, rules, ruleVersions) })
		}
	}
}

// key is one annotation on one or both kinds, and what the answer says of it.
type key struct{ on, key, value, found, wayOut string }

func (k key) onGateway() (row, bool) {
	r := k.row()
	r.object = gateway(k.annotations(), server(""))
	return r, strings.Contains(k.on, "Gateway")
}

func (k key) onAPIRule() (row, bool) {
	r := k.row()
	r.object = rule(k.annotations(), "gateway: NAMESPACE/orders-mtls")
	return r, strings.Contains(k.on, "APIRule")
}

func (k key) row() row {
	return row{field: "metadata.annotations[" + mtls + k.key + "]", found: k.found, wayOut: k.wayOut}
}

func (k key) annotations() string {
	annotations := fmt.Sprintf("%s%s: %q", mtls, k.key, k.value)
	if k.key != "mode" {
		annotations += ", " + mutual
	}
	return annotations
}

func keys() map[string]key {
	const (
		modes   = `supported values: "mutual", "optional", "disabled"`
		headers = `supported values: "subject", "issuer", "uri", "dns", "serial", "certificate"`
		caller  = "must be client/<name>, spiffe://<trust domain>/<path>, or an exact DNS name in lower case"
		id      = "must be spiffe://<trust domain>/<path>"
		name    = "must be the name of a CertificateAuthority, or <namespace>/<name>"
		list    = "it is a comma-separated list"
		issued  = "leave it out, and the server certificate is issued"
		both    = "Gateway APIRule"
	)
	return map[string]key{
		"a mode in upper case":                {both, "mode", "Mutual", `"Mutual"`, modes},
		"a mode in capitals":                  {both, "mode", "MUTUAL", `"MUTUAL"`, modes},
		"an empty mode":                       {both, "mode", "", `""`, modes},
		"a mode with a space before it":       {both, "mode", " mutual", `" mutual"`, modes},
		"a mode with a space after it":        {both, "mode", "mutual ", `"mutual "`, modes},
		"a mode with a line break":            {both, "mode", "mutual\n", `"mutual\n"`, modes},
		"a mode with a NUL":                   {both, "mode", "mutual\x00", `"mutual\x00"`, modes},
		"a mode that turns the direction":     {both, "mode", "\u202elautum", `"\u202elautum"`, modes},
		"a mode in colour":                    {both, "mode", "\x1b[31mmutual", `"\x1b[31mmutual"`, modes},
		"a mode with letters that look alike": {both, "mode", "mutuаl", `"mutu<U+0430>l"`, modes},
		"a mode of 250 kB":                    {both, "mode", strings.Repeat("mutual", 250*1024/6), `"mutualmutual`, modes},
		"a mode as a truth":                   {both, "mode", "true", `"true"`, modes},
		"a mode in Istio's words":             {both, "mode", "OPTIONAL_MUTUAL", `"OPTIONAL_MUTUAL"`, modes},
		"a mode as JSON":                      {both, "mode", `{"mode":"mutual"}`, `"{\"mode\":\"mutual\"}"`, modes},
		"a mode as a template":                {both, "mode", "{{ .Values.mode }}", `"{{ .Values.mode }}"`, modes},
		"a mode as an expression":             {both, "mode", "object.spec == null", `"object.spec == null"`, modes},
		"a mode as a path":                    {both, "mode", "../mutual", `"../mutual"`, modes},

		"a key in upper case":         {both, "Mode", "mutual", `"mutual"`, "it is spelt mtls.sallyport.dev/mode"},
		"a key in the plural":         {both, "modes", "mutual", `"mutual"`, "mtls.sallyport.dev/mode, mtls.sallyport.dev/server-certificate"},
		"a key that nobody knows":     {both, "tls", "mutual", `"mutual"`, "mtls.sallyport.dev/mode, mtls.sallyport.dev/server-certificate"},
		"a key of a Secret":           {both, "adopt", "a/b", `"a/b"`, "goes on a Secret"},
		"another key of a Secret":     {both, "use-as-ca", "a", `"a"`, "goes on a Secret"},
		"the agent's label as a key":  {both, "managed", "true", `"true"`, "is written by the agent only, as a label: take it off"},
		"the agent's key":             {both, "owner", "Gateway/a/b/c", `"Gateway/a/b/c"`, "only the agent writes it: leave it as it is stored, or out of a new object"},
		"headers, which are a rule's": {"Gateway", "client-headers", "uri", `"uri"`, "goes on an APIRule, not on a Gateway"},
		"a server Secret, likewise":   {"Gateway", "server-credential-name", "a", `"a"`, "goes on an APIRule, not on a Gateway"},

		"five authorities":               {both, "authorities", "a, b, c, d, e", "5", "must have at most 4 items"},
		"an authority twice":             {both, "authorities", "a, a", `"a"`, "is there twice: write it once"},
		"no authority":                   {both, "authorities", "", `""`, list},
		"an authority in upper case":     {both, "authorities", "Main", `"Main"`, name},
		"an authority with a path":       {both, "authorities", "../main", `"../main"`, name},
		"an authority too deep":          {both, "authorities", "a/b/c", `"a/b/c"`, name},
		"a certificate of some kind":     {both, "server-certificate", "self", `"self"`, `supported values: "issued", "provided"`},
		"a server Secret of nothing":     {"APIRule", "server-credential-name", "shop-tls", `"shop-tls"`, "goes with mtls.sallyport.dev/server-certificate: provided: add that, or leave it out and the server certificate is issued"},
		"a server Secret of a CA":        {"APIRule", "server-credential-name", "shop-cacert", `"shop-cacert"`, "must not end in -cacert"},
		"a server Secret elsewhere":      {"APIRule", "server-credential-name", "kubernetes://a/b", `"kubernetes://a/b"`, "must be the name of a Secret"},
		"a version without its name":     {both, "min-tls", "1.3", `"1.3"`, `supported values: "TLSv1.2", "TLSv1.3"`},
		"a version in Istio's words":     {both, "min-tls", "TLSV1_3", `"TLSV1_3"`, `supported values: "TLSv1.2", "TLSv1.3"`},
		"an old version":                 {both, "min-tls", "TLSv1.1", `"TLSv1.1"`, `supported values: "TLSv1.2", "TLSv1.3"`},
		"an algorithm that is not taken": {both, "key-algorithm", "Ed25519", `"Ed25519"`, `"ECDSA-P256", "ECDSA-P384"`},
		"a lifetime in days":             {both, "certificate-lifetime", "30d", `"30d"`, "must be a duration such as 720h or 90m"},
		"a lifetime without a unit":      {both, "certificate-lifetime", "720", `"720"`, "must be a duration such as 720h or 90m"},
		"a lifetime of a second":         {both, "certificate-lifetime", "1s", `"1s"`, "must be at least 1m0s"},
		"a lifetime before birth":        {both, "certificate-lifetime", "-1h", `"-1h"`, "must be at least 1m0s"},
		"a lifetime without end":         {both, "certificate-lifetime", "99999999h", `"99999999h"`, "must be a duration such as 720h or 90m"},

		"a caller by a wildcard":        {both, "allowed-clients", "*.example.com", `"*.example.com"`, caller},
		"a caller in upper case":        {both, "allowed-clients", "Shop.example.com", `"Shop.example.com"`, caller},
		"a caller by email":             {both, "allowed-clients", "a@example.com", `"a@example.com"`, caller},
		"a caller by a subject":         {both, "allowed-clients", "CN=shop", `"CN=shop"`, caller},
		"a caller without a name":       {both, "allowed-clients", "client/", `"client/"`, "must be client/<name of a ClientCertificate>"},
		"a caller of another namespace": {both, "allowed-clients", "client/other/a", `"client/other/a"`, "must be client/<name of a ClientCertificate>"},
		"a caller by a URL":             {both, "allowed-clients", "https://example.com/a", `"https://example.com/a"`, id},
		"a caller without a path":       {both, "allowed-clients", "spiffe://example.com", `"spiffe://example.com"`, id},
		"a caller with a relative path": {both, "allowed-clients", "spiffe://example.com/a/../b", `"spiffe://example.com/a/../b"`, id},
		"a caller twice":                {both, "allowed-clients", "a.example.com, a.example.com", `"a.example.com"`, "is there twice: write it once"},
		"an empty item":                 {both, "allowed-clients", "a.example.com,,b.example.com", `"a.example.com,,b.example.com"`, list},
		"65 callers":                    {both, "allowed-clients", many(65), "65", "must have at most 64 items"},

		"a header in upper case":     {"APIRule", "client-headers", "Subject", `"Subject"`, headers},
		"a header that nobody knows": {"APIRule", "client-headers", "uri, email", `"email"`, headers},
		"no header":                  {"APIRule", "client-headers", "", `""`, list},
		"a header by its name":       {"APIRule", "client-headers", "X-Client-Cert-Uri", `"X-Client-Cert-Uri"`, headers},
	}
}

func many(callers int) string {
	names := make([]string, callers)
	for i := range names {
		names[i] = fmt.Sprintf("c%d.example.com", i)
	}
	return strings.Join(names, ",")
}

// Keys that contradict one another, and keys where they do not belong.
func TestKeysTogether(t *testing.T) {
	namespaces := places(t, "together")
	for name, r := range together() {
		t.Run(name, func(t *testing.T) { r.refused(t, namespaces, versionsOf(r.object)) })
	}
}

func together() map[string]row {
	labelled := func(label string) string {
		return gatewayNamed("edge", "annotations: {"+mutual+"}, labels: {"+mtls+label+"}", server(""))
	}
	return map[string]row{
		"how, but not that": {
			object: gateway(mtls+"min-tls: TLSv1.3", server("mode: SIMPLE, credentialName: a")),
			field:  "metadata.annotations[mtls.sallyport.dev/mode]", found: "mtls.sallyport.dev/min-tls says how, but nothing says that", wayOut: "add mtls.sallyport.dev/mode: mutual, or disabled to keep it off",
			keeps: "the mode stays, which another manager wrote"},
		"a mistake while it is kept off": {
			object: gateway(mtls+"mode: disabled, "+mtls+"min-tls: \"1.3\"", server("mode: SIMPLE, credentialName: a")),
			field:  "metadata.annotations[mtls.sallyport.dev/min-tls]", found: `"1.3"`, wayOut: `supported values: "TLSv1.2", "TLSv1.3"`},
		"another case of the prefix": {
			object: gateway("MTLS.Sallyport.dev/mode: mutual", server("mode: SIMPLE, credentialName: a")),
			field:  "metadata.annotations[MTLS.Sallyport.dev/mode]", found: `"mutual"`, wayOut: "it is spelt mtls.sallyport.dev/mode"},
		"another case of the prefix beside the right one": {
			object: gateway(mutual+", MTLS.Sallyport.dev/mode: disabled", server("")),
			field:  "metadata.annotations[MTLS.Sallyport.dev/mode]", found: `"disabled"`, wayOut: "it is spelt mtls.sallyport.dev/mode"},
		"the mode as a label": {
			object: labelled("mode: mutual"),
			field:  "metadata.labels[mtls.sallyport.dev/mode]", found: `"mutual"`, wayOut: "settings are annotations"},
		"the label of a Namespace": {
			object: labelled("default-mode: mutual"),
			field:  "metadata.labels[mtls.sallyport.dev/default-mode]", found: `"mutual"`, wayOut: "on an object write the annotation mtls.sallyport.dev/mode"},
		"the agent's label": {
			object: labelled(`managed: "true"`),
			field:  "metadata.labels[mtls.sallyport.dev/managed]", found: `found "true"`, wayOut: "leave it as it is stored, or out of a new object"},
		"the agent's other label": {
			object: labelled("ledger: a"),
			field:  "metadata.labels[mtls.sallyport.dev/ledger]", found: `"a"`, wayOut: "settings are annotations"},
		"headers where callers may come without a certificate": {
			object: rule(mtls+"mode: optional, "+mtls+"client-headers: uri", ""),
			field:  "metadata.annotations[mtls.sallyport.dev/client-headers]", found: `"uri"`, wayOut: "mutual"},
		"settings of a Gateway on an APIRule that uses it": {
			object: rule(mutual+", "+mtls+"allowed-clients: a.example.com", "gateway: NAMESPACE/edge"),
			field:  "spec.gateway: mtls.sallyport.dev/allowed-clients", found: "is set by the annotations of Gateway NAMESPACE/edge", wayOut: "move it there"},
	}
}

// Names that nothing can be named after, and Gateways of which somebody else would
// take every change back.
func TestNamesAndOwners(t *testing.T) {
	namespaces := places(t, "names")
	const ownGateway = "make a Gateway of your own for these hosts, and annotate that with mtls.sallyport.dev/mode: mutual"
	const disclaimer = "apigateways.operator.kyma-project.io/managed-by-disclaimer"
	owned := func(kind, apiVersion string) string {
		return gatewayNamed("orders-gw", "annotations: {"+mutual+"}, ownerReferences: [{apiVersion: "+apiVersion+", kind: "+kind+", name: orders, uid: 0b7c6d8e-0000-4000-8000-000000000000, controller: true}]", server(""))
	}
	rows := map[string]row{
		"a Gateway that Kyma made for an ExternalGateway": {
			object: owned("ExternalGateway", "gateway.kyma-project.io/v1alpha1"),
			field:  "metadata.ownerReferences[0]", found: "is owned by ExternalGateway orders", wayOut: ownGateway},
		"a Gateway that another operator made": {
			object: owned("Platform", "example.com/v1"),
			field:  "metadata.ownerReferences[0]", found: "is owned by Platform orders", wayOut: ownGateway},
		"a Gateway under Kyma's disclaimer": {
			object: gateway(mutual+", "+disclaimer+": a", server("")),
			field:  "metadata.annotations[" + disclaimer + "]", found: "is owned by Kyma's operator", wayOut: ownGateway},
		"a Gateway without room for the names of its Secrets": {
			object: gatewayNamed(strings.Repeat("a", 241), "annotations: {"+mutual+"}", server("")), createOnly: true,
			field: "metadata.name", found: "characters together, at most 240", wayOut: "choose a shorter name"},
		"a Gateway that gets its name later": {
			object: strings.Replace(gateway(mutual, server("")), "name: edge", "generateName: edge-", 1), createOnly: true,
			field: "metadata.name", found: "the Gateway has no name yet (metadata.generateName)", wayOut: "give it one in metadata.name"},
		"an APIRule that gets its name later": {
			object: strings.Replace(rule(mutual, ""), "name: orders", "generateName: orders-", 1), createOnly: true,
			field: "metadata.name", found: "the APIRule has no name yet (metadata.generateName)", wayOut: "give it one in metadata.name, or name a Gateway in spec.gateway"},
		"an APIRule whose name has a dot": {
			object: ruleNamed("orders.v1", mutual, "orders.NAMESPACE.example.com", "", "{path: /, methods: [GET], noAuth: true}"), createOnly: true,
			field: "metadata.name", found: `found "orders.v1"`, wayOut: "choose another name, or name a Gateway in spec.gateway"},
		"an APIRule whose name is too long": {
			object: ruleNamed(strings.Repeat("a", 59), mutual, "orders.NAMESPACE.example.com", "", "{path: /, methods: [GET], noAuth: true}"), createOnly: true,
			field: "metadata.name", found: `found "aaaa`, wayOut: "choose another name, or name a Gateway in spec.gateway"},
	}
	for name, r := range rows {
		t.Run(name, func(t *testing.T) {
			r.refused(t, namespaces, versionsOf(r.object))
		})
	}
	t.Run("Kyma's own Gateway", func(t *testing.T) {
		kyma := strings.ReplaceAll(gatewayNamed("kyma-gateway", "annotations: {"+mutual+"}", server("")), inNamespace, "kyma-system")
		row{object: kyma, createOnly: true, field: "metadata.name", found: "Gateway kyma-system/kyma-gateway is owned by Kyma's operator", wayOut: ownGateway}.
			refused(t, namespaces, gatewayVersions)
	})
}

// versionsOf are the versions of the kind that a manifest is of.
func versionsOf(manifest string) []string {
	if strings.Contains(manifest, "kind: APIRule") {
		return ruleVersions
	}
	return gatewayVersions
}
