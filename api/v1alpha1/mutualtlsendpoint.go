package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MutualTLSEndpoint is the standing state of one opted-in Gateway or APIRule. The agent alone writes it; the object it stands
// for owns it. It is named gateway-NAME or apirule-NAME.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=mutualtlsendpoints,shortName=mte,scope=Namespaced,categories=sallyport
// +kubebuilder:printcolumn:name="Kind",type=string,JSONPath=`.spec.objectRef.kind`
// +kubebuilder:printcolumn:name="Object",type=string,JSONPath=`.spec.objectRef.name`
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.status.mode`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Proven",type=string,JSONPath=`.status.conditions[?(@.type=="Proven")].status`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.serverCertificate.notAfter`
// +kubebuilder:printcolumn:name="Hosts",type=string,JSONPath=`.status.hosts`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type MutualTLSEndpoint struct {
	metav1.TypeMeta `json:",inline"`

	// metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec names the object it stands for.
	// +required
	Spec MutualTLSEndpointSpec `json:"spec"`

	// status is what was found, written by the agent.
	// +optional
	Status MutualTLSEndpointStatus `json:"status,omitempty"`
}

// MutualTLSEndpointList is a list of MutualTLSEndpoints.
// +kubebuilder:object:root=true
type MutualTLSEndpointList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata of the list.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	// items of the list.
	Items []MutualTLSEndpoint `json:"items"`
}

// ObjectKind is the kind of an object that can opt in.
// +kubebuilder:validation:Enum=Gateway;APIRule
type ObjectKind string

// The kinds that can opt in.
const (
	// ObjectGateway is an Istio Gateway.
	ObjectGateway ObjectKind = "Gateway"
	// ObjectAPIRule is a Kyma APIRule.
	ObjectAPIRule ObjectKind = "APIRule"
)

