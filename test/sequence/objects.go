package sequence

import (
	"encoding/json"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// normal is an object as JSON has it.
func normal(o map[string]any) map[string]any {
	encoded, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal(encoded, &u.Object); err != nil {
		panic(err)
	}
	for key, value := range u.Object {
		u.Object[key] = integers(value)
	}
	return u.Object
}

func integers(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key := range v {
			v[key] = integers(v[key])
		}
	case []any:
		for i := range v {
			v[i] = integers(v[i])
		}
	case float64:
		return int64(v)
	}
	return value
}

func (p *player) annotations() map[string]string {
	found := map[string]string{"note": strconv.Itoa(p.IntN(5))}
	if p.IntN(8) > 0 {
		found[ourPrefix+"mode"] = pick(p, "mutual", "mutual", "mutual", "mutual", "optional", "disabled", "Mutual", "", "strict")
	}
	if p.IntN(3) == 0 {
		found[ourPrefix+"min-tls"] = pick(p, "TLSv1.2", "TLSv1.3", "TLSv1.3", "1.3")
	}
	if p.IntN(4) == 0 && p.kind == "Gateway" {
		found[ourPrefix+"allowed-clients"] = pick(p, "client/billing", "client/billing, spiffe://example.com/ns/x/client/y")
	}
	if p.IntN(3) == 0 && p.kind == "APIRule" {
		found[ourPrefix+"client-headers"] = pick(p, "uri", "uri, serial", "uri, email")
	}
	if p.IntN(6) == 0 {
		key := pick(p, "key-algorithm", "authorities", "certificate-lifetime", "server-certificate")
		found[ourPrefix+key] = pick(p, grammar[p.kind][key][0], grammar[p.kind][key][0], "!")
	}
	if p.IntN(4) == 0 {
		found[ourPrefix+"server-certificate"] = "provided"
		if p.kind == "APIRule" && p.IntN(4) > 0 {
			found[ourPrefix+"server-credential-name"] = pick(p, "own", "own", "own", "own-cacert", "a.mtls")
		}
	}
	if p.IntN(15) == 0 {
		found[pick(p, "Mtls.sallyport.dev/mode", ourPrefix+"modes", ourPrefix+"Mode", ourPrefix+"owner", ourPrefix+"adopt", ourPrefix+"unreferenced-since")] = "mutual"
	}
	return found
}

func (p *player) spec() map[string]any {
	if p.kind == "APIRule" {
		return p.rule()
	}
	return p.gateway()
}

// gateway is the spec of a complete one, as one of the modes has it, with up to two
// things changed.
func (p *player) gateway() map[string]any {
	base := p.at.namespace + "." + p.at.name + ".mtls"
	server := map[string]any{
		"port":  map[string]any{"number": int64(443), "name": "https", "protocol": pick(p, "HTTPS", "HTTPS", "https", "TLS")},
		"hosts": []any{"a.example.com"},
		"tls":   map[string]any{"mode": pick(p, "MUTUAL", "MUTUAL", "MUTUAL", "OPTIONAL_MUTUAL"), "credentialName": base, "caCertCredentialName": base + "-cacert", "minProtocolVersion": pick(p, "TLSV1_2", "TLSV1_2", "TLSV1_3")},
	}
	if p.IntN(5) == 0 {
		table(server, "tls")["subjectAltNames"] = pick(p,
			[]any{"spiffe://example.com/ns/" + p.at.namespace + "/client/billing", "spiffe://example.com/sallyport/probe"},
			[]any{"spiffe://example.com/sallyport/probe", "spiffe://example.com/ns/x/client/y", "spiffe://example.com/ns/" + p.at.namespace + "/client/billing"},
			[]any{"spiffe://example.com/ns/other/client/billing"}, []any{})
	}
	if p.IntN(4) == 0 {
		table(server, "tls")["credentialName"] = "own" // whose CA stands apart
	}
	servers := []any{server}
	if p.IntN(4) == 0 {
		second := runtime.DeepCopyJSON(server)
		second["port"] = map[string]any{"number": int64(8443), "name": "second", "protocol": pick(p, "HTTPS", "HTTP", "TCP", "GRPC")}
		if p.IntN(2) == 0 {
			p.spoil(second)
		}
		servers = append(servers, second)
	}
	for range p.IntN(3) {
		if p.IntN(2) == 0 {
			p.spoil(server)
		}
	}
	if p.IntN(30) == 0 {
		servers = []any{}
	}
	return map[string]any{"selector": map[string]any{"istio": "ingressgateway"}, "servers": servers}
}

