package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ClientCertificate is one caller. Its identity is derived, never requested: the URI
// spiffe://TRUSTDOMAIN/ns/NAMESPACE/client/NAME, and the name as common name.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=clientcertificates,shortName=mcc,scope=Namespaced,categories=sallyport
// +kubebuilder:printcolumn:name="Authority",type=string,JSONPath=`.spec.authorityRef.name`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.notAfter`
// +kubebuilder:printcolumn:name="Renewal",type=string,JSONPath=`.status.renewalTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="the name of a ClientCertificate becomes the common name of its certificate and has at most 63 characters"
type ClientCertificate struct {
	metav1.TypeMeta `json:",inline"`

	// metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what is asked for.
	// +required
	Spec ClientCertificateSpec `json:"spec"`

	// status is what was found, written by the agent.
	// +optional
	Status ClientCertificateStatus `json:"status,omitempty"`
}

// ClientCertificateList is a list of ClientCertificates.
// +kubebuilder:object:root=true
type ClientCertificateList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata of the list.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	// items of the list.
	Items []ClientCertificate `json:"items"`
}

// DeletionPolicy says what the deletion of a ClientCertificate means for its certificates.
// +kubebuilder:validation:Enum=Retain;Revoke
type DeletionPolicy string

// The deletion policies.
const (
	// DeletionRetain lets certificates live on to their end, so that a pruned manifest never cuts a partner off.
	DeletionRetain DeletionPolicy = "Retain"
	// DeletionRevoke revokes every certificate of the identity that has not ended.
	DeletionRevoke DeletionPolicy = "Revoke"
)

// ClientCertificateSpec is what is asked for.
// +kubebuilder:validation:XValidation:rule="has(self.secretName) != has(self.csr)",message="state either secretName (the agent makes the key) or csr (the key never enters the cluster)"
// +kubebuilder:validation:XValidation:rule="self.authorityRef == oldSelf.authorityRef",message="authorityRef is immutable: make another ClientCertificate",fieldPath=".authorityRef"
// +kubebuilder:validation:XValidation:rule="has(self.csr) == has(oldSelf.csr) && (!has(self.csr) || self.csr == oldSelf.csr)",message="csr is immutable: make another ClientCertificate for another key",fieldPath=".csr"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.revocation) || (has(self.revocation) && self.revocation == oldSelf.revocation)",message="a revocation cannot be taken back or changed: make another ClientCertificate",fieldPath=".revocation"
// +kubebuilder:validation:XValidation:rule="!has(self.keystore) || has(self.secretName)",message="keystore goes with secretName: with csr the agent has no key to put into it",fieldPath=".keystore"
type ClientCertificateSpec struct {
	// authorityRef names the CertificateAuthority that issues. Immutable.
	// +required
	AuthorityRef AuthorityReference `json:"authorityRef"`

	// lifetime of the certificate, within the authority's maxLifetime. Default: the authority's
	// clientCertificates.lifetime.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,6}(\.[0-9]{1,9})?(h|m|s|ms))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s')",message="at least 1s"
	Lifetime *metav1.Duration `json:"lifetime,omitempty"`

	// dnsNames the certificate carries beside its identity: exact, lower-case, no wildcards, because Istio matches a wildcard
	// name against every name below it. Each must be in the authority's allowedNames for this namespace.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.all(n, !n.contains('*'))",message="wildcards are not issued to callers: Istio would match one against every name below it"
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9*]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`
	DNSNames []string `json:"dnsNames,omitempty"`

	// secretName is the Secret of this namespace in which the agent keeps the pair: tls.crt (leaf and chain), tls.key, ca.crt.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`
	// +kubebuilder:validation:XValidation:rule="!self.endsWith('-cacert') && !self.endsWith('.mtls')",message="names that end in -cacert or .mtls belong to gateways: a gateway would read this Secret as its own"
	SecretName string `json:"secretName,omitempty"`

	// keystore adds a key store to the Secret.
	// +optional
	Keystore *KeystoreSettings `json:"keystore,omitempty"`

	// csr is a certificate request in PEM. Its own signature must verify; only its public key is used. Immutable.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16384
	// +kubebuilder:validation:XValidation:rule="self.trim().startsWith('-----BEGIN CERTIFICATE REQUEST-----')",message="csr is one PEM block of type CERTIFICATE REQUEST"
	CSR string `json:"csr,omitempty"`

	// revocation ends the identity: every certificate of it that has not ended is revoked, and none is issued again. It cannot
	// be taken back.
	// +optional
	Revocation *ClientRevocation `json:"revocation,omitempty"`

	// deletionPolicy says what the deletion of this object means for its certificates. Default: Retain.
	// +optional
	// +kubebuilder:default=Retain
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// KeystoreSettings describes a key store beside the PEM files.
type KeystoreSettings struct {
	// passwordSecretRef names the key of a Secret of this namespace that holds the password of keystore.p12.
	// +required
	PasswordSecretRef KeyReference `json:"passwordSecretRef"`
}

