package mutate

import (
	"fmt"
	"slices"
	"strings"

	"sallyport.dev/sallyport/pkg/intent"
)

// identityHeaders are the parts of a caller's identity: the header that carries
// each to the workload, and Envoy's word for it (Envoy: access log format strings,
// which custom request headers take as well).
var identityHeaders = map[string]struct{ header, variable string }{
	"subject":     {"X-Client-Cert-Subject", "%DOWNSTREAM_PEER_SUBJECT%"},
	"issuer":      {"X-Client-Cert-Issuer", "%DOWNSTREAM_PEER_ISSUER%"},
	"uri":         {"X-Client-Cert-Uri", "%DOWNSTREAM_PEER_URI_SAN%"},
	"dns":         {"X-Client-Cert-Dns", "%DOWNSTREAM_PEER_DNS_SAN%"},
	"serial":      {"X-Client-Cert-Serial", "%DOWNSTREAM_PEER_SERIAL%"},
	"certificate": {"X-Client-Cert-Certificate", "%DOWNSTREAM_PEER_CERT%"},
}

// TellsCaller reports whether an APIRule has a rule that tells its workload who called, whatever it asks for at present: the
// headers stay when the annotation goes, and anybody may write Envoy's words into a header of his own.
func TellsCaller(rule map[string]any) bool {
	for _, r := range list(object(rule["spec"])["rules"]) {
		for name, value := range object(object(object(r)["request"])["headers"]) {
			if isIdentityHeader(name) || strings.Contains(fmt.Sprint(value), "%DOWNSTREAM_PEER_") {
				return true
			}
		}
	}
	return false
}

func isIdentityHeader(name string) bool {
	for _, h := range identityHeaders {
		if strings.EqualFold(h.header, name) {
			return true
		}
	}
	return false
}

// headersFor are all six headers with their values; nil if none is asked for. Each
// value begins with a literal, because Envoy leaves a header alone whose value
// comes out empty, and the caller's own would reach the workload. Those that are
// not asked for carry the literal alone, for the same reason.
func headersFor(asked []string) map[string]string {
	if len(asked) == 0 {
		return nil
	}
	headers := map[string]string{}
	for name, h := range identityHeaders {
		headers[h.header] = name + "="
		if slices.Contains(asked, name) {
			headers[h.header] += h.variable
		}
	}
	return headers
}

// headers writes the identity headers into every rule, or takes away those that
// were written for the predecessor.
func (p *patch) headers(in intent.Intent, previous map[string]string) *Violation {
	wanted := headersFor(in.ClientHeaders())
	if wanted == nil && previous == nil {
		return nil
	}
	for i, rule := range list(object(p.object["spec"])["rules"]) {
		stored := object(object(object(rule)["request"])["headers"])
		if v := headerTaken(i, stored, wanted, previous); v != nil {
			return v
		}
		for _, name := range sortedKeys(identityHeaders) {
			header := identityHeaders[name].header
			if value, ok := wanted[header]; ok {
				p.set(value, "spec", "rules", i, "request", "headers", header)
			} else if stored[header] != nil && stored[header] == previous[header] {
				p.set(nil, "spec", "rules", i, "request", "headers", header)
			}
		}
	}
	return nil
}

// headerTaken finds an identity header that the user set to something else. Header
// names know no case.
func headerTaken(rule int, stored map[string]any, wanted, previous map[string]string) *Violation {
	if wanted == nil {
		return nil
	}
	for _, key := range sortedKeys(stored) {
		for _, name := range sortedKeys(identityHeaders) {
			header := identityHeaders[name].header
			value := text(stored[key])
			if !strings.EqualFold(key, header) || (key == header && (value == wanted[header] || (previous != nil && value == previous[header]))) {
				continue
			}
			return &Violation{
				Path:    fmt.Sprintf("spec.rules[%d].request.headers[%s]", rule, key),
				Message: fmt.Sprintf("found %.100q, expected %q, which %s writes: remove the header", value, wanted[header], intent.KeyClientHeaders),
			}
		}
	}
	return nil
}
