package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MutualTLSPolicy is what a platform demands of the objects it matches, opted in or not.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=mutualtlspolicies,singular=mutualtlspolicy,shortName=mtlspolicy,scope=Cluster,categories=sallyport
// +kubebuilder:printcolumn:name="Action",type=string,JSONPath=`.spec.action`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Matched",type=integer,JSONPath=`.status.matched`
// +kubebuilder:printcolumn:name="Violating",type=integer,JSONPath=`.status.violating`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type MutualTLSPolicy struct {
	metav1.TypeMeta `json:",inline"`

	// metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what is demanded.
	// +required
	Spec MutualTLSPolicySpec `json:"spec"`

	// status is what was found, written by the agent.
	// +optional
	Status MutualTLSPolicyStatus `json:"status,omitempty"`
}

// MutualTLSPolicyList is a list of MutualTLSPolicies.
// +kubebuilder:object:root=true
type MutualTLSPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata of the list.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	// items of the list.
	Items []MutualTLSPolicy `json:"items"`
}

// PolicyAction says what becomes of a write that violates a policy.
// +kubebuilder:validation:Enum=Deny;Warn;Audit
type PolicyAction string

// The actions.
const (
	// ActionDeny refuses the write.
	ActionDeny PolicyAction = "Deny"
	// ActionWarn lets the write pass and warns its author.
	ActionWarn PolicyAction = "Warn"
	// ActionAudit lets the write pass and notes it in the audit log.
	ActionAudit PolicyAction = "Audit"
)

// MutualTLSPolicySpec is what is demanded, and of whom.
// +kubebuilder:validation:XValidation:rule="has(self.require.mode) || has(self.require.minTLS) || (has(self.require.plainHTTP) && self.require.plainHTTP == 'Forbidden')",fieldPath=".require",message="demands nothing: state mode, minTLS, or plainHTTP: Forbidden"
// +kubebuilder:validation:XValidation:rule="!has(self.optIn) || !self.optIn || has(self.require.mode)",fieldPath=".optIn",message="goes with require.mode, which is what objects are opted in to"
type MutualTLSPolicySpec struct {
	// match says which objects the policy is about. An empty match is every Gateway and APIRule.
	// +optional
	// +kubebuilder:default={}
	Match PolicyMatch `json:"match,omitempty"`

	// require is what those objects must be.
	// +optional
	// +kubebuilder:default={}
	Require PolicyRequirements `json:"require,omitempty"`

	// action says what becomes of a write that violates the policy.
	// +required
	Action PolicyAction `json:"action"`

	// optIn adds the mode annotation to objects that are created without one, and keeps it on those that have it.
	// +optional
	OptIn bool `json:"optIn,omitempty"`

	// exceptions are objects the policy leaves alone, each until a moment.
	// +optional
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=namespace
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Exceptions []PolicyException `json:"exceptions,omitempty"`
}

// PolicyMatch selects objects. All that is stated must hold.
type PolicyMatch struct {
	// namespaces by name. Empty: all.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespaces []string `json:"namespaces,omitempty"`

	// namespaceLabels the object's Namespace must carry.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && k.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="a key that no label can have: the policy would match nothing"
	NamespaceLabels map[string]LabelValue `json:"namespaceLabels,omitempty"`

	// gatewaySelector is labels of pods that the Gateway may reach: its own selector states no other value for one of them.
	// APIRules match no policy with it.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && k.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="a key that no label can have: the policy would match nothing"
	GatewaySelector map[string]LabelValue `json:"gatewaySelector,omitempty"`

	// hostSuffixes one of the object's hosts must end in, on the boundary of a label. A wildcard that covers such a name is
	// one too, and so is an object with more than 1,000 hosts.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`
	HostSuffixes []string `json:"hostSuffixes,omitempty"`
}