// RevocationReason is a reason code of RFC 5280, section 5.3.1.
// +kubebuilder:validation:Enum=Unspecified;KeyCompromise;AffiliationChanged;Superseded;CessationOfOperation;PrivilegeWithdrawn
type RevocationReason string

// The reasons of a revocation.
const (
	// RevokedUnspecified gives no reason.
	RevokedUnspecified RevocationReason = "Unspecified"
	// RevokedKeyCompromise says that somebody else may hold the private key.
	RevokedKeyCompromise RevocationReason = "KeyCompromise"
	// RevokedAffiliationChanged says that the caller now belongs to somebody else.
	RevokedAffiliationChanged RevocationReason = "AffiliationChanged"
	// RevokedSuperseded says that another certificate took its place.
	RevokedSuperseded RevocationReason = "Superseded"
	// RevokedCessationOfOperation says that the caller is gone.
	RevokedCessationOfOperation RevocationReason = "CessationOfOperation"
	// RevokedPrivilegeWithdrawn says that the caller may not call any more.
	RevokedPrivilegeWithdrawn RevocationReason = "PrivilegeWithdrawn"
)

// ClientRevocation ends an identity.
type ClientRevocation struct {
	// reason that the CRL states.
	// +required
	Reason RevocationReason `json:"reason"`
}

// ClientCertificateStatus is what was found, written by the agent.
type ClientCertificateStatus struct {
	// identity is the URI the certificate carries.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Identity string `json:"identity,omitempty"`

	// certificate is leaf and chain in PEM. With csr only.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	Certificate string `json:"certificate,omitempty"`

	// serial of the current certificate, in lower-case hexadecimal.
	// +optional
	// +kubebuilder:validation:MaxLength=40
	Serial string `json:"serial,omitempty"`

	// dnsNames that the current certificate carries. No other namespace gets one for them until it has ended.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=253
	DNSNames []string `json:"dnsNames,omitempty"`

	// authorityKeyID is the subject key id of the generation that issued it, in lower-case hexadecimal.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	AuthorityKeyID string `json:"authorityKeyID,omitempty"`

	// notBefore of the current certificate.
	// +optional
	NotBefore *metav1.Time `json:"notBefore,omitempty"`

	// notAfter of the current certificate.
	// +optional
	NotAfter *metav1.Time `json:"notAfter,omitempty"`

	// renewalTime is when it will be renewed.
	// +optional
	RenewalTime *metav1.Time `json:"renewalTime,omitempty"`

	// previousNotAfter is the end of the certificate before the current one, which a caller with a key of its own uses until it
	// fetches the current one. With csr only.
	// +optional
	PreviousNotAfter *metav1.Time `json:"previousNotAfter,omitempty"`

	// conditions: Ready, SecretAccessDenied, ConflictingWriter.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
