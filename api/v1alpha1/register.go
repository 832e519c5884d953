package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group of all our kinds.
const GroupName = "mtls.sallyport.dev"

// Kinds, as they stand in an object's kind field.
const (
	// KindCertificateAuthority is the kind of a CertificateAuthority.
	KindCertificateAuthority = "CertificateAuthority"
	// KindClientCertificate is the kind of a ClientCertificate.
	KindClientCertificate = "ClientCertificate"
	// KindMutualTLSEndpoint is the kind of a MutualTLSEndpoint.
	KindMutualTLSEndpoint = "MutualTLSEndpoint"
	// KindMutualTLSPolicy is the kind of a MutualTLSPolicy.
	KindMutualTLSPolicy = "MutualTLSPolicy"
)

// GroupVersion is the group and version of the kinds in this package.
var GroupVersion = schema.GroupVersion{Group: GroupName, Version: "v1alpha1"}

// AddToScheme teaches a scheme the kinds of this package.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&CertificateAuthority{}, &CertificateAuthorityList{},
		&ClientCertificate{}, &ClientCertificateList{},
		&MutualTLSEndpoint{}, &MutualTLSEndpointList{},
		&MutualTLSPolicy{}, &MutualTLSPolicyList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
