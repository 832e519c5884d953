package mutate

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"k8s.io/apimachinery/pkg/util/validation"

	"sallyport.dev/sallyport/pkg/intent"
)

// Violation is one place in which a Gateway is not as it ought to be.
type Violation struct {
	// Path of the field, as Kubernetes writes it.
	Path string
	// Message says what was found, what is expected, and what to do.
	Message string
}

// String is the path and the message.
func (v Violation) String() string { return v.Path + ": " + v.Message }

// settings are what an Intent governs in every server of a Gateway.
type settings struct {
	mode string
	// credentialName is that of the server's Secret where the server names none; empty if it has to
	// name one, because the certificate is provided.
	credentialName string
	// own is the name of the Secret that is ours, whether the server's certificate is or not.
	own    string
	minTLS string
	// allowed are the subjectAltNames; nil for none.
	allowed []string
	// provided is whether the server's certificate is somebody else's.
	provided bool
}

func settingsOf(in intent.Intent, namespace, name string) *settings {
	mode := "MUTUAL"
	if in.Mode() == intent.ModeOptional {
		mode = "OPTIONAL_MUTUAL"
	}
	own := intent.ServerSecretName(namespace, name)
	s := &settings{mode: mode, credentialName: own, own: own, provided: in.Provided(), minTLS: in.MinTLS().Istio(), allowed: in.AllowedClients()}
	if in.Provided() {
		s.credentialName = in.ServerCredentialName()
	}
	return s
}

// caName is where the CAs of the callers are, beside a server's certificate. If that is somebody
// else's, they stand apart: where a CA Secret is missing, istiod would take the CAs that are in the
// server's own (istio/istio:pilot/pkg/credentials/kube/secrets.go), and nobody but the agent can make
// a Secret under the name that is ours.
func (s *settings) caName(credential string) string {
	if s.provided {
		return intent.CASecretFor(s.own)
	}
	return intent.CASecretFor(credential)
}

// server is one server of a Gateway under judgement.
type server struct {
	index int
	raw   map[string]any
	tls   map[string]any
	// old is the tls of the server at the same place of the predecessor, and
	// previous what its Intent governed: together they tell what we wrote ourselves.
	old      map[string]any
	previous *settings
}

func (s server) path(field string) string {
	return fmt.Sprintf("spec.servers[%d].%s", s.index, field)
}

func (s server) violation(field, format string, arguments ...any) *Violation {
	return &Violation{Path: s.path(field), Message: fmt.Sprintf(format, arguments...)}
}

// rules are what is refused in a server whatever is written into it, in the order
// in which they are reported.
var rules = []func(s server, wanted *settings) *Violation{
	serverWithoutTLS, hostNotIssuable, modeNotTerminating, modeContradicts, verificationSkipped, filesForSecrets, severalCredentials,
	pinnedCertificates, redirectOnTLS, credentialNameUnusable, caNameContradicts, minTLSContradicts, maxTLSBelowMin, namesByHand,
}

// serverWithoutTLS: a server that speaks no TLS is a way around every other one of
// the same Gateway, even one that only redirects (behind a trusted proxy a caller
// can claim to have come by HTTPS). Istio ignores tls on an HTTP port.
func serverWithoutTLS(s server, _ *settings) *Violation {
	protocol := text(object(s.raw["port"])["protocol"])
	if strings.EqualFold(protocol, "HTTPS") || strings.EqualFold(protocol, "TLS") {
		return nil
	}
	return s.violation("port.protocol", "found %.64q, expected HTTPS or TLS: a server without TLS opens the same routes to everybody, even one that only redirects; move it to a Gateway of its own that no VirtualService names", protocol)
}

// hostNotIssuable: a server certificate names DNS names, of which the first label may
// be a wildcard (RFC 6125 section 6.4.3).
func hostNotIssuable(s server, _ *settings) *Violation {
	hosts := texts(s.raw["hosts"])
	if len(hosts) == 0 {
		return s.violation("hosts", "is empty: name the hosts, such as *.example.com")
	}
	for i, host := range hosts {
		namespace, _, scoped := strings.Cut(host, "/")
		if (scoped && namespace != "." && namespace != "*" && len(validation.IsDNS1123Label(namespace)) > 0) || !issuable(intent.CanonicalHost(host)) {
			return s.violation(fmt.Sprintf("hosts[%d]", i), "found %.300q, which no server certificate can be issued for: %s", host, wayToName(intent.CanonicalHost(host)))
		}
	}
	return nil
}

