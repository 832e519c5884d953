package sequence

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// The reference says in Go what the policies say in CEL. It was written from the
// design's words, not from the policies, and shares nothing with pkg/mutate.

const ourPrefix = "mtls.sallyport.dev/"

// within is what the reference knows of the place of an object.
type within struct {
	namespace, name string
	// label is the value of the namespace's label, empty without one.
	label string
	// version is the one the object is sent in.
	version string
}

// table looks a text up in an object, as what it has to be; empty otherwise.
func table(o map[string]any, path ...string) map[string]any {
	for _, key := range path {
		o, _ = o[key].(map[string]any)
	}
	return o
}

func word(o map[string]any, key string) string {
	s, _ := o[key].(string)
	return s
}

// ourKeys are the keys of ours in annotations and labels, in any case.
func ourKeys(o map[string]any) map[string]string {
	found := map[string]string{}
	for _, field := range []string{"annotations", "labels"} {
		for key, value := range table(o, "metadata", field) {
			if strings.HasPrefix(strings.ToLower(key), ourPrefix) {
				found[field+"/"+key], _ = value.(string)
			}
		}
	}
	return found
}

// grammar is what may be written as an annotation, by kind; whatever is not in it is
// refused.
var grammar = map[string]map[string][]string{
	"Gateway": {
		"mode": {"mutual", "optional", "disabled"}, "min-tls": {"TLSv1.2", "TLSv1.3"}, "key-algorithm": {"ECDSA-P256", "RSA-2048"},
		"allowed-clients": {"client/billing", "client/billing, spiffe://example.com/ns/x/client/y"}, "authorities": {"corp", "corp, platform/corp", "a,b,c,d"},
		"certificate-lifetime": {"720h"}, "server-certificate": {"issued", "provided"},
	},
	"APIRule": {
		"mode": {"mutual", "optional", "disabled"}, "min-tls": {"TLSv1.2", "TLSv1.3"}, "key-algorithm": {"ECDSA-P256", "RSA-2048"},
		"client-headers": {"uri", "uri, serial"}, "authorities": {"corp"}, "certificate-lifetime": {"720h"}, "server-certificate": {"issued", "provided"},
		"server-credential-name": {"own"},
	},
}

// unchanged reports whether a write changes nothing that is judged.
func unchanged(old, now map[string]any) bool {
	if old == nil || !maps.Equal(ourKeys(old), ourKeys(now)) || !reflect.DeepEqual(old["spec"], now["spec"]) {
		return false
	}
	for _, kymas := range []string{"gateway.kyma-project.io/original-version", "gateway.kyma-project.io/v1beta1-spec"} {
		before, had := table(old, "metadata", "annotations")[kymas]
		after, has := table(now, "metadata", "annotations")[kymas]
		if had != has || before != after {
			return false
		}
	}
	return true
}

// judge is why an object must not be stored; empty if it may.
func judge(kind string, old, now map[string]any, w within) string {
	if unchanged(old, now) {
		return "" // ratcheting
	}
	if why := judgeKeys(kind, now, w); why != "" {
		return why
	}
	asked := table(now, "metadata", "annotations")
	mode := word(asked, ourPrefix+"mode")
	switch {
	case mode != "":
	case w.label != "":
		mode = w.label
	default:
		asked = table(old, "metadata", "annotations") // opting out and opening up are two writes
		mode = word(asked, ourPrefix+"mode")
	}
	switch {
	case mode == "" || mode == "disabled":
		return ""
	case kind == "Gateway":
		return judgeGateway(now, asked, mode, w)
	}
	return judgeRule(now, asked, mode)
}

// judgeKeys is why the keys of ours must not be stored; empty if they may.
func judgeKeys(kind string, now map[string]any, w within) string {
	for key, value := range ourKeys(now) {
		field, name, _ := strings.Cut(key, "/")
		if field == "labels" {
			return "a label of ours is the agent's"
		}
		if kind == "APIRule" && w.version == "v1beta1" && name == ourPrefix+"client-headers" {
			return "v1beta1 has no place for identity headers"
		}
		if values, known := grammar[kind][strings.TrimPrefix(name, ourPrefix)]; !known || !slices.Contains(values, value) {
			return fmt.Sprintf("%s=%s is not in the grammar", key, value)
		}
	}
	asked := table(now, "metadata", "annotations")
	if named := word(asked, ourPrefix+"server-credential-name") != ""; kind == "APIRule" && named != (word(asked, ourPrefix+"server-certificate") == "provided") {
		return "a server Secret is named and none is provided, or the other way round"
	}
	if word(asked, ourPrefix+"mode") == "" && w.label == "" && len(ourKeys(now)) > 0 {
		return "annotations say how, and nothing says that"
	}
	return ""
}

func judgeGateway(now, asked map[string]any, mode string, w within) string {
	wantedMode, wantedMin := map[string]string{"mutual": "MUTUAL", "optional": "OPTIONAL_MUTUAL"}[mode], "TLSV1_2"
	if word(asked, ourPrefix+"min-tls") == "TLSv1.3" {
		wantedMin = "TLSV1_3"
	}
	names := callers(word(asked, ourPrefix+"allowed-clients"), w)
	servers, _ := table(now, "spec")["servers"].([]any)
	if len(servers) == 0 {
		return "there is no server"
	}
	credential := ""
	for i, entry := range servers {
		server, _ := entry.(map[string]any)
		settings, has := server["tls"].(map[string]any)
		if protocol := strings.ToUpper(word(table(server, "port"), "protocol")); (protocol != "HTTPS" && protocol != "TLS") || !has {
			return fmt.Sprintf("server %d has no TLS", i)
		}
		provided := word(asked, ourPrefix+"server-certificate") == "provided"
		if why := judgeTLS(settings, wantedMode, wantedMin, names, provided, w); why != "" {
			return fmt.Sprintf("server %d: %s", i, why)
		}
		if i > 0 && word(settings, "credentialName") != credential {
			return "the servers have several credentials"
		}
		credential = word(settings, "credentialName")
		hosts, _ := server["hosts"].([]any)
		for _, host := range hosts {
			if host == "*" || strings.HasSuffix(fmt.Sprint(host), "/*") {
				return "the host is everything"
			}
		}
	}
	return ""
}