// ObjectReference names an opted-in object of the same namespace.
type ObjectReference struct {
	// kind of the object.
	// +required
	Kind ObjectKind `json:"kind"`

	// name of the object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// MutualTLSEndpointSpec names the object an endpoint stands for.
type MutualTLSEndpointSpec struct {
	// objectRef names the opted-in object. Immutable.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="objectRef is immutable"
	ObjectRef ObjectReference `json:"objectRef"`
}

// EndpointMode is what an endpoint asks of its callers.
// +kubebuilder:validation:Enum=Mutual;Optional
type EndpointMode string

// The modes of an endpoint.
const (
	// ModeMutual refuses callers without a certificate.
	ModeMutual EndpointMode = "Mutual"
	// ModeOptional verifies a certificate where there is one.
	ModeOptional EndpointMode = "Optional"
)

// NamespacedReference names an object in a namespace.
type NamespacedReference struct {
	// namespace of the object.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`

	// name of the object.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// EndpointSecrets are the Secrets of an endpoint in one ingress namespace.
type EndpointSecrets struct {
	// namespace of the ingress.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`

	// server is the name of the Secret with the server certificate.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Server string `json:"server"`

	// ca is the name of the Secret with the CAs of the callers.
	// +required
	// +kubebuilder:validation:MaxLength=253
	CA string `json:"ca"`
}

// EndpointAuthority is an authority whose callers an endpoint accepts.
type EndpointAuthority struct {
	// namespace of the CertificateAuthority.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`

	// name of the CertificateAuthority.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// notAfter of its active generation.
	// +optional
	NotAfter *metav1.Time `json:"notAfter,omitempty"`

	// acceptedGeneration is the newest generation of the authority of which a replica accepted a certificate. The rotation of
	// the authority waits for the replicas of an endpoint that once accepted the active one.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	AcceptedGeneration string `json:"acceptedGeneration,omitempty"`
}

// ServedCertificate is the server certificate of an endpoint.
type ServedCertificate struct {
	// serial of the certificate, in lower-case hexadecimal.
	// +required
	// +kubebuilder:validation:MaxLength=40
	Serial string `json:"serial"`

	// authorityKeyID is the subject key id of the generation that issued it, in lower-case hexadecimal. Absent if it is provided, or
	// was made by hand and taken over.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	AuthorityKeyID string `json:"authorityKeyID,omitempty"`

	// notAfter of the certificate.
	// +required
	NotAfter metav1.Time `json:"notAfter"`

	// renewalTime is when it will be renewed. Of one that was made by hand and taken over it is when one of the authority takes
	// its place. Of a provided certificate it is when its owner ought to have replaced it: with a
	// tenth of its life left, ten days at most.
	// +optional
	RenewalTime *metav1.Time `json:"renewalTime,omitempty"`
}

// ReplicaCounts says what is known about the gateway replicas of an endpoint.
type ReplicaCounts struct {
	// total is how many replicas there are.
	// +required
	Total int32 `json:"total"`

	// proven is how many met every expectation.
	// +required
	Proven int32 `json:"proven"`

	// failed is how many did not meet one.
	// +required
	Failed int32 `json:"failed"`

	// unknown is how many gave no answer that can be judged.
	// +required
	Unknown int32 `json:"unknown"`
}

// ClientCertificateUse is how many callers came with a certificate, by the count of the gateway replicas: that of all
// that share the endpoint's ports, without the agent's own handshakes. A resumed handshake counts as the one that it resumes.
type ClientCertificateUse struct {
	// countedSince is when counting began. It begins anew with the agent, and where a count may have been lost.
	// +required
	CountedSince metav1.Time `json:"countedSince"`

	// handshakes that were completed since then.
	// +required
	Handshakes int64 `json:"handshakes"`

	// withCertificate is how many of them carried a certificate that was verified.
	// +required
	WithCertificate int64 `json:"withCertificate"`

	// lastWithoutTime is when it was seen last that somebody had come without one. Absent if that is not known of anybody.
	// +optional
	LastWithoutTime *metav1.Time `json:"lastWithoutTime,omitempty"`
}

// MutualTLSEndpointStatus is what was found, written by the agent.
type MutualTLSEndpointStatus struct {
	// mode is what the endpoint asks of its callers.
	// +optional
	Mode EndpointMode `json:"mode,omitempty"`

	// gateway is the Gateway that carries the hosts: the object itself, or the one an APIRule uses.
	// +optional
	Gateway *NamespacedReference `json:"gateway,omitempty"`

	// hosts that are served, canonical and sorted.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=320
	Hosts []string `json:"hosts,omitempty"`

	// secrets are the Secrets the gateway pods read, one entry for each ingress namespace.
	// +optional
	// +listType=map
	// +listMapKey=namespace
	// +listMapKey=server
	// +kubebuilder:validation:MaxItems=64
	Secrets []EndpointSecrets `json:"secrets,omitempty"`

	// authorities whose callers are accepted; the first issues. Like hosts they are those of the last certificate that was
	// issued: what is asked for and refused is not among them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Authorities []EndpointAuthority `json:"authorities,omitempty"`

	// adoptedCertificates is how each CA stands that was made by hand and taken over, by its key id.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	AdoptedCertificates []TrustedCertificateStatus `json:"adoptedCertificates,omitempty"`

	// serverCertificate that is written.
	// +optional
	ServerCertificate *ServedCertificate `json:"serverCertificate,omitempty"`

	// replicas says what handshakes showed.
	// +optional
	Replicas *ReplicaCounts `json:"replicas,omitempty"`

	// clientCertificates is how many callers came with a certificate. In mode Optional only; it is written now and then.
	// +optional
	ClientCertificates *ClientCertificateUse `json:"clientCertificates,omitempty"`

	// conditions: Accepted, Programmed, Proven, Ready, ReadyForMutual, TrustedCertificatesCurrent, AuthoritiesTrusted, Adopted, HostConflict,
	// NoIngressMatch, ConflictingWriter, Released.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
