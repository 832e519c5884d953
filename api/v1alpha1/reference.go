package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// KeyAlgorithm names the algorithm and size of a private key, in the words of the key-algorithm annotation.
// +kubebuilder:validation:Enum=ECDSA-P256;ECDSA-P384;RSA-2048;RSA-3072;RSA-4096
type KeyAlgorithm string

// The key algorithms.
const (
	// KeyECDSAP256 is ECDSA on the curve P-256, the default everywhere.
	KeyECDSAP256 KeyAlgorithm = "ECDSA-P256"
	// KeyECDSAP384 is ECDSA on the curve P-384.
	KeyECDSAP384 KeyAlgorithm = "ECDSA-P384"
	// KeyRSA2048 is RSA with a modulus of 2048 bits.
	KeyRSA2048 KeyAlgorithm = "RSA-2048"
	// KeyRSA3072 is RSA with a modulus of 3072 bits.
	KeyRSA3072 KeyAlgorithm = "RSA-3072"
	// KeyRSA4096 is RSA with a modulus of 4096 bits.
	KeyRSA4096 KeyAlgorithm = "RSA-4096"
)

// AuthorityReference names a CertificateAuthority.
type AuthorityReference struct {
	// namespace of the CertificateAuthority. Default: the namespace of the object that refers to it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`

	// name of the CertificateAuthority.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// LocalObjectReference names an object in the namespace of the one that refers to it.
type LocalObjectReference struct {
	// name of the object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// KeyReference names one key of a ConfigMap or Secret in the namespace of the object that refers to it.
type KeyReference struct {
	// name of the ConfigMap or Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// key inside its data.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key"`
}

// NamespacesFrom says how a set of namespaces is chosen.
// +kubebuilder:validation:Enum=Same;All;Selector
type NamespacesFrom string

// The ways to choose namespaces.
const (
	// NamespacesSame is the namespace of the object itself.
	NamespacesSame NamespacesFrom = "Same"
	// NamespacesAll is every namespace.
	NamespacesAll NamespacesFrom = "All"
	// NamespacesSelector is every namespace whose labels the selector matches.
	NamespacesSelector NamespacesFrom = "Selector"
)

// AllowedNamespaces is a set of namespaces.
// +kubebuilder:validation:XValidation:rule="(has(self.from) && self.from == 'Selector') == has(self.selector)",message="selector goes with from: Selector, and only with it"
type AllowedNamespaces struct {
	// from says how the namespaces are chosen. Default: Same.
	// +optional
	// +kubebuilder:default=Same
	From NamespacesFrom `json:"from,omitempty"`

	// selector matches labels of Namespaces. With from: Selector only.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// AllowedReferences says which objects may use an authority.
type AllowedReferences struct {
	// namespaces in which those objects may live. Default: the authority's own.
	// +optional
	// +kubebuilder:default={}
	Namespaces AllowedNamespaces `json:"namespaces,omitempty"`
}