// callers are the names that allowed-clients stands for, and the probe's.
func callers(allowed string, w within) []string {
	if allowed == "" {
		return nil
	}
	names := []string{"spiffe://example.com/sallyport/probe"}
	for client := range strings.SplitSeq(allowed, ",") {
		client = strings.TrimSpace(client)
		if name, own := strings.CutPrefix(client, "client/"); own {
			client = "spiffe://example.com/ns/" + w.namespace + "/client/" + name
		}
		names = append(names, client)
	}
	slices.Sort(names)
	return names
}

func judgeTLS(settings map[string]any, mode, least string, names []string, provided bool, w within) string {
	var found []string
	list, _ := settings["subjectAltNames"].([]any)
	for _, name := range list {
		found = append(found, fmt.Sprint(name))
	}
	slices.Sort(found)
	if why := cmp.Or(judgeOthers(settings), judgeSecrets(settings, provided, w)); why != "" {
		return why
	}
	switch {
	case word(settings, "mode") != mode:
		return "the mode is another"
	case word(settings, "minProtocolVersion") != least:
		return "the least version is another"
	case !slices.Equal(slices.Compact(found), names):
		return "the callers are others"
	}
	return ""
}

// judgeOthers is which setting of TLS is set that goes around those that are judged.
func judgeOthers(settings map[string]any) string {
	for key, value := range settings {
		switch key {
		case "mode", "credentialName", "caCertCredentialName", "minProtocolVersion", "maxProtocolVersion", "cipherSuites", "ecdhCurves", "subjectAltNames":
			continue
		}
		if list, ok := value.([]any); value != false && value != "" && (!ok || len(list) > 0) {
			return key + " is set"
		}
	}
	return ""
}

// judgeSecrets is what is wrong with the Secrets that a server names.
func judgeSecrets(settings map[string]any, provided bool, w within) string {
	own := w.namespace + "." + w.name + ".mtls"
	credential := word(settings, "credentialName")
	ca, hasCA := settings["caCertCredentialName"]
	switch {
	case credential == "" || strings.Contains(credential, "://") || strings.HasSuffix(credential, "-cacert"):
		return "the credential is none that we can keep"
	case strings.HasSuffix(credential, ".mtls") && (provided || credential != own):
		return "the credential is another's"
	case provided && ca != own+"-cacert":
		return "the CA does not stand apart from what is provided"
	case !provided && hasCA && ca != credential+"-cacert":
		return "the CA does not belong to the credential"
	}
	return ""
}

// identityHeader is what a rule sets for one name of client-headers.
var identityHeader = map[string][2]string{
	"subject": {"X-Client-Cert-Subject", "%DOWNSTREAM_PEER_SUBJECT%"}, "issuer": {"X-Client-Cert-Issuer", "%DOWNSTREAM_PEER_ISSUER%"},
	"uri": {"X-Client-Cert-Uri", "%DOWNSTREAM_PEER_URI_SAN%"}, "dns": {"X-Client-Cert-Dns", "%DOWNSTREAM_PEER_DNS_SAN%"},
	"serial": {"X-Client-Cert-Serial", "%DOWNSTREAM_PEER_SERIAL%"}, "certificate": {"X-Client-Cert-Certificate", "%DOWNSTREAM_PEER_CERT%"},
}

func judgeRule(now, asked map[string]any, mode string) string {
	spec := table(now, "spec")
	headers := word(asked, ourPrefix+"client-headers")
	switch gateway := word(spec, "gateway"); {
	case word(spec, "externalGateway") != "":
		return "it names an external Gateway"
	case gateway == "":
		return "it names no Gateway"
	case gateway == "kyma-system/kyma-gateway" || strings.HasPrefix(gateway, "kyma-gateway.kyma-system"):
		return "it names the Gateway that is open to everybody"
	case headers == "":
		return ""
	case mode != "mutual":
		return "identity headers go with mutual"
	}
	return judgeHeaders(spec, headers)
}

// judgeHeaders is what is wrong with the request headers that a rule sets.
func judgeHeaders(spec map[string]any, headers string) string {
	wanted := map[string]bool{}
	for name := range strings.SplitSeq(headers, ",") {
		wanted[strings.TrimSpace(name)] = true
	}
	rules, _ := spec["rules"].([]any)
	for i, entry := range rules {
		rule, _ := entry.(map[string]any)
		set := table(rule, "request", "headers")
		for name, header := range identityHeader {
			value := name + "="
			if wanted[name] {
				value += header[1]
			}
			if word(set, header[0]) != value {
				return fmt.Sprintf("rule %d lets a caller's own %s through", i, header[0])
			}
			for key := range set {
				if key != header[0] && strings.EqualFold(key, header[0]) {
					return fmt.Sprintf("rule %d sets %s twice", i, header[0])
				}
			}
		}
	}
	return ""
}
