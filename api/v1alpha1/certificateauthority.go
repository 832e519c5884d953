package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// CertificateAuthority is one trust domain for the callers of some gateways: it issues their client certificates, the
// gateways' server certificates, and the list of what was revoked.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=certificateauthorities,shortName=mca,scope=Namespaced,categories=sallyport
// +kubebuilder:printcolumn:name="Source",type=string,JSONPath=`.spec.source.type`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Rotating",type=string,JSONPath=`.status.conditions[?(@.type=="Rotating")].reason`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.notAfter`
// +kubebuilder:printcolumn:name="Endpoints",type=integer,JSONPath=`.status.endpoints`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63 && !self.metadata.name.contains('.')",message="the name of a CertificateAuthority has at most 63 characters and no dot"
type CertificateAuthority struct {
	metav1.TypeMeta `json:",inline"`

	// metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what is asked for.
	// +required
	Spec CertificateAuthoritySpec `json:"spec"`

	// status is what was found, written by the agent.
	// +optional
	Status CertificateAuthorityStatus `json:"status,omitempty"`
}

// CertificateAuthorityList is a list of CertificateAuthorities.
// +kubebuilder:object:root=true
type CertificateAuthorityList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata of the list.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	// items of the list.
	Items []CertificateAuthority `json:"items"`
}

// CertificateAuthoritySpec is what is asked of an authority.
//
// A certificate may live for a sixth of its issuer's life at most: the last sixth is when a new generation is already
// active, so that no certificate is cut short by its issuer's end. The factor is in the rules below.
//
// +kubebuilder:validation:XValidation:rule="self.source.type != 'SelfSigned' || duration(self.serverCertificates.lifetime).getMilliseconds() * 6 <= duration(has(self.source.selfSigned) ? self.source.selfSigned.lifetime : '87600h').getMilliseconds()",messageExpression="'serverCertificates.lifetime is ' + self.serverCertificates.lifetime + ', and at most a sixth of the life of the authority, which is ' + (has(self.source.selfSigned) ? self.source.selfSigned.lifetime : '87600h')",fieldPath=".serverCertificates.lifetime"
// +kubebuilder:validation:XValidation:rule="self.source.type != 'SelfSigned' || duration(self.clientCertificates.maxLifetime).getMilliseconds() * 6 <= duration(has(self.source.selfSigned) ? self.source.selfSigned.lifetime : '87600h').getMilliseconds()",messageExpression="'clientCertificates.maxLifetime is ' + self.clientCertificates.maxLifetime + ', and at most a sixth of the life of the authority, which is ' + (has(self.source.selfSigned) ? self.source.selfSigned.lifetime : '87600h')",fieldPath=".clientCertificates.maxLifetime"
// +kubebuilder:validation:XValidation:rule="has(self.revocation.mode) || (self.source.type == 'SelfSigned' && (!has(self.trustedCertificates) || size(self.trustedCertificates) == 0))",message="state revocation.mode: with this source, or with trustedCertificates, every CA up to each root needs a CRL of its own (CRL), or none is checked (None)",fieldPath=".revocation"
// +kubebuilder:validation:XValidation:rule="!has(self.revocation.mode) || self.revocation.mode != 'None' || !has(self.trustedCertificates) || self.trustedCertificates.all(t, !has(t.crl) && !has(t.crlConfigMapKeyRef))",message="with revocation.mode None gateways check no CRL: leave out crl and crlConfigMapKeyRef of every entry, or ask for CRL",fieldPath=".trustedCertificates"
// +kubebuilder:validation:XValidation:rule="!has(self.revocation.mode) || self.revocation.mode != 'CRL' || !has(self.trustedCertificates) || self.trustedCertificates.all(t, has(t.crl) || has(t.crlConfigMapKeyRef))",message="with revocation.mode CRL gateways refuse every caller of a CA without one: state crl or crlConfigMapKeyRef for every entry, or ask for None",fieldPath=".trustedCertificates"
// +kubebuilder:validation:XValidation:rule="self.source.type == 'SelfSigned' || !has(self.rotation.rotateAfter)",message="rotateAfter goes with source.type SelfSigned: whoever brings the CA replaces it by bringing another one",fieldPath=".rotation.rotateAfter"
// +kubebuilder:validation:XValidation:rule="self.source.type != 'TrustOnly' || (has(self.trustedCertificates) && size(self.trustedCertificates) > 0)",message="with source.type TrustOnly these are all there is: state one at least",fieldPath=".trustedCertificates"
// +kubebuilder:validation:XValidation:rule="self.source.type != 'TrustOnly' || !has(self.revocation.serials) || size(self.revocation.serials) == 0",message="with source.type TrustOnly no CRL is signed here: whoever issued the certificate revokes it",fieldPath=".revocation.serials"
type CertificateAuthoritySpec struct {
	// source is where the authority's key comes from. Immutable.
	// +required
	Source AuthoritySource `json:"source"`

	// trustedCertificates are further CAs whose client certificates the gateways accept, such as a partner's. They are never
	// published as trust for callers. They cannot be combined with allowed-clients or client-headers on a gateway, because a
	// foreign CA can mint any name.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	TrustedCertificates []TrustedCertificate `json:"trustedCertificates,omitempty"`

	// serverCertificates says how certificates of gateways are issued.
	// +optional
	// +kubebuilder:default={}
	ServerCertificates ServerCertificateSettings `json:"serverCertificates,omitempty"`

	// clientCertificates says how certificates of callers are issued.
	// +optional
	// +kubebuilder:default={}
	ClientCertificates ClientCertificateSettings `json:"clientCertificates,omitempty"`

	// revocation says how gateways learn that a certificate is revoked.
	// +optional
	// +kubebuilder:default={}
	Revocation RevocationSettings `json:"revocation,omitempty"`

	// rotation says how one generation of the authority gives way to the next.
	// +optional
	// +kubebuilder:default={}
	Rotation RotationSettings `json:"rotation,omitempty"`

	// allowedGateways says which Gateways and APIRules may use this authority. Default: those of its own namespace.
	// +optional
	// +kubebuilder:default={}
	AllowedGateways AllowedReferences `json:"allowedGateways,omitempty"`

	// allowedClients says which ClientCertificates may use this authority. Default: those of its own namespace.
	// +optional
	// +kubebuilder:default={}
	AllowedClients AllowedReferences `json:"allowedClients,omitempty"`
}

