package install

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/pkg/intent"
)

// maxSize bounds the settings before they are decoded, in bytes: hundreds of ingresses
// fit, and the worst that does takes less than ten milliseconds (BenchmarkMost).
const maxSize = 48 << 10

// Settings are the platform's install settings. Only Parse makes a useful one.
type Settings struct {
	trustDomain      string
	defaultAuthority types.NamespacedName
	ingresses        []ingress.Ingress
	copyAnnotations  AnnotationRules
}

// TrustDomain is the SPIFFE trust domain of every identity this install issues.
func (s Settings) TrustDomain() string { return s.trustDomain }

// DefaultAuthority is the CertificateAuthority of objects that name none; false
// when the platform has no such authority and each namespace gets its own.
func (s Settings) DefaultAuthority() (types.NamespacedName, bool) {
	return s.defaultAuthority, s.defaultAuthority.Name != ""
}

// Ingresses are the gateway pods this install serves; at least one. Callers must
// not change the slice.
func (s Settings) Ingresses() []ingress.Ingress { return s.ingresses }

// CopyAnnotations says which annotations of an APIRule its managed Gateway carries.
func (s Settings) CopyAnnotations() AnnotationRules { return s.copyAnnotations }

// Platform is what the platform decided for objects that say nothing. The Namespace's
// part of it is not the platform's.
func (s Settings) Platform() intent.Platform {
	return intent.Platform{TrustDomain: s.trustDomain, DefaultAuthority: s.defaultAuthority}
}

// IngressNamespaces are the namespaces of the ingresses, each once, in order.
func (s Settings) IngressNamespaces() []string {
	var namespaces []string
	seen := map[string]bool{}
	for _, i := range s.ingresses {
		if !seen[i.Namespace] {
			seen[i.Namespace] = true
			namespaces = append(namespaces, i.Namespace)
		}
	}
	return namespaces
}

// file is the shape of config.yaml; Settings is the same once it is known to be right.
type file struct {
	TrustDomain      string        `json:"trustDomain"`
	DefaultAuthority string        `json:"defaultAuthority"`
	Ingresses        []fileIngress `json:"ingresses"`
	CopyAnnotations  []string      `json:"copyAnnotations"`
}

type fileIngress struct {
	Name          string            `json:"name"`
	Namespace     string            `json:"namespace"`
	Selector      map[string]string `json:"selector"`
	ProxyProtocol bool              `json:"proxyProtocol"`
}

// Parse reads the settings from YAML. A key it does not know is an error: a
// misspelt one would otherwise silently mean the default.
func Parse(data []byte) (Settings, error) {
	if len(data) > maxSize {
		return Settings{}, fmt.Errorf("reading install settings: %d bytes, at most %d are read", len(data), maxSize)
	}
	f, err := decode(data)
	if err != nil {
		return Settings{}, fmt.Errorf("reading install settings: %w", err)
	}
	var errs field.ErrorList
	s := Settings{trustDomain: f.TrustDomain}
	errs = append(errs, trustDomainErrors(field.NewPath("trustDomain"), f.TrustDomain)...)
	authority, authorityErr := parseAuthority(field.NewPath("defaultAuthority"), f.DefaultAuthority)
	if authorityErr != nil {
		errs = append(errs, authorityErr)
	}
	s.defaultAuthority = authority
	ingresses, ingressErrs := parseIngresses(field.NewPath("ingresses"), f.Ingresses)
	errs = append(errs, ingressErrs...)
	s.ingresses = ingresses
	rules, ruleErrs := parseAnnotationRules(field.NewPath("copyAnnotations"), f.CopyAnnotations)
	errs = append(errs, ruleErrs...)
	s.copyAnnotations = rules
	if len(errs) > 0 {
		return Settings{}, fmt.Errorf("reading install settings: %w", joinFieldErrors(errs))
	}
	return s, nil
}

// decode takes keys as they are spelt. The YAML library's own strict decoding
// would take trustdomain for trustDomain.
func decode(data []byte) (file, error) {
	var f file
	asJSON, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return file{}, err
	}
	strict, err := kjson.UnmarshalStrict(asJSON, &f)
	if err != nil {
		return file{}, err
	}
	return f, errors.Join(strict...)
}

// joinFieldErrors keeps the order of the file, which ToAggregate does not promise.
func joinFieldErrors(errs field.ErrorList) error {
	joined := make([]error, len(errs))
	for i, err := range errs {
		joined[i] = err
	}
	return errors.Join(joined...)
}

// trustDomainErrors holds the trust domain to what SPIFFE-ID section 2.1 allows
// (lower-case letters, digits, '.', '-', '_'; 255 bytes). Anything else would end
// up in certificates that other verifiers refuse.
func trustDomainErrors(at *field.Path, domain string) field.ErrorList {
	if domain == "" {
		return field.ErrorList{field.Required(at, "the SPIFFE trust domain of the identities this install issues, such as \"example.com\"")}
	}
	if len(domain) > 255 {
		return field.ErrorList{field.TooLong(at, domain, 255)}
	}
	for _, r := range domain {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_' {
			return field.ErrorList{field.Invalid(at, domain, fmt.Sprintf("must consist of lower-case letters, digits, '.', '-' and '_'; found %q", r))}
		}
	}
	return nil
}

func parseAuthority(at *field.Path, value string) (types.NamespacedName, *field.Error) {
	if value == "" {
		return types.NamespacedName{}, nil
	}
	namespace, name, ok := strings.Cut(value, "/")
	if !ok {
		return types.NamespacedName{}, field.Invalid(at, value, "must be <namespace>/<name> of a CertificateAuthority")
	}
	if len(validation.IsDNS1123Label(namespace)) > 0 {
		return types.NamespacedName{}, field.Invalid(at, value, fmt.Sprintf("%q is not a namespace name", namespace))
	}
	if len(validation.IsDNS1123Subdomain(name)) > 0 {
		return types.NamespacedName{}, field.Invalid(at, value, fmt.Sprintf("%q is not an object name", name))
	}
	return types.NamespacedName{Namespace: namespace, Name: name}, nil
}
