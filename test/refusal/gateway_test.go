package refusal

import (
	"strings"
	"testing"
)

// A server of a Gateway that opted in, and what the answer says of it.
func TestServersOfAGateway(t *testing.T) {
	namespaces := places(t, "servers")
	for name, r := range servers() {
		t.Run(name, func(t *testing.T) { r.refused(t, namespaces, gatewayVersions) })
	}
}

// servers are the rows; what one does not show of a server is as it ought to be.
func servers() map[string]row {
	credential := func(name string) row {
		return row{object: gateway(mutual, server("mode: SIMPLE, credentialName: "+name)), field: "spec.servers[0].tls.credentialName"}
	}
	file := func(field string) row {
		return row{object: gateway(mutual, server("mode: MUTUAL, "+field+": /etc/certs/a.pem")), field: "spec.servers[0].tls." + field,
			found: `found "/etc/certs/a.pem"`, wayOut: "remove it, and Secrets of our own are used"}
	}
	untrusted := func(mode string) row {
		return row{object: gateway(mutual, server("mode: "+mode)), field: "spec.servers[0].tls.mode",
			found: "found " + mode + ", with which the Gateway does not check", wayOut: "remove tls, or move the server to a Gateway without"}
	}
	withoutTLS := func(port int, protocol, tls string) row {
		return row{object: gateway(mutual, server(""), serverOn(port, protocol, "NAMESPACE.example.com", tls)), field: "spec.servers[1].port.protocol",
			found: `found "` + protocol + `", expected HTTPS or TLS`, wayOut: "move it to a Gateway of its own that no VirtualService names"}
	}
	return map[string]row{
		"an open server beside a mutual one, with a credential of its own": {
			object: gateway(mutual, server("mode: MUTUAL, credentialName: a"), beside("mode: SIMPLE, credentialName: b")),
			field:  "spec.servers[1].tls.credentialName", found: `found "b", expected "a" as on the first server`, wayOut: "use one name, or two Gateways"},
		"servers with different CAs": {
			object: gateway(mutual, server(""), beside("mode: MUTUAL, caCertCredentialName: b-cacert")),
			field:  "spec.servers[1].tls.caCertCredentialName", found: `found "b-cacert", expected NAMESPACE.edge.mtls-cacert`, wayOut: "remove it"},
		"servers with different callers": {
			object: gateway(mutual+", "+mtls+"allowed-clients: a.example.com", server(""), beside("mode: MUTUAL, subjectAltNames: [b.example.com]")),
			field:  "spec.servers[1].tls.subjectAltNames", found: `found ["b.example.com"]`, wayOut: "remove it and say it with mtls.sallyport.dev/allowed-clients"},
		"callers named by hand": {
			object: gateway(mutual, server("mode: MUTUAL, subjectAltNames: [b.example.com]")),
			field:  "spec.servers[0].tls.subjectAltNames", found: `found ["b.example.com"]`, wayOut: "remove it and say it with mtls.sallyport.dev/allowed-clients"},
		"servers with different minimum versions": {
			object: gateway(mutual, server("minProtocolVersion: TLSV1_2, mode: MUTUAL"), beside("mode: MUTUAL, minProtocolVersion: TLSV1_3")),
			field:  "spec.servers[1].tls.minProtocolVersion", found: `found "TLSV1_3", expected TLSV1_2`, wayOut: "remove it and say it with mtls.sallyport.dev/min-tls"},
		"an old version of TLS": {
			object: gateway(mutual, server("mode: MUTUAL, minProtocolVersion: TLSV1_0")),
			field:  "spec.servers[0].tls.minProtocolVersion", found: `found "TLSV1_0", expected TLSV1_2`, wayOut: "remove it and say it with mtls.sallyport.dev/min-tls"},
		"a version of TLS that is whatever Istio likes": {
			object: gateway(mutual, server("mode: MUTUAL, minProtocolVersion: TLS_AUTO")),
			field:  "spec.servers[0].tls.minProtocolVersion", found: `found "TLS_AUTO", expected TLSV1_2`, wayOut: "remove it and say it with mtls.sallyport.dev/min-tls"},
		"a maximum below the minimum": {
			object: gateway(mutual+", "+mtls+"min-tls: TLSv1.3", server("mode: MUTUAL, maxProtocolVersion: TLSV1_2")),
			field:  "spec.servers[0].tls.maxProtocolVersion", found: `found "TLSV1_2", which is below the minimum TLSV1_3`, wayOut: "remove it"},

		"plain HTTP":                                  withoutTLS(80, "HTTP", ""),
		"plain HTTP that only redirects":              withoutTLS(80, "HTTP", "httpsRedirect: true"),
		"plain HTTP with settings that Istio ignores": withoutTLS(80, "HTTP", "mode: MUTUAL, credentialName: a"),
		"plain HTTP on another port":                  withoutTLS(8080, "HTTP", ""),
		"plain HTTP on the port of HTTPS":             withoutTLS(443, "HTTP", ""),
		"plain HTTP in lower case":                    withoutTLS(80, "http", ""),
		"plain HTTP/2":                                withoutTLS(80, "HTTP2", ""),
		"plain gRPC":                                  withoutTLS(80, "GRPC", ""),
		"plain TCP":                                   withoutTLS(9000, "TCP", ""),
		"a protocol nobody knows":                     withoutTLS(9000, "HTTPS2", ""),

		"optional where mutual is asked for": {
			object: gateway(mutual, server("mode: OPTIONAL_MUTUAL")),
			field:  "spec.servers[0].tls.mode", found: `found "OPTIONAL_MUTUAL", expected MUTUAL as the annotation says`, wayOut: "change one of the two"},
		"mutual where optional is asked for": {
			object: gateway(mtls+"mode: optional", server("mode: MUTUAL")),
			field:  "spec.servers[0].tls.mode", found: `found "MUTUAL", expected OPTIONAL_MUTUAL as the annotation says`, wayOut: "change one of the two",
			changeable: "the mode that was written for the annotation follows it"},
		"one optional server of two": {
			object: gateway(mutual, server(""), beside("mode: OPTIONAL_MUTUAL")),
			field:  "spec.servers[1].tls.mode", found: `found "OPTIONAL_MUTUAL", expected MUTUAL as the annotation says`, wayOut: "change one of the two"},
		"PASSTHROUGH":      untrusted("PASSTHROUGH"),
		"AUTO_PASSTHROUGH": untrusted("AUTO_PASSTHROUGH"),
		"ISTIO_MUTUAL":     untrusted("ISTIO_MUTUAL"),
		"PASSTHROUGH by protocol TLS": {
			object: gateway(mutual, serverOn(443, "TLS", "NAMESPACE.example.com", "mode: PASSTHROUGH")),
			field:  "spec.servers[0].tls.mode", found: "found PASSTHROUGH", wayOut: "remove tls, or move the server to a Gateway without"},

		"mutual without verification": {
			object: gateway(mutual, server("mode: MUTUAL, insecureSkipVerify: true")),
			field:  "spec.servers[0].tls.insecureSkipVerify", found: "found true, with which callers are not verified", wayOut: "remove it"},
		"a redirect on a server with TLS": {
			object: gateway(mutual, server("mode: MUTUAL, httpsRedirect: true")),
			field:  "spec.servers[0].tls.httpsRedirect", found: "found true", wayOut: "remove it"},
		"a server certificate in a file": file("serverCertificate"),
		"a key in a file":                file("privateKey"),
		"a CA in a file":                 file("caCertificates"),
		"a CRL in a file":                file("caCrl"),
		"a pinned key": {
			object: gateway(mutual, server("mode: MUTUAL, verifyCertificateSpki: [abc]")),
			field:  "spec.servers[0].tls.verifyCertificateSpki", found: `found ["abc"]`, wayOut: "remove it, and name the callers with mtls.sallyport.dev/allowed-clients"},
		"a pinned certificate": {
			object: gateway(mutual, server("mode: MUTUAL, verifyCertificateHash: [abc]")),
			field:  "spec.servers[0].tls.verifyCertificateHash", found: `found ["abc"]`, wayOut: "remove it, and name the callers with mtls.sallyport.dev/allowed-clients"},

		"a CA from a ConfigMap": {
			object: gateway(mutual, server(`mode: MUTUAL, caCertCredentialName: "configmap://NAMESPACE/ca"`)),
			field:  "spec.servers[0].tls.caCertCredentialName", found: `found "configmap://NAMESPACE/ca", expected NAMESPACE.edge.mtls-cacert`, wayOut: "remove it"},
		"a CA under the name of a server's Secret": {
			object: gateway(mutual, server("mode: MUTUAL, caCertCredentialName: NAMESPACE.edge.mtls")),
			field:  "spec.servers[0].tls.caCertCredentialName", found: `found "NAMESPACE.edge.mtls", expected NAMESPACE.edge.mtls-cacert`, wayOut: "remove it"},
		"the CA of another Gateway": {
			object: gateway(mutual, server("mode: MUTUAL, caCertCredentialName: other.edge.mtls-cacert")),
			field:  "spec.servers[0].tls.caCertCredentialName", found: `found "other.edge.mtls-cacert", expected NAMESPACE.edge.mtls-cacert`, wayOut: "remove it"},
		"a credential from a ConfigMap":          credential(`"configmap://NAMESPACE/a"`).saying(`found "configmap://NAMESPACE/a", expected the name of a Secret`, "remove it, and NAMESPACE.edge.mtls is used"),
		"a credential of another namespace":      credential(`"kubernetes://other/a"`).saying(`found "kubernetes://other/a", expected the name of a Secret`, "remove it, and NAMESPACE.edge.mtls is used"),
		"a credential that is built in":          credential(`"builtin://"`).saying(`found "builtin://", expected the name of a Secret`, "remove it, and NAMESPACE.edge.mtls is used"),
		"a credential in upper case":             credential("Edge").saying(`found "Edge", expected the name of a Secret`, "remove it, and NAMESPACE.edge.mtls is used"),
		"a credential with a path in it":         credential(`"../a"`).saying(`found "../a", expected the name of a Secret`, "remove it, and NAMESPACE.edge.mtls is used"),
		"a credential that Istio takes for a CA": credential("a-cacert").saying(`found "a-cacert", which Istio takes for a CA`, "remove it, and NAMESPACE.edge.mtls is used"),
		"the credential of another Gateway":      credential("other.edge.mtls").saying(`found "other.edge.mtls", which belongs to another Gateway`, "remove it, and NAMESPACE.edge.mtls is used"),
		"what is remembered of another":          credential("other.edge.mtls-adopted").saying(`found "other.edge.mtls-adopted", which belongs to another Gateway`, "remove it, and NAMESPACE.edge.mtls is used"),
		"the credential of a neighbour":          credential("NAMESPACE.other.mtls").saying(`found "NAMESPACE.other.mtls", which belongs to another Gateway`, "remove it, and NAMESPACE.edge.mtls is used"),
		"two credentials": {
			object: gateway(mutual, server("mode: MUTUAL, credentialNames: [a, b]")),
			field:  "spec.servers[0].tls.credentialNames", found: `found ["a","b"]`, wayOut: "remove it, and one Secret is used"},
		"a credential, and two more": {
			object: gateway(mutual, server("mode: MUTUAL, credentialName: a, credentialNames: [a, b]")),
			field:  "spec.servers[0].tls.credentialNames", found: `found ["a","b"]`, wayOut: "remove it, and one Secret is used"},
		"a credential, and files for others": {
			object: gateway(mutual, server("mode: MUTUAL, credentialName: a, tlsCertificates: [{serverCertificate: /a, privateKey: /b}]")),
			field:  "spec.servers[0].tls.tlsCertificates", found: `found [{"privateKey":"/b","serverCertificate":"/a"}]`, wayOut: "remove it, and one Secret is used"},

		"no server": {
			object: gateway(mutual), field: "spec.servers", found: "is empty", wayOut: "write a server with the hosts to protect"},
	}
}