// SourceType says where an authority's key comes from.
// +kubebuilder:validation:Enum=SelfSigned;Secret;Directory;TrustOnly
type SourceType string

// The sources.
const (
	// SourceSelfSigned is a root that the agent makes and keeps in its ledger.
	SourceSelfSigned SourceType = "SelfSigned"
	// SourceSecret is a CA pair that the team brings in a Secret of the same namespace.
	SourceSecret SourceType = "Secret"
	// SourceDirectory is a CA pair that is mounted into the agent.
	SourceDirectory SourceType = "Directory"
	// SourceTrustOnly is no pair at all: callers issued elsewhere are verified, nothing is issued.
	SourceTrustOnly SourceType = "TrustOnly"
)

// AuthoritySource is where an authority's key comes from: the type, and the block of that name.
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="source is immutable: make another CertificateAuthority and add it in front of this one"
// +kubebuilder:validation:XValidation:rule="self.type == 'SelfSigned' || !has(self.selfSigned)",message="selfSigned goes with type: SelfSigned only"
// +kubebuilder:validation:XValidation:rule="(self.type == 'Secret') == has(self.secret)",message="secret goes with type: Secret, and only with it"
// +kubebuilder:validation:XValidation:rule="(self.type == 'Directory') == has(self.directory)",message="directory goes with type: Directory, and only with it"
type AuthoritySource struct {
	// type of the source.
	// +required
	Type SourceType `json:"type"`

	// selfSigned describes the root that the agent makes. With type: SelfSigned only; its defaults hold when it is left out.
	// +optional
	SelfSigned *SelfSignedSource `json:"selfSigned,omitempty"`

	// secret names a Secret of the same namespace with tls.crt, tls.key, and for a CA below a root ca.crt with those above it
	// and ca.crl with their CRLs. It must carry the annotation mtls.sallyport.dev/use-as-ca with this authority's name, so that
	// nobody makes us sign with a Secret its owner did not offer.
	// +optional
	Secret *LocalObjectReference `json:"secret,omitempty"`

	// directory names a CA pair mounted into the agent. Only in the agent's own namespace.
	// +optional
	Directory *LocalObjectReference `json:"directory,omitempty"`
}

// SelfSignedSource describes a root that the agent makes.
type SelfSignedSource struct {
	// lifetime of each generation of the root. Default: 87600h.
	// +optional
	// +kubebuilder:default="87600h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,6}(\.[0-9]{1,9})?(h|m|s|ms))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s')",message="at least 1s"
	Lifetime *metav1.Duration `json:"lifetime,omitempty"`

	// keyAlgorithm of the root's key. Default: ECDSA-P256.
	// +optional
	// +kubebuilder:default=ECDSA-P256
	KeyAlgorithm KeyAlgorithm `json:"keyAlgorithm,omitempty"`
}

// TrustedCertificate is a further CA whose client certificates gateways accept.
// +kubebuilder:validation:XValidation:rule="has(self.certificate) != has(self.configMapKeyRef)",message="state either certificate or configMapKeyRef"
// +kubebuilder:validation:XValidation:rule="!(has(self.crl) && has(self.crlConfigMapKeyRef))",message="state crl or crlConfigMapKeyRef, not both"
type TrustedCertificate struct {
	// name of the entry, used in conditions and metrics.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`
	Name string `json:"name"`

	// certificate is the CA in PEM, with every CA above it up to the root.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32768
	Certificate string `json:"certificate,omitempty"`

	// configMapKeyRef names a key of a ConfigMap of the same namespace that holds the same.
	// +optional
	ConfigMapKeyRef *KeyReference `json:"configMapKeyRef,omitempty"`

	// crl is one fresh CRL in PEM for every CA of this entry.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=262144
	CRL string `json:"crl,omitempty"`

	// crlConfigMapKeyRef names a key of a ConfigMap of the same namespace that holds the same.
	// +optional
	CRLConfigMapKeyRef *KeyReference `json:"crlConfigMapKeyRef,omitempty"`
}
