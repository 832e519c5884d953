package intent

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Suffixes of the names of Secrets. Istio reads a name that ends in -cacert as a
// CA only (istio/istio:pilot/pkg/security/model/authentication.go).
const (
	serverSuffix  = ".mtls"
	caSuffix      = "-cacert"
	adoptedSuffix = "-adopted"
)

// maxGatewayName is the longest <namespace>.<name> that leaves room for the
// suffixes in the 253 bytes of an object's name.
const maxGatewayName = 240

// CheckName says why nothing can be named after an object that opts in, nil if
// everything can. With generateName an object has no name yet when it is admitted.
func CheckName(kind Kind, namespace, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("metadata.name is empty: Secrets and a MutualTLSEndpoint are named after the %s, and with generateName its name is not known at admission; write a name", kind)
	case len(validation.IsDNS1123Subdomain(name)) > 0 || len(validation.IsDNS1123Label(namespace)) > 0:
		return fmt.Errorf("%.64q is not the namespace and name of an object that can be stored", namespace+"/"+name)
	case kind == KindGateway:
		return CheckGatewayName(namespace, name)
	case len(EndpointName(kind, name)) > validation.DNS1123SubdomainMaxLength:
		return fmt.Errorf("the name of the %s has %d characters, at most %d leave room for the name of its MutualTLSEndpoint: choose a shorter name",
			kind, len(name), validation.DNS1123SubdomainMaxLength-len(EndpointName(kind, "")))
	}
	return nil
}

// CheckGatewayName says why a Gateway's Secrets cannot be named, nil if they can.
func CheckGatewayName(namespace, name string) error {
	if name == "" {
		return errors.New("the Gateway has no name yet (metadata.generateName), and its Secrets are named after it: give it one in metadata.name")
	}
	if n := len(namespace) + 1 + len(name); n > maxGatewayName {
		return fmt.Errorf("namespace and name of the Gateway have %d characters together, at most %d leave room for the names of its Secrets: choose a shorter name", n, maxGatewayName)
	}
	return nil
}

// ServerSecretName is the Secret with the server certificate of a Gateway. A
// namespace has no dot, so two Gateways never share it.
func ServerSecretName(namespace, name string) string { return namespace + "." + name + serverSuffix }

// CASecretName is the Secret with the CAs of the callers of a Gateway.
func CASecretName(namespace, name string) string {
	return CASecretFor(ServerSecretName(namespace, name))
}

// AdoptedSecretName is the Secret that remembers what was taken over of the hand-made
// Secrets of a Gateway.
func AdoptedSecretName(namespace, name string) string {
	return ServerSecretName(namespace, name) + adoptedSuffix
}

// CASecretFor is where Istio looks for the CAs that belong to a credentialName.
func CASecretFor(credentialName string) string { return credentialName + caSuffix }

// maxManagedAPIRule is the longest name of an APIRule that can have a managed
// Gateway: Kyma takes two DNS labels of 63 characters in spec.gateway.
const maxManagedAPIRule = 63 - len(managedSuffix)

const managedSuffix = "-mtls"

// ManagedGatewayName is the Gateway that is made for an APIRule, in its namespace.
func ManagedGatewayName(apirule string) (string, error) {
	if apirule == "" {
		return "", errors.New("the APIRule has no name yet (metadata.generateName), and its Gateway is named after it: give it one in metadata.name, or name a Gateway in spec.gateway")
	}
	if len(apirule) > maxManagedAPIRule || strings.Contains(apirule, ".") {
		return "", fmt.Errorf("found %.300q, and an APIRule whose name has a dot or more than %d characters cannot have a managed Gateway: choose another name, or name a Gateway in spec.gateway", apirule, maxManagedAPIRule)
	}
	return apirule + managedSuffix, nil
}

// EndpointName is the MutualTLSEndpoint of an opted-in object, in its namespace.
func EndpointName(kind Kind, name string) string {
	return strings.ToLower(string(kind)) + "-" + name
}

// TrustConfigMapName is the ConfigMap in which an authority's trust is published.
func TrustConfigMapName(authority string) string { return authority + "-mtls-trust" }

// ClientIdentity is the URI of a caller: derived, never requested.
func ClientIdentity(trustDomain, namespace, name string) string {
	return "spiffe://" + trustDomain + "/ns/" + namespace + "/client/" + name
}

// ProbeIdentity is the URI of the agent's own handshakes.
func ProbeIdentity(trustDomain string) string { return "spiffe://" + trustDomain + "/sallyport/probe" }

// CanonicalHost is the form in which hosts of Gateways are compared: without the
// namespace part that only chooses VirtualServices, in lower case, without a
// trailing dot. TLS server names know none of the three, so two spellings of one
// host end up as one filter chain match, of which Envoy takes only one.
func CanonicalHost(host string) string {
	if _, name, ok := strings.Cut(host, "/"); ok {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
