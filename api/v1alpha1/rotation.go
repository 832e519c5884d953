package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// RotationProof says what must be known before a rotation goes on.
// +kubebuilder:validation:Enum=Probe;Time
type RotationProof string

// The kinds of proof.
const (
	// ProofProbe waits for handshakes that show the next generation accepted, or the old one refused.
	ProofProbe RotationProof = "Probe"
	// ProofTime waits for the overlap alone.
	ProofTime RotationProof = "Time"
)

// RotationSettings says how one generation of an authority gives way to the next.
type RotationSettings struct {
	// paused stops the authority from entering another phase. What is due within the phase goes on.
	// +optional
	Paused bool `json:"paused,omitempty"`

	// minimumOverlap is how long two generations are trusted together at least. Default: 24h.
	// +optional
	// +kubebuilder:default="24h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,6}(\.[0-9]{1,9})?(h|m|s|ms))+$`
	MinimumOverlap *metav1.Duration `json:"minimumOverlap,omitempty"`

	// proof says what must be known before the rotation goes on. Default: Probe.
	// +optional
	// +kubebuilder:default=Probe
	Proof RotationProof `json:"proof,omitempty"`

	// proofTimeout is how long an unknown proof holds the rotation up. A failed one holds it up always. Default: 168h.
	// +optional
	// +kubebuilder:default="168h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,6}(\.[0-9]{1,9})?(h|m|s|ms))+$`
	ProofTimeout *metav1.Duration `json:"proofTimeout,omitempty"`

	// windows are the times in which a rotation may enter another phase. Default: any time.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Windows []RotationWindow `json:"windows,omitempty"`

	// rotateAfter asks for a rotation: generations created before this moment are replaced.
	// +optional
	RotateAfter *metav1.Time `json:"rotateAfter,omitempty"`

	// compromised are subject key ids, in lower-case hexadecimal, of generations that must not be trusted any longer.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:Pattern=`^([0-9a-f]{2}){1,32}$`
	// +kubebuilder:validation:items:MaxLength=64
	Compromised []string `json:"compromised,omitempty"`

	// callersUpdated is the subject key id, in lower-case hexadecimal, of the newest generation that every caller trusts.
	// +optional
	// +kubebuilder:validation:Pattern=`^([0-9a-f]{2}){1,32}$`
	// +kubebuilder:validation:MaxLength=64
	CallersUpdated string `json:"callersUpdated,omitempty"`
}

// RotationWindow is a recurring span of time.
type RotationWindow struct {
	// schedule is when the window opens, in the five fields of cron.
	// +required
	// +kubebuilder:validation:MinLength=9
	// +kubebuilder:validation:MaxLength=128
	Schedule string `json:"schedule"`

	// duration is how long the window stays open.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,6}(\.[0-9]{1,9})?(h|m|s|ms))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s')",message="at least 1s"
	Duration metav1.Duration `json:"duration"`

	// timeZone of the schedule, a name of the IANA database. Default: UTC.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	TimeZone string `json:"timeZone,omitempty"`
}

// GenerationState says what a generation of an authority is used for.
// +kubebuilder:validation:Enum=Prepared;Trusted;Active;Retiring;Withdrawn
type GenerationState string

// The states of a generation, in the order it passes through them.
const (
	// GenerationPrepared exists, and nobody sees it.
	GenerationPrepared GenerationState = "Prepared"
	// GenerationTrusted is trusted by gateways and published, and issues nothing.
	GenerationTrusted GenerationState = "Trusted"
	// GenerationActive issues.
	GenerationActive GenerationState = "Active"
	// GenerationRetiring issues nothing any more and is trusted until the last of its certificates has ended.
	GenerationRetiring GenerationState = "Retiring"
	// GenerationWithdrawn is trusted no more, and kept until every replica was seen to refuse what it signed.
	GenerationWithdrawn GenerationState = "Withdrawn"
)