// wayToName says how a host would have to be written.
func wayToName(host string) string {
	switch {
	case strings.ContainsFunc(host, func(r rune) bool { return r > unicode.MaxASCII }):
		return "write letters beyond a to z in their ASCII form, which begins with xn--"
	case isAddress(host):
		return "callers that dial an address send no name: give it a DNS name, and write that"
	case strings.Contains(strings.TrimPrefix(host, "*."), "*"):
		return "write * alone as the first label, and a domain after it, such as *.example.com"
	}
	return "write a DNS name such as shop.example.com or *.example.com, of labels up to 63 and 253 characters in all"
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

func issuable(host string) bool {
	name := strings.TrimPrefix(host, "*.")
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if len(validation.IsDNS1123Label(label)) > 0 {
			return false
		}
	}
	// A name that ends in a number is an IP address.
	return len(name) <= 253 && strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

func modeNotTerminating(s server, _ *settings) *Violation {
	switch mode := text(s.tls["mode"]); mode {
	case "PASSTHROUGH", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL":
		return s.violation("tls.mode", "found %s, with which the Gateway does not check the callers' certificates: remove tls, or move the server to a Gateway without %s", mode, intent.KeyMode)
	}
	return nil
}

func modeContradicts(s server, wanted *settings) *Violation {
	mode := text(s.tls["mode"])
	if mode == "" || mode == "SIMPLE" || mode == wanted.mode || s.wrote("mode", func(p *settings) any { return p.mode }) || modeNotTerminating(s, wanted) != nil {
		return nil
	}
	return s.violation("tls.mode", "found %.64q, expected %s as the annotation says: change one of the two", mode, wanted.mode)
}

func verificationSkipped(s server, _ *settings) *Violation {
	if boolean(s.tls["insecureSkipVerify"]) {
		return s.violation("tls.insecureSkipVerify", "found true, with which callers are not verified: remove it")
	}
	return nil
}

func filesForSecrets(s server, _ *settings) *Violation {
	for _, field := range []string{"serverCertificate", "privateKey", "caCertificates", "caCrl"} {
		if s.tls[field] != nil && s.tls[field] != "" {
			return s.violation("tls."+field, "found %.300s, a file in the gateway's pod, which nobody here can renew: remove it, and Secrets of our own are used", render(s.tls[field]))
		}
	}
	return nil
}

func severalCredentials(s server, _ *settings) *Violation {
	for _, field := range []string{"credentialNames", "tlsCertificates"} {
		if len(list(s.tls[field])) > 0 {
			return s.violation("tls."+field, "found %.300s, which is not supported together with %s: remove it, and one Secret is used, of credentialName or of our own", render(s.tls[field]), intent.KeyMode)
		}
	}
	return nil
}

func pinnedCertificates(s server, _ *settings) *Violation {
	for _, field := range []string{"verifyCertificateSpki", "verifyCertificateHash"} {
		if len(list(s.tls[field])) > 0 {
			return s.violation("tls."+field, "found %.300s, which would refuse callers once their certificate is renewed: remove it, and name the callers with %s", render(s.tls[field]), intent.KeyAllowedClients)
		}
	}
	return nil
}

func redirectOnTLS(s server, _ *settings) *Violation {
	if boolean(s.tls["httpsRedirect"]) {
		return s.violation("tls.httpsRedirect", "found true, which has no meaning on a server with TLS: remove it")
	}
	return nil
}

// credentialNameUnusable: Istio reads a name that ends in -cacert as a CA only, and
// a URL as another kind of place.
func credentialNameUnusable(s server, wanted *settings) *Violation {
	name := text(s.tls["credentialName"])
	if wanted.provided {
		return s.providedNameUnusable(name, wanted)
	}
	switch {
	case name == "" || name == wanted.credentialName:
		return nil
	case len(validation.IsDNS1123Subdomain(name)) > 0:
		return s.violation("tls.credentialName", "found %.300q, expected the name of a Secret: remove it, and %s is used", name, wanted.credentialName)
	case strings.HasSuffix(name, "-cacert"):
		return s.violation("tls.credentialName", "found %q, which Istio takes for a CA because of its ending: remove it, and %s is used", name, wanted.credentialName)
	case strings.HasSuffix(name, ".mtls"), strings.HasSuffix(name, ".mtls-adopted"):
		return s.violation("tls.credentialName", "found %q, which belongs to another Gateway: remove it, and %s is used", name, wanted.credentialName)
	}
	return nil
}

// providedNameUnusable: the Secret with the provided certificate has to be named, and to be nobody's
// but its owner's.
func (s server) providedNameUnusable(name string, wanted *settings) *Violation {
	says := intent.KeyServerCertificate + ": provided"
	switch {
	case name == "" && wanted.credentialName == "":
		return s.violation("tls.credentialName", "is empty, and %s asks for a Secret that is there: name it", says)
	case name == "" || wanted.credentialName != "" && name == wanted.credentialName:
		return nil
	case len(validation.IsDNS1123Subdomain(name)) > 0, strings.HasSuffix(name, "-cacert"), strings.HasSuffix(name, ".mtls"), strings.HasSuffix(name, ".mtls-adopted"):
		return s.violation("tls.credentialName", "found %.300q, and %s asks for the name of a Secret that does not end in -cacert or .mtls: name the one with the certificate", name, says)
	}
	return nil
}

func caNameContradicts(s server, wanted *settings) *Violation {
	found, derived := text(s.tls["caCertCredentialName"]), wanted.caName(s.credential(wanted))
	if found == "" || found == derived || s.wroteCAName() {
		return nil
	}
	return s.violation("tls.caCertCredentialName", "found %.300q, expected %s, which belongs to credentialName: remove it", found, derived)
}

func minTLSContradicts(s server, wanted *settings) *Violation {
	found := text(s.tls["minProtocolVersion"])
	if found == "" || found == wanted.minTLS || s.wrote("minProtocolVersion", func(p *settings) any { return p.minTLS }) {
		return nil
	}
	return s.violation("tls.minProtocolVersion", "found %.64q, expected %s: remove it and say it with %s", found, wanted.minTLS, intent.KeyMinTLS)
}

// protocolVersions in their order; TLS_AUTO as a maximum is the newest.
var protocolVersions = []string{"TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"}

func maxTLSBelowMin(s server, wanted *settings) *Violation {
	found := text(s.tls["maxProtocolVersion"])
	if found == "" || found == "TLS_AUTO" || slices.Index(protocolVersions, found) >= slices.Index(protocolVersions, wanted.minTLS) {
		return nil
	}
	return s.violation("tls.maxProtocolVersion", "found %.64q, which is below the minimum %s: no caller could connect; remove it", found, wanted.minTLS)
}

func namesByHand(s server, wanted *settings) *Violation {
	found := s.tls["subjectAltNames"]
	if len(list(found)) == 0 || reflect.DeepEqual(texts(found), wanted.allowed) || s.wrote("subjectAltNames", func(p *settings) any { return anys(p.allowed) }) {
		return nil
	}
	return s.violation("tls.subjectAltNames", "found %.200s: remove it and say it with %s, which also lets the agent's own probes in", render(found), intent.KeyAllowedClients)
}

// wrote reports whether the value of a field is what the predecessor had, and what
// its Intent made us write.
func (s server) wrote(field string, written func(*settings) any) bool {
	return s.previous != nil && reflect.DeepEqual(s.tls[field], s.old[field]) && reflect.DeepEqual(s.tls[field], written(s.previous))
}

// wroteCAName: the CA's name follows the credential's.
func (s server) wroteCAName() bool {
	return s.wrote("caCertCredentialName", func(p *settings) any { return p.caName(text(s.old["credentialName"])) })
}

// credential is the credentialName the server ends up with.
func (s server) credential(wanted *settings) string {
	if name := text(s.tls["credentialName"]); name != "" {
		return name
	}
	return wanted.credentialName
}

// inject writes the settings into one server.
func (p *patch) inject(s server, wanted *settings, c Capabilities) {
	write := func(value any, field string) { p.set(value, "spec", "servers", s.index, "tls", field) }
	credential := s.credential(wanted)
	write(wanted.mode, "mode")
	write(credential, "credentialName")
	if c.CACertCredentialName || text(s.tls["caCertCredentialName"]) != "" { // what is there must not name another's
		write(wanted.caName(credential), "caCertCredentialName")
	}
	write(wanted.minTLS, "minProtocolVersion")
	switch {
	case wanted.allowed != nil:
		write(anys(wanted.allowed), "subjectAltNames")
	case len(list(s.tls["subjectAltNames"])) > 0: // written for what was asked before
		write(nil, "subjectAltNames")
	}
}