// Hosts that no server certificate can be issued for.
func TestHostsOfAGateway(t *testing.T) {
	namespaces := places(t, "hosts")
	for name, r := range hosts() {
		t.Run(name, func(t *testing.T) { r.refused(t, namespaces, gatewayVersions) })
	}
}

func hosts() map[string]row {
	const domainName = "write a DNS name such as shop.example.com or *.example.com"
	const aloneFirst = "write * alone as the first label, and a domain after it, such as *.example.com"
	label64, name254 := strings.Repeat("a", 64)+".example.com", strings.Repeat("a.", 122)+"aa.example"[:10]
	rows := map[string]struct{ host, wayOut string }{
		"every host":                         {"*", aloneFirst},
		"every host of every namespace":      {"*/*", aloneFirst},
		"every host of one namespace":        {"ns/*", aloneFirst},
		"every host of its own namespace":    {"./*", aloneFirst},
		"no name":                            {"", domainName},
		"a wildcard for two labels":          {"*.*.example.com", aloneFirst},
		"a wildcard inside a name":           {"shop.*.example.com", aloneFirst},
		"a wildcard that is part of a label": {"shop*.example.com", aloneFirst},
		"an IPv4 address":                    {"192.0.2.1", "give it a DNS name, and write that"},
		"an IPv6 address":                    {"2001:db8::1", "give it a DNS name, and write that"},
		"an IPv6 address in brackets":        {"[2001:db8::1]", "give it a DNS name, and write that"},
		"a name that ends in a number":       {"shop.123", domainName},
		"a label of 64 characters":           {label64, "of labels up to 63"},
		"a name of 254 characters":           {name254, "253 characters in all"},
		"letters beyond ASCII":               {"bücher.example.com", "write letters beyond a to z in their ASCII form, which begins with xn--"},
		"letters that look like others":      {"shоp.example.com", "write letters beyond a to z in their ASCII form, which begins with xn--"},
		"an underscore":                      {"shop_a.example.com", domainName},
		"an empty label":                     {"shop..example.com", domainName},
		"a port":                             {"shop.example.com:443", domainName},
		"a URL":                              {"https://shop.example.com", domainName},
		"a namespace that cannot be":         {"No_Namespace/shop.example.com", domainName},
		"a space":                            {"shop .example.com", domainName},
	}
	refused := map[string]row{}
	for name, r := range rows {
		refused[name] = row{
			object: gateway(mutual, hosting("a.NAMESPACE.example.com"), strings.Replace(hosting(r.host), "443", "9443", 2)),
			field:  "spec.servers[1].hosts[0]", found: "which no server certificate can be issued for", wayOut: r.wayOut,
		}
	}
	return refused
}
