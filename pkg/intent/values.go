package intent

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxItems bounds every list in an annotation.
const maxItems = 64

// items splits a comma-separated list. Spaces around an item are taken; an empty
// or a repeated item is a mistake.
func items(at *field.Path, value string) ([]string, *field.Error) {
	parts := strings.SplitN(value, ",", maxItems+1)
	if len(parts) > maxItems {
		return nil, field.TooMany(at, strings.Count(value, ",")+1, maxItems)
	}
	for i := range parts {
		parts[i] = strings.Trim(parts[i], " ")
		if parts[i] == "" {
			return nil, field.Invalid(at, shown(value), "has an empty item; it is a comma-separated list")
		}
		if slices.Contains(parts[:i], parts[i]) {
			return nil, field.Invalid(at, shown(parts[i]), "is there twice: write it once")
		}
	}
	return parts, nil
}

// MaxAuthorities bounds the authorities of one object: each is tried with handshakes of its own at every replica.
const MaxAuthorities = 4

func parseAuthorities(value, namespace string) ([]types.NamespacedName, *field.Error) {
	at := annotation(KeyAuthorities)
	names, err := items(at, value)
	if err != nil {
		return nil, err
	}
	if len(names) > MaxAuthorities {
		return nil, field.TooMany(at, len(names), MaxAuthorities)
	}
	var refs []types.NamespacedName
	for _, item := range names {
		ref := types.NamespacedName{Namespace: namespace, Name: item}
		if ns, name, qualified := strings.Cut(item, "/"); qualified {
			ref = types.NamespacedName{Namespace: ns, Name: name}
		}
		if len(validation.IsDNS1123Label(ref.Namespace)) > 0 || len(validation.IsDNS1123Label(ref.Name)) > 0 {
			return nil, field.Invalid(at, shown(item), "must be the name of a CertificateAuthority, or <namespace>/<name>, in lower-case letters, digits and hyphens")
		}
		if slices.Contains(refs, ref) {
			return nil, field.Invalid(at, shown(item), "is there twice: write it once")
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// ServerCertificates are the values of KeyServerCertificate.
func ServerCertificates() []string { return []string{"issued", "provided"} }

func parseServerCertificate(value string) (provided bool, err *field.Error) {
	if !slices.Contains(ServerCertificates(), value) {
		return false, field.NotSupported(annotation(KeyServerCertificate), shown(value), ServerCertificates())
	}
	return value == "provided", nil
}

// parseServerCredentialName takes the name of a Secret. Istio reads a name that ends in -cacert as a
// CA only, and the others are ours.
func parseServerCredentialName(value string) (string, *field.Error) {
	at := annotation(KeyServerCredentialName)
	switch {
	case len(validation.IsDNS1123Subdomain(value)) > 0:
		return "", field.Invalid(at, shown(value), "must be the name of a Secret in the ingress namespace, in lower-case letters, digits, - and .")
	case strings.HasSuffix(value, caSuffix) || strings.HasSuffix(value, serverSuffix):
		return "", field.Invalid(at, shown(value), fmt.Sprintf("must not end in %s, which Istio takes for a CA, or in %s, which is ours", caSuffix, serverSuffix))
	}
	return value, nil
}

// ParseAdopt reads the value of the annotation KeyAdopt: the Gateway that a Secret is handed over to.
func ParseAdopt(value string) (types.NamespacedName, error) {
	namespace, name, _ := strings.Cut(value, "/")
	if len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0 {
		return types.NamespacedName{}, fmt.Errorf("reading %s: found %.300q, expected <namespace>/<name> of the Gateway that takes the Secret over", KeyAdopt, value)
	}
	return types.NamespacedName{Namespace: namespace, Name: name}, nil
}

func parseMinTLS(value string) (TLSVersion, *field.Error) {
	if v := TLSVersion(value); v == TLS12 || v == TLS13 {
		return v, nil
	}
	return "", field.NotSupported(annotation(KeyMinTLS), shown(value), []TLSVersion{TLS12, TLS13})
}

// KeyAlgorithms are the values of KeyKeyAlgorithm.
func KeyAlgorithms() []string {
	return []string{"ECDSA-P256", "ECDSA-P384", "RSA-2048", "RSA-3072", "RSA-4096"}
}

func parseKeyAlgorithm(value string) (string, *field.Error) {
	if slices.Contains(KeyAlgorithms(), value) {
		return value, nil
	}
	return "", field.NotSupported(annotation(KeyKeyAlgorithm), shown(value), KeyAlgorithms())
}

// MinLifetime is the shortest life of a server certificate: below it, what istiod
// and the clocks of callers need would be most of it.
const MinLifetime = time.Minute

func parseLifetime(value string) (time.Duration, *field.Error) {
	at := annotation(KeyCertificateLifetime)
	if len(value) > 32 { // the longest sensible duration is far shorter
		return 0, field.TooLong(at, shown(value), 32)
	}
	lifetime, err := time.ParseDuration(value)
	if err != nil {
		return 0, field.Invalid(at, shown(value), "must be a duration such as 720h or 90m")
	}
	if lifetime < MinLifetime {
		return 0, field.Invalid(at, shown(value), fmt.Sprintf("must be at least %s", MinLifetime))
	}
	return lifetime, nil
}

// clientHeaderNames are the values of KeyClientHeaders.
var clientHeaderNames = []string{"subject", "issuer", "uri", "dns", "serial", "certificate"}

// ClientHeaderNames are all parts of a verified identity that a workload can see.
func ClientHeaderNames() []string { return slices.Clone(clientHeaderNames) }

func parseClientHeaders(value, apiVersion string) ([]string, *field.Error) {
	at := annotation(KeyClientHeaders)
	asked, err := items(at, value)
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(apiVersion, "/v1beta1") {
		return nil, field.Invalid(at, shown(value), "needs an APIRule of version v2: v1beta1 has no request headers that a rule sets")
	}
	var headers []string
	for _, name := range clientHeaderNames {
		if slices.Contains(asked, name) {
			headers = append(headers, name)
		}
	}
	for _, name := range asked {
		if !slices.Contains(clientHeaderNames, name) {
			return nil, field.NotSupported(at, shown(name), clientHeaderNames)
		}
	}
	return headers, nil
}

func parseAllowedClients(value string, o Object, p Platform) ([]string, *field.Error) {
	at := annotation(KeyAllowedClients)
	clients, err := items(at, value)
	if err != nil {
		return nil, err
	}
	names := []string{ProbeIdentity(p.TrustDomain)}
	for _, client := range clients {
		name, err := subjectAltName(at, client, o.Namespace, p.TrustDomain)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// subjectAltName is the name by which Istio recognizes a caller. Istio compares a
// DNS name in a certificate that begins with a wildcard with every name below it,
// so only exact names are taken.
func subjectAltName(at *field.Path, client, namespace, trustDomain string) (string, *field.Error) {
	if name, ok := strings.CutPrefix(client, "client/"); ok {
		if len(name) > validation.DNS1123LabelMaxLength || len(validation.IsDNS1123Subdomain(name)) > 0 {
			return "", field.Invalid(at, shown(client), "must be client/<name of a ClientCertificate>")
		}
		return ClientIdentity(trustDomain, namespace, name), nil
	}
	if strings.Contains(client, ":") {
		if err := spiffeError(client); err != "" {
			return "", field.Invalid(at, shown(client), err)
		}
		return client, nil
	}
	if len(validation.IsDNS1123Subdomain(client)) > 0 {
		return "", field.Invalid(at, shown(client), "must be client/<name>, spiffe://<trust domain>/<path>, or an exact DNS name in lower case")
	}
	return client, nil
}

// spiffeError holds a SPIFFE ID to SPIFFE-ID section 2: a trust domain, a path
// without empty or relative segments, and nothing else.
func spiffeError(id string) string {
	const form = "must be spiffe://<trust domain>/<path>"
	parsed, err := url.Parse(id)
	if err != nil || parsed.Scheme != "spiffe" || !strings.HasPrefix(id, "spiffe://") {
		return form
	}
	if len(id) > 2048 || parsed.Host == "" || parsed.User != nil || parsed.Port() != "" || strings.ContainsAny(id, "?#%") {
		return form + ", without user, port, query or escapes (SPIFFE-ID section 2)"
	}
	if parsed.Host != strings.ToLower(parsed.Host) {
		return form + " with the trust domain in lower case (SPIFFE-ID section 2.1)"
	}
	for _, segment := range strings.Split(strings.TrimPrefix(parsed.Path, "/"), "/") {
		if segment == "" || segment == "." || segment == ".." {
			return form + " without empty or relative segments (SPIFFE-ID section 2.2)"
		}
	}
	for _, r := range parsed.Host + parsed.Path {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_/", r) {
			return form + " of letters, digits, dots, hyphens and underscores (SPIFFE-ID section 2)"
		}
	}
	return ""
}