// LabelValue is the value of a label.
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$`
type LabelValue string

// TLSVersion is a version of TLS, in the words of the min-tls annotation.
// +kubebuilder:validation:Enum=TLSv1.2;TLSv1.3
type TLSVersion string

// The versions of TLS.
const (
	// TLS12 is TLS 1.2.
	TLS12 TLSVersion = "TLSv1.2"
	// TLS13 is TLS 1.3.
	TLS13 TLSVersion = "TLSv1.3"
)

// PlainHTTP says whether servers without TLS are allowed.
// +kubebuilder:validation:Enum=Allowed;Forbidden
type PlainHTTP string

// What may become of plain HTTP.
const (
	// PlainHTTPAllowed demands nothing.
	PlainHTTPAllowed PlainHTTP = "Allowed"
	// PlainHTTPForbidden allows no server without TLS but one that redirects to one with it.
	PlainHTTPForbidden PlainHTTP = "Forbidden"
)

// PolicyRequirements is what matched objects must be.
// +kubebuilder:validation:XValidation:rule="!has(self.authorities) || size(self.authorities) == 0 || has(self.mode)",fieldPath=".authorities",message="goes with mode: an object that is not opted in uses no authority"
type PolicyRequirements struct {
	// mode at least: Optional is met by Mutual too. It is about Gateways with a server that has TLS, and about every APIRule.
	// +optional
	Mode EndpointMode `json:"mode,omitempty"`

	// minTLS is the lowest version of TLS that may be offered.
	// +optional
	MinTLS TLSVersion `json:"minTLS,omitempty"`

	// authorities of which each one used must be one.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Authorities []NamespacedReference `json:"authorities,omitempty"`

	// plainHTTP says whether servers without TLS are allowed. Default: Allowed.
	// +optional
	// +kubebuilder:default=Allowed
	PlainHTTP PlainHTTP `json:"plainHTTP,omitempty"`
}

// PolicyException leaves one object alone until a moment.
type PolicyException struct {
	// kind of the object.
	// +required
	Kind ObjectKind `json:"kind"`

	// namespace of the object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`

	// name of the object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// expirationTime is when the exception ends.
	// +required
	ExpirationTime metav1.Time `json:"expirationTime"`

	// reason for whoever reads it later.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason"`
}

// ViolatingKind is the kind of an object that does not meet a policy.
// +kubebuilder:validation:Enum=Gateway;APIRule;VirtualService
type ViolatingKind string

// PolicyViolation is one way in which an object does not meet a policy.
type PolicyViolation struct {
	// kind of the object.
	// +required
	Kind ViolatingKind `json:"kind"`

	// namespace of the object.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`

	// name of the object.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// reason is what is wrong, in a word.
	// +required
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason"`

	// field is where it is wrong.
	// +required
	// +kubebuilder:validation:MaxLength=512
	Field string `json:"field"`

	// message says what is wrong, why it matters, and what to do.
	// +required
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message"`
}

// ReasonCount is how often there is a reason.
type ReasonCount struct {
	// reason in a word.
	// +required
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason"`

	// count is how often.
	// +required
	Count int32 `json:"count"`
}

// EndedException is an exception whose time is over. Admission has no clock, so the agent says it here.
type EndedException struct {
	// kind of the object.
	// +required
	Kind ObjectKind `json:"kind"`

	// namespace of the object.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`

	// name of the object.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// MutualTLSPolicyStatus is what was found, written by the agent.
type MutualTLSPolicyStatus struct {
	// matched is how many objects the policy is about.
	// +optional
	Matched *int32 `json:"matched,omitempty"`

	// violating is how many objects do not meet it, or lead past what does.
	// +optional
	Violating *int32 `json:"violating,omitempty"`

	// violations are the first ten ways in which objects do not meet it.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Violations []PolicyViolation `json:"violations,omitempty"`

	// reasons are how often each thing is wrong.
	// +optional
	// +listType=map
	// +listMapKey=reason
	// +kubebuilder:validation:MaxItems=32
	Reasons []ReasonCount `json:"reasons,omitempty"`

	// optional is how the matched objects stand that are in mode Optional where Mutual is demanded: how many by the reason of
	// ReadyForMutual of their MutualTLSEndpoints. CallersHaveCertificates are those whose mode could be changed now.
	// +optional
	// +listType=map
	// +listMapKey=reason
	// +kubebuilder:validation:MaxItems=32
	Optional []ReasonCount `json:"optional,omitempty"`

	// endedExceptions are the exceptions whose time is over.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	EndedExceptions []EndedException `json:"endedExceptions,omitempty"`

	// conditions: Ready, Compliant.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
