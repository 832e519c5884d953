package intent

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Mode is what an object asks of its callers.
type Mode string

// The modes.
const (
	// ModeMutual refuses callers without a certificate.
	ModeMutual Mode = "mutual"
	// ModeOptional verifies a certificate where there is one.
	ModeOptional Mode = "optional"
	// ModeDisabled opts out explicitly.
	ModeDisabled Mode = "disabled"
)

// TLSVersion is the lowest TLS version that a server accepts.
type TLSVersion string

// The versions.
const (
	// TLS12 is TLS 1.2, the default.
	TLS12 TLSVersion = "TLSv1.2"
	// TLS13 is TLS 1.3.
	TLS13 TLSVersion = "TLSv1.3"
)

// Istio is the version as minProtocolVersion of a Gateway spells it.
func (v TLSVersion) Istio() string {
	if v == TLS13 {
		return "TLSV1_3"
	}
	return "TLSV1_2"
}

// Object is what of a Gateway or an APIRule carries its wishes.
type Object struct {
	// Kind of the object.
	Kind Kind
	// APIVersion in which it was written, with its group.
	APIVersion string
	// Namespace and Name of the object.
	Namespace, Name string
	// Annotations and Labels of the object.
	Annotations, Labels map[string]string
}

// Platform is what the platform decided for objects that say nothing.
type Platform struct {
	// TrustDomain of the identities of callers.
	TrustDomain string
	// DefaultAuthority is for objects that name none; zero if the platform has none.
	DefaultAuthority types.NamespacedName
	// NamespaceMode is the value of the label LabelDefaultMode of the object's
	// Namespace; empty if it has none.
	NamespaceMode string
}

// State says what Parse made of an object.
type State string

// The states.
const (
	// NotRequested says that nobody asked for anything.
	NotRequested State = "NotRequested"
	// Disabled says that the object opts out explicitly.
	Disabled State = "Disabled"
	// Requested says that the object asks for mutual TLS and says how.
	Requested State = "Requested"
	// Invalid says that what the object asks for cannot be read, or is not
	// supported.
	Invalid State = "Invalid"
)

// Answer is what Parse made of an object.
type Answer struct {
	state  State
	intent Intent
	errs   field.ErrorList
}

// State says which of the four it is.
func (a Answer) State() State { return a.state }

// Intent is what the object asks for; false unless it is Requested.
func (a Answer) Intent() (Intent, bool) { return a.intent, a.state == Requested }

// Errors are what is wrong, each once, in the order of the keys; empty unless the
// answer is Invalid.
func (a Answer) Errors() field.ErrorList { return a.errs }

// Intent is what an opted-in object asks for. Only Parse makes a useful one.
type Intent struct {
	mode             Mode
	fromNamespace    bool
	authorities      []types.NamespacedName
	authorityImplied bool
	provided         bool
	credentialName   string
	minTLS           TLSVersion
	keyAlgorithm     string
	lifetime         time.Duration
	allowedClients   []string
	clientHeaders    []string
}

// Mode is ModeMutual or ModeOptional.
func (i Intent) Mode() Mode { return i.mode }

// FromNamespace reports whether the label of the Namespace asked, and not the
// object. The annotation is then stamped onto the object, so that a later change
// of the label does not open what is closed.
func (i Intent) FromNamespace() bool { return i.fromNamespace }

// Authority is the first of the authorities: it issues the server certificate, or is about to.
func (i Intent) Authority() types.NamespacedName {
	if len(i.authorities) == 0 {
		return types.NamespacedName{}
	}
	return i.authorities[0]
}

// Authorities are those whose callers are accepted, at least one. Callers must not change the slice.
func (i Intent) Authorities() []types.NamespacedName { return i.authorities }

// AuthorityImplied reports whether neither the object nor the platform named an
// authority: it is the one called default in the object's namespace, and it is
// made on first use.
func (i Intent) AuthorityImplied() bool { return i.authorityImplied }

// Provided reports whether the server certificate is somebody else's: only what verifies callers is
// ours then.
func (i Intent) Provided() bool { return i.provided }

// ServerCredentialName is the Secret with the provided server certificate of a managed Gateway;
// empty if there is none, or if the Gateway names it itself.
func (i Intent) ServerCredentialName() string { return i.credentialName }

// MinTLS is the lowest TLS version that is accepted.
func (i Intent) MinTLS() TLSVersion { return i.minTLS }

// KeyAlgorithm is that of the server's key; false if the authority decides.
func (i Intent) KeyAlgorithm() (string, bool) { return i.keyAlgorithm, i.keyAlgorithm != "" }

// CertificateLifetime is the life of the server certificate, at least a minute;
// false if the authority decides.
func (i Intent) CertificateLifetime() (time.Duration, bool) { return i.lifetime, i.lifetime != 0 }

// AllowedClients are the subject alternative names of the only callers that are
// accepted, sorted, with the agent's own probe identity among them; nil if every
// caller of the authority is. Callers must not change the slice.
func (i Intent) AllowedClients() []string { return i.allowedClients }

// ClientHeaders are the parts of the verified identity that the workload sees, in
// the order of ClientHeaderNames; nil if none. Callers must not change the slice.
func (i Intent) ClientHeaders() []string { return i.clientHeaders }