// AuthorityGeneration is one key of an authority.
type AuthorityGeneration struct {
	// id of the generation: g1, g2 and so on.
	// +required
	// +kubebuilder:validation:MaxLength=16
	ID string `json:"id"`

	// subjectKeyID of its certificate, in lower-case hexadecimal.
	// +required
	// +kubebuilder:validation:MaxLength=64
	SubjectKeyID string `json:"subjectKeyID"`

	// state says what it is used for.
	// +required
	State GenerationState `json:"state"`

	// createdAt is when it was made. Its life counts from here.
	// +required
	CreatedAt metav1.Time `json:"createdAt"`

	// notBefore of its certificate.
	// +required
	NotBefore metav1.Time `json:"notBefore"`

	// notAfter of its certificate.
	// +required
	NotAfter metav1.Time `json:"notAfter"`

	// clientsNotAfter is when the last certificate of a caller ends that this generation signed and that is not revoked, rounded up to
	// the hour: after that, nobody is refused who has a certificate of it. Absent if it signed none. What somebody else signed with
	// a CA that is brought is not known.
	// +optional
	ClientsNotAfter *metav1.Time `json:"clientsNotAfter,omitempty"`
}

// UnprovenReplica is a gateway replica that has not shown yet that it accepts or refuses what it should.
type UnprovenReplica struct {
	// namespace of the Gateway.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`

	// gateway is the name of the Gateway.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Gateway string `json:"gateway"`

	// replica is the name of the gateway pod.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Replica string `json:"replica,omitempty"`

	// reason why nothing is known.
	// +required
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason"`
}

// RevocationStatus is the state of the active generation's CRL.
type RevocationStatus struct {
	// number of the CRL: milliseconds since the epoch, never lower than the last.
	// +required
	Number int64 `json:"number"`

	// nextUpdate is when the CRL ends. Gateways refuse every caller from then on.
	// +required
	NextUpdate metav1.Time `json:"nextUpdate"`

	// entries is how many certificates it lists.
	// +required
	Entries int32 `json:"entries"`
}

// TrustedCertificateStatus is how the CA of somebody else stands whose callers gateways accept.
type TrustedCertificateStatus struct {
	// name of the entry.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`

	// notAfter is when gateways stop accepting its callers unless it is replaced: the first end of its CAs and of their CRLs.
	// Absent if it cannot be read.
	// +optional
	NotAfter *metav1.Time `json:"notAfter,omitempty"`

	// renewalTime is when what ends first ought to have been replaced by its owner.
	// +optional
	RenewalTime *metav1.Time `json:"renewalTime,omitempty"`

	// leftOut is why gateways do not accept its callers; empty if they do.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	LeftOut string `json:"leftOut,omitempty"`
}

// CertificateAuthorityStatus is what was found, written by the agent.
type CertificateAuthorityStatus struct {
	// generations of the authority, oldest first.
	// +optional
	// +listType=map
	// +listMapKey=id
	// +kubebuilder:validation:MaxItems=16
	Generations []AuthorityGeneration `json:"generations,omitempty"`

	// newestGeneration is the id of the newest generation there ever was, also if it is gone.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	NewestGeneration string `json:"newestGeneration,omitempty"`

	// acceptedState is the value of the annotation mtls.sallyport.dev/accept-state with which a person took the record as it is
	// last. It counts once.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	AcceptedState string `json:"acceptedState,omitempty"`

	// serialShards is in how many Secrets the record of what was issued to callers is: one that is missing was lost.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=16000
	SerialShards int32 `json:"serialShards,omitempty"`

	// notAfter of the active generation.
	// +optional
	NotAfter *metav1.Time `json:"notAfter,omitempty"`

	// endpoints is how many Gateways and APIRules use this authority.
	// +optional
	Endpoints *int32 `json:"endpoints,omitempty"`

	// clientCertificates is how many ClientCertificates refer to this authority.
	// +optional
	ClientCertificates *int32 `json:"clientCertificates,omitempty"`

	// crl is the state of the active generation's CRL. Absent with revocation None.
	// +optional
	CRL *RevocationStatus `json:"crl,omitempty"`

	// trustedCertificates is how each of spec.trustedCertificates stands, and, under the name spec.source, what is above the
	// CA that is brought.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=17
	TrustedCertificates []TrustedCertificateStatus `json:"trustedCertificates,omitempty"`

	// unproven are the first ten replicas of which nothing is known, with the reason.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Unproven []UnprovenReplica `json:"unproven,omitempty"`

	// conditions: Ready, Rotating, RotationBlocked, RevocationCurrent, TrustedCertificatesCurrent, CallersCutOff, ConflictingWriter.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
