package policy

import (
	"slices"
	"strings"

	"sallyport.dev/sallyport/pkg/intent"
)

// secretKey is a Secret in an ingress namespace.
type secretKey struct{ namespace, name string }

// naming is a server that names a Secret.
type naming struct{ gateway, server int }

// credential is a Secret that a server names, and the field that does.
type credential struct{ field, name string }

// scheme of a Secret that is spelled as a URL.
const scheme = "kubernetes://"

// credentials are the Secrets that a server of TLS names, in the order in which Istio reads them.
func credentials(tls map[string]any) []credential {
	var found []credential
	add := func(field, name string) {
		if name != "" {
			found = append(found, credential{field, strings.TrimPrefix(name, scheme)})
		}
	}
	add("credentialName", text(tls["credentialName"]))
	for _, name := range list(tls["credentialNames"]) {
		add("credentialNames", text(name))
	}
	add("caCertCredentialName", text(tls["caCertCredentialName"]))
	return found
}

// trust is the Secret with the CAs of a server's callers: its own, or what Istio makes of the name of the server's
// certificate (istio/istio:pilot/pkg/security/model/authentication.go). Files and ConfigMaps have no name.
func trust(tls map[string]any) (c credential, ok bool) {
	named := credentials(tls)
	if len(named) == 0 {
		return credential{field: "caCertificates", name: text(tls["caCertificates"])}, false
	}
	c, last := named[0], named[len(named)-1]
	if last.field == "caCertCredentialName" {
		return last, !strings.Contains(last.name, "://")
	}
	return credential{c.field, intent.CASecretFor(c.name)}, !strings.Contains(c.name, "://")
}

func (s *Snapshot) readSecrets(secrets []Secret) {
	s.managed, s.naming = make(map[secretKey]string, len(secrets)), map[secretKey][]naming{}
	for _, secret := range secrets {
		s.managed[secretKey{secret.Namespace, secret.Name}] = secret.GatewayNamespace + "/" + secret.GatewayName
	}
	for g := range s.gateways {
		for i := range s.gateways[g].servers {
			one := &s.gateways[g].servers[i]
			for _, c := range credentials(object(one.raw["tls"])) {
				for _, namespace := range one.namespaces() {
					key := secretKey{namespace, c.name}
					if by := s.naming[key]; len(by) == 0 || by[len(by)-1] != (naming{g, i}) {
						s.naming[key] = append(by, naming{g, i})
					}
				}
			}
		}
	}
}

// namespaces are those from which a server's Secrets are read, each once.
func (s *server) namespaces() []string {
	var found []string
	for _, p := range s.places {
		if !slices.Contains(found, p.Namespace) {
			found = append(found, p.Namespace)
		}
	}
	return found
}

// ownerOf is the Gateway whose Secret a name is: by what is managed in a namespace, or by the name itself, which
// nobody but its Gateway's owner may use. Empty if it is nobody's.
func (s *Snapshot) ownerOf(namespace, name string) string {
	for _, candidate := range []string{name, intent.CASecretFor(name)} {
		if owner := s.managed[secretKey{namespace, candidate}]; owner != "" {
			return owner
		}
	}
	return reservedFor(name)
}

// reservedFor is the Gateway that a name is made of by intent.ServerSecretName; empty if it is of another form.
func reservedFor(name string) string {
	base := strings.TrimSuffix(strings.TrimSuffix(name, intent.CASecretFor("")), "-adopted")
	namespace, rest, dotted := strings.Cut(base, ".")
	gateway, reserved := strings.CutSuffix(rest, ".mtls")
	if !dotted || !reserved || gateway == "" || intent.ServerSecretName(namespace, gateway) != base {
		return ""
	}
	return namespace + "/" + gateway
}
