package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What holds where a field is left out. The API server fills most of them in; the accessors below hold them for objects that
// never passed through it.
const (
	// DefaultRootLifetime is the life of one generation of a self-signed root.
	DefaultRootLifetime = 87600 * time.Hour
	// DefaultServerLifetime is the life of a server certificate.
	DefaultServerLifetime = 720 * time.Hour
	// DefaultClientLifetime is the life of a client certificate.
	DefaultClientLifetime = 2160 * time.Hour
	// DefaultClientMaxLifetime is the longest life a ClientCertificate may ask for.
	DefaultClientMaxLifetime = 8760 * time.Hour
	// DefaultRenewBeforePercentage is the share of its life a certificate has left when it is renewed.
	DefaultRenewBeforePercentage int32 = 33
	// DefaultCRLValidity is the time from a CRL's signature to its next update.
	DefaultCRLValidity = 720 * time.Hour
	// CRLRefreshDivisor makes the default of refreshEvery out of validity.
	CRLRefreshDivisor = 6
	// LeafDivisor makes the longest life of a certificate out of its issuer's.
	LeafDivisor = 6
	// DefaultMinimumOverlap is how long two generations are trusted together at least.
	DefaultMinimumOverlap = 24 * time.Hour
	// DefaultProofTimeout is how long an unknown proof holds a rotation up.
	DefaultProofTimeout = 168 * time.Hour
)

// ServerCertificateSettings says how certificates of gateways are issued.
type ServerCertificateSettings struct {
	// lifetime of a server certificate, unless the certificate-lifetime annotation asks for another. Default: 720h.
	// +optional
	// +kubebuilder:default="720h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,6}(\.[0-9]{1,9})?(h|m|s|ms))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s')",message="at least 1s"
	Lifetime *metav1.Duration `json:"lifetime,omitempty"`

	// renewBeforePercentage is the share of its life, in per cent, that a certificate has left when it is renewed. The moment
	// is earlier by a jitter derived from the object. Default: 33.
	// +optional
	// +kubebuilder:default=33
	// +kubebuilder:validation:Minimum=5
	// +kubebuilder:validation:Maximum=90
	RenewBeforePercentage *int32 `json:"renewBeforePercentage,omitempty"`

	// keyAlgorithm of the key, unless the key-algorithm annotation asks for another. Default: ECDSA-P256.
	// +optional
	// +kubebuilder:default=ECDSA-P256
	KeyAlgorithm KeyAlgorithm `json:"keyAlgorithm,omitempty"`
}

// ClientCertificateSettings says how certificates of callers are issued.
// +kubebuilder:validation:XValidation:rule="!has(self.lifetime) || !has(self.maxLifetime) || duration(self.lifetime) <= duration(self.maxLifetime)",messageExpression="'lifetime ' + self.lifetime + ' is longer than maxLifetime ' + self.maxLifetime",fieldPath=".lifetime"
type ClientCertificateSettings struct {
	// lifetime of a client certificate, unless the ClientCertificate asks for another. Default: 2160h.
	// +optional
	// +kubebuilder:default="2160h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,6}(\.[0-9]{1,9})?(h|m|s|ms))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s')",message="at least 1s"
	Lifetime *metav1.Duration `json:"lifetime,omitempty"`

	// maxLifetime is the longest life a ClientCertificate may ask for. Default: 8760h.
	// +optional
	// +kubebuilder:default="8760h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,6}(\.[0-9]{1,9})?(h|m|s|ms))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s')",message="at least 1s"
	MaxLifetime *metav1.Duration `json:"maxLifetime,omitempty"`

	// renewBeforePercentage is the share of its life, in per cent, that a certificate has left when it is renewed. The moment
	// is earlier by a jitter derived from the object. Default: 33.
	// +optional
	// +kubebuilder:default=33
	// +kubebuilder:validation:Minimum=5
	// +kubebuilder:validation:Maximum=90
	RenewBeforePercentage *int32 `json:"renewBeforePercentage,omitempty"`

	// keyAlgorithm of keys that the agent makes. Default: ECDSA-P256.
	// +optional
	// +kubebuilder:default=ECDSA-P256
	KeyAlgorithm KeyAlgorithm `json:"keyAlgorithm,omitempty"`

	// allowedNames are the DNS names that ClientCertificates may carry, each in one namespace.
	// +optional
	// +listType=map
	// +listMapKey=namespace
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	AllowedNames []AllowedName `json:"allowedNames,omitempty"`
}

// AllowedName lets the ClientCertificates of one namespace carry one DNS name.
type AllowedName struct {
	// namespace of the ClientCertificates.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`

	// name is the DNS name, exact, lower-case, without a wildcard.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`
	Name string `json:"name"`
}

// RevocationMode says how gateways learn that a certificate is revoked.
// +kubebuilder:validation:Enum=CRL;None
type RevocationMode string

// The modes of revocation.
const (
	// RevocationCRL gives every gateway one fresh CRL for every CA it trusts.
	RevocationCRL RevocationMode = "CRL"
	// RevocationNone gives gateways no CRL: a certificate is good until it ends.
	RevocationNone RevocationMode = "None"
)

// RevocationSettings says how gateways learn that a certificate is revoked.
// +kubebuilder:validation:XValidation:rule="!has(self.serials) || size(self.serials) == 0 || !has(self.mode) || self.mode != 'None'",message="gateways heed no revocation with mode None: ask for CRL, or list no serials",fieldPath=".serials"
// +kubebuilder:validation:XValidation:rule="!has(self.refreshEvery) || duration(self.refreshEvery).getMilliseconds() * 2 <= duration(self.validity).getMilliseconds()",messageExpression="'refreshEvery ' + self.refreshEvery + ' is longer than half of validity ' + self.validity + ': a CRL that ends before it is replaced makes gateways refuse every caller'",fieldPath=".refreshEvery"
type RevocationSettings struct {
	// mode of revocation. Default for SelfSigned without trustedCertificates: CRL. It must be stated otherwise.
	// +optional
	Mode RevocationMode `json:"mode,omitempty"`

	// validity is the time from a CRL's signature to its next update. The agent may be gone for that long, less one refresh,
	// without any effect. Default: 720h.
	// +optional
	// +kubebuilder:default="720h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,6}(\.[0-9]{1,9})?(h|m|s|ms))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s')",message="at least 1s"
	Validity *metav1.Duration `json:"validity,omitempty"`

	// refreshEvery is the time between two signatures of a CRL, half of validity at most. Default: a sixth of validity.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,6}(\.[0-9]{1,9})?(h|m|s|ms))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('100ms')",message="at least 100ms"
	RefreshEvery *metav1.Duration `json:"refreshEvery,omitempty"`

	// serials are certificates to revoke whatever their ClientCertificate says, as lower-case hexadecimal serial numbers.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:Pattern=`^0*[1-9a-f][0-9a-f]*$`
	// +kubebuilder:validation:items:MaxLength=40
	Serials []string `json:"serials,omitempty"`
}