// spoil changes one thing of a server, mostly for the worse.
func (p *player) spoil(server map[string]any) {
	settings := table(server, "tls")
	if settings == nil {
		return
	}
	switch p.IntN(14) {
	case 0:
		delete(server, "tls")
	case 1:
		settings["mode"] = pick(p, "SIMPLE", "PASSTHROUGH", "ISTIO_MUTUAL", "AUTO_PASSTHROUGH", "OPTIONAL_MUTUAL")
	case 2:
		delete(settings, pick(p, "mode", "credentialName", "caCertCredentialName", "minProtocolVersion"))
	case 3:
		settings["insecureSkipVerify"] = pick(p, true, false)
	case 4:
		settings[pick(p, "serverCertificate", "privateKey", "caCertificates", "caCrl")] = pick(p, "/etc/certs/x.pem", "")
	case 5:
		settings["credentialName"] = pick(p, "", "own", "own-cacert", "other.edge.mtls", "kubernetes-gateway://a/b", "configmap://a", "builtin://")
	case 6:
		settings["caCertCredentialName"] = pick(p, "other", "own-cacert", "configmap://a", "")
	case 7:
		settings["credentialName"], settings["caCertCredentialName"] = "own", "own-cacert"
	case 8:
		settings["minProtocolVersion"] = pick(p, "TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_3")
	case 9:
		settings["httpsRedirect"] = pick(p, true, false)
	case 10:
		table(server, "port")["protocol"] = pick(p, "HTTP", "HTTP2", "GRPC", "TCP", "MONGO", "tls")
	case 11:
		server["hosts"] = pick(p, []any{"*"}, []any{"a.example.com", "*/*"}, []any{"./*"}, []any{"*.example.com"}, []any{"*/b.example.com"})
	case 12:
		settings[pick(p, "verifyCertificateSpki", "verifyCertificateHash")] = pick(p, []any{"c"}, []any{})
	case 13:
		settings["cipherSuites"] = pick(p, []any{}, []any{"ECDHE-RSA-AES128-GCM-SHA256"})
	}
}

func (p *player) rule() map[string]any {
	headers := map[string]any{}
	if p.IntN(2) == 0 {
		asked := pick(p, []string{"uri"}, []string{"uri", "serial"})
		for name, header := range identityHeader {
			value := name + "="
			for _, a := range asked {
				if a == name {
					value += header[1]
				}
			}
			headers[header[0]] = value
		}
		switch p.IntN(6) {
		case 0:
			headers["x-client-cert-uri"] = "me"
		case 1:
			delete(headers, "X-Client-Cert-Dns")
		case 2:
			headers["X-Client-Cert-Subject"] = "%DOWNSTREAM_PEER_SUBJECT%"
		}
	}
	rule := map[string]any{"path": "/*", "methods": []any{"GET"}, "noAuth": true}
	if len(headers) > 0 {
		rule["request"] = map[string]any{"headers": headers}
	}
	rules := []any{rule}
	if p.IntN(4) == 0 {
		rules = append(rules, map[string]any{"path": "/other", "methods": []any{"GET"}, "noAuth": true})
	}
	spec := map[string]any{"service": map[string]any{"name": "a", "port": int64(80)}, "rules": rules}
	if gateway := pick(p, "", "shop/edge", "shop/edge", "kyma-system/kyma-gateway", p.at.namespace+"/"+p.at.name+"-mtls"); gateway != "" {
		spec["gateway"] = gateway
	}
	if p.IntN(15) == 0 {
		spec["externalGateway"] = "somewhere/else"
	}
	if p.at.version == "v1beta1" {
		spec["host"] = "a.example.com"
		return spec
	}
	spec["hosts"] = []any{"a.example.com"}
	return spec
}
