package policy

import (
	"slices"
	"strings"

	"sallyport.dev/sallyport/pkg/intent"
)

// servers are those of a Gateway.
func (o Object) servers() []map[string]any {
	var servers []map[string]any
	for _, s := range list(o.Spec["servers"]) {
		servers = append(servers, object(s))
	}
	return servers
}

// hosts are those of the object in canonical form.
func (o Object) hosts() []string {
	var hosts []any
	switch o.Kind {
	case intent.KindGateway:
		for _, s := range o.servers() {
			hosts = append(hosts, list(s["hosts"])...)
		}
	case intent.KindAPIRule:
		// v1beta1 has one host, in a field of its own.
		if hosts = list(o.Spec["hosts"]); o.Spec["host"] != nil {
			hosts = append(slices.Clone(hosts), o.Spec["host"])
		}
	}
	var found []string
	for _, h := range hosts {
		switch host := canonical(text(h)); {
		case o.Kind == intent.KindGateway || strings.Contains(host, "."):
			found = append(found, host)
		case o.Domain != "":
			found = append(found, host+"."+o.Domain)
		}
	}
	return found
}

// The annotations in which Kyma keeps an APIRule of its first version that is written in another one
// (kyma-project/api-gateway:apis/gateway/v1beta1/apirule_conversion.go).
const (
	keyOriginalVersion = "gateway.kyma-project.io/original-version"
	originalVersion    = "v1beta1"
)

// hidesHosts reports whether the hosts of an APIRule stand in an annotation, which nobody here reads.
func (o Object) hidesHosts() bool {
	return o.Kind == intent.KindAPIRule && o.Annotations[keyOriginalVersion] == originalVersion && o.Spec["host"] == nil
}

// canonical is a host as intent.CanonicalHost has it, but that it leaves letters beyond ASCII alone,
// as CEL does: no host has any.
func canonical(host string) string {
	if _, name, ok := strings.Cut(host, "/"); ok {
		host = name
	}
	return lowerASCII(strings.TrimSuffix(host, "."))
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// ownGateway reports whether an APIRule uses the Gateway that is made for it, in any of the
// spellings that Kyma takes.
func (o Object) ownGateway() bool {
	own := o.Name + "-mtls"
	switch text(o.Spec["gateway"]) {
	case "":
		return o.Spec["externalGateway"] == nil || o.Spec["externalGateway"] == ""
	case own, o.Namespace + "/" + own, own + "." + o.Namespace, own + "." + o.Namespace + ".svc", own + "." + o.Namespace + ".svc.cluster.local":
		return true
	}
	return false
}

// protocol is that of a server, which Istio reads in any case (istio/istio:pkg/config/protocol).
func protocol(server map[string]any) string {
	return lowerASCII(text(object(server["port"])["protocol"]))
}

// encrypted reports whether a server speaks TLS for what its protocol is.
func encrypted(server map[string]any) bool {
	return slices.Contains([]string{"https", "tls"}, protocol(server))
}

// hasTLS reports whether a server has anything to do with TLS but sending callers to it.
func hasTLS(server map[string]any) bool {
	if encrypted(server) {
		return true
	}
	for key := range object(server["tls"]) {
		if key != "httpsRedirect" {
			return true
		}
	}
	return false
}

// redirects reports whether an HTTP server sends every caller to HTTPS.
func redirects(server map[string]any) bool {
	redirect, _ := object(server["tls"])["httpsRedirect"].(bool)
	return redirect && slices.Contains([]string{"http", "http2", "grpc", "grpc-web"}, protocol(server))
}

func object(value any) map[string]any { m, _ := value.(map[string]any); return m }

func list(value any) []any { l, _ := value.([]any); return l }

func text(value any) string { s, _ := value.(string); return s }

func texts(values map[string]any) map[string]string {
	found := make(map[string]string, len(values))
	for key, value := range values {
		found[key] = text(value)
	}
	return found
}
