package v1alpha1

// Condition types. Each condition carries observedGeneration; its reason is one of the Reason constants.
const (
	// ConditionReady is on every kind. True: the object does what its spec asks. Pipelines wait for it.
	ConditionReady = "Ready"
	// ConditionCompliant is on a MutualTLSPolicy. True: everything that is stored and that it matches meets it, or is excepted.
	ConditionCompliant = "Compliant"
	// ConditionAccepted is on a MutualTLSEndpoint. True: what the object asks for is well-formed, supported and allowed.
	ConditionAccepted = "Accepted"
	// ConditionProgrammed is on a MutualTLSEndpoint. True: the Gateway is mutual as stored, and its Secrets are written and
	// current in every ingress namespace.
	ConditionProgrammed = "Programmed"
	// ConditionProven is on a MutualTLSEndpoint. True: real handshakes showed that the edge refuses strangers and accepts
	// friends. Unknown: not yet tried.
	ConditionProven = "Proven"
	// ConditionReadyForMutual is on a MutualTLSEndpoint in mode Optional. True: for a day nobody came without a certificate, so
	// that mode Mutual would have refused nobody. False: somebody did. Unknown: it cannot be told. Nothing follows from it.
	ConditionReadyForMutual = "ReadyForMutual"
	// ConditionRotating is on a CertificateAuthority. True: a change of generation is under way; the reason is its phase.
	ConditionRotating = "Rotating"
	// ConditionRotationBlocked is on a CertificateAuthority. True: the change of generation cannot go on; the message names
	// what holds it up.
	ConditionRotationBlocked = "RotationBlocked"
	// ConditionCallersCutOff is on a CertificateAuthority. True: callers hold certificates of a generation that was thrown out,
	// and are refused until they use the ones that were issued in their place; the message names them.
	ConditionCallersCutOff = "CallersCutOff"
	// ConditionRevocationCurrent is on a CertificateAuthority. True: every CA that gateways trust has a fresh CRL there, or
	// revocation is None.
	ConditionRevocationCurrent = "RevocationCurrent"
	// ConditionSourceCurrent is on a CertificateAuthority whose CA is brought by somebody. False: what he brings cannot be used,
	// so that the authority goes on with what it has; the message says why.
	ConditionSourceCurrent = "SourceCurrent"
	// ConditionTrustedCertificatesCurrent is on a CertificateAuthority with trustedCertificates, and on a MutualTLSEndpoint whose
	// authority has some. True: gateways accept callers of all of them. False: the message names what is left out, and why.
	ConditionTrustedCertificatesCurrent = "TrustedCertificatesCurrent"
	// ConditionAuthoritiesTrusted is on a MutualTLSEndpoint whose object names several authorities. True: gateways accept callers
	// of all of them. False: the message names what is left out, and why.
	ConditionAuthoritiesTrusted = "AuthoritiesTrusted"
	// ConditionAdopted is on a MutualTLSEndpoint whose Secrets somebody made by hand and hands over. True: they were taken over;
	// the message says what of them goes on, and until when. False: the message says what is left as it is or left out, and why.
	ConditionAdopted = "Adopted"
	// ConditionHostConflict is on a MutualTLSEndpoint. True: an older Gateway holds one of its hosts on the same port of the
	// same ingress, so that Istio serves that host from the older one.
	ConditionHostConflict = "HostConflict"
	// ConditionNoIngressMatch is on a MutualTLSEndpoint. True: the Gateway's selector matches no configured ingress, so that
	// its Secrets have no place to be written to.
	ConditionNoIngressMatch = "NoIngressMatch"
	// ConditionSecretAccessDenied is on a ClientCertificate. True: the agent may not write Secrets in that namespace; the
	// message holds the RoleBinding that would allow it.
	ConditionSecretAccessDenied = "SecretAccessDenied"
	// ConditionConflictingWriter is on every kind that owns Secrets. True: somebody else keeps changing one of them, or
	// writing the Gateway back; it is repaired at most once a minute.
	ConditionConflictingWriter = "ConflictingWriter"
	// ConditionReleased is on a MutualTLSEndpoint. True: the object no longer opts in, but a Gateway still names its Secrets,
	// so that they are still renewed. They are collected ten minutes after the last Gateway dropped them.
	ConditionReleased = "Released"
)

// Reasons that any condition may carry.
const (
	// ReasonReady says that all is as asked.
	ReasonReady = "Ready"
	// ReasonPending says that work is under way and nothing is wrong.
	ReasonPending = "Pending"
	// ReasonGatewayRefused says that an admission policy refuses the Gateway of an APIRule.
	ReasonGatewayRefused = "GatewayRefused"
	// ReasonJudged says that the API server judges every write of what a policy matches.
	ReasonJudged = "Judged"
	// ReasonOptInNotServed says that nothing opts objects in for a policy that asks for it.
	ReasonOptInNotServed = "OptInNotServed"
	// ReasonCompliant says that everything that is stored meets a policy.
	ReasonCompliant = "Compliant"
	// ReasonViolated says that something that is stored does not meet a policy.
	ReasonViolated = "Violated"
	// ReasonExceptionEnded says that an exception counts no more; in events only.
	ReasonExceptionEnded = "ExceptionEnded"
	// ReasonCallersHaveCertificates says that nobody came without a certificate.
	ReasonCallersHaveCertificates = "CallersHaveCertificates"
	// ReasonCallersWithoutCertificate says that somebody came without a certificate.
	ReasonCallersWithoutCertificate = "CallersWithoutCertificate"
	// ReasonNotCounted says that the agent counts no callers; in counts of reasons only.
	ReasonNotCounted = "NotCounted"
	// ReasonPortShared says that somebody came without a certificate, and that it may have been to another Gateway.
	ReasonPortShared = "PortShared"
	// ReasonNoCallers says that nobody came with a certificate.
	ReasonNoCallers = "NoCallers"
	// ReasonStatisticsUnreadable says that a gateway replica does not tell how many handshakes it counted.
	ReasonStatisticsUnreadable = "StatisticsUnreadable"
	// ReasonStatisticsLeftOut says that a gateway replica does not count handshakes.
	ReasonStatisticsLeftOut = "StatisticsLeftOut"
	// ReasonInvalid says that the object contradicts itself or carries a value that cannot be read; the message names it.
	ReasonInvalid = "Invalid"
	// ReasonForeignSecret says that a Secret of the needed name exists and is not ours, so that it was left alone.
	ReasonForeignSecret = "ForeignSecret"
	// ReasonAdopted says that hand-made Secrets were taken over.
	ReasonAdopted = "Adopted"
	// ReasonAdoptionNeedsCRL says that hand-made Secrets have a CA without a CRL, and gateways would refuse its callers because
	// the authority revokes by CRL.
	ReasonAdoptionNeedsCRL = "AdoptionNeedsCRL"
	// ReasonSecretAccessDenied says that the agent may not read or write Secrets in that namespace.
	ReasonSecretAccessDenied = "SecretAccessDenied"
	// ReasonForeignChange says that another writer changed a Secret of ours.
	ReasonForeignChange = "ForeignChange"
	// ReasonNone says that what the condition warns of is not the case.
	ReasonNone = "None"
)

// Reasons about authorities, seen from the objects that use them.
const (
	// ReasonAuthorityNotFound says that the named CertificateAuthority does not exist.
	ReasonAuthorityNotFound = "AuthorityNotFound"
	// ReasonAuthorityNotReady says that the named CertificateAuthority cannot issue yet.
	ReasonAuthorityNotReady = "AuthorityNotReady"
	// ReasonAuthorityNotAllowed says that the CertificateAuthority does not serve objects of this namespace.
	ReasonAuthorityNotAllowed = "AuthorityNotAllowed"
	// ReasonLifetimeTooLong says that the requested lifetime exceeds the authority's limit; the message names the limit.
	ReasonLifetimeTooLong = "LifetimeTooLong"
	// ReasonNameNotAllowed says that a requested DNS name is not in the authority's allowedNames for this namespace.
	ReasonNameNotAllowed = "NameNotAllowed"
	// ReasonNameInUse says that a requested DNS name or host is held by another namespace under the same authority.
	ReasonNameInUse = "NameInUse"
)

// Reasons on a CertificateAuthority.
const (
	// ReasonKeyMissing says that the ledger has lost the key of a generation that is in use. It is never replaced silently.
	ReasonKeyMissing = "KeyMissing"
	// ReasonLedgerUnreadable says that the ledger's content cannot be parsed. It is never replaced silently.
	ReasonLedgerUnreadable = "LedgerUnreadable"
	// ReasonLedgerImmutable says that somebody marked the ledger immutable, or made it of another type, so that nothing can be
	// stored. It is never deleted to be made anew: it is the only copy of the keys.
	ReasonLedgerImmutable = "LedgerImmutable"
	// ReasonEnded says that the active generation has ended.
	ReasonEnded = "Ended"
	// ReasonStateRegressed says that the ledger is older than what the edge serves; signing stopped until a person decides.
	ReasonStateRegressed = "StateRegressed"
	// ReasonStable says that one generation is active and no change is under way.
	ReasonStable = "Stable"
	// ReasonPrepare says that the next generation is being made.
	ReasonPrepare = "Prepare"
	// ReasonTrust says that gateways and callers are learning to trust the next generation.
	ReasonTrust = "Trust"
	// ReasonActivate says that leaves are being re-issued by the next generation.
	ReasonActivate = "Activate"
	// ReasonRetire says that the old generation waits for its last certificate to end.
	ReasonRetire = "Retire"
	// ReasonReplicaRefuses says that a gateway replica answered a handshake in a way in which the rotation must not go on.
	ReasonReplicaRefuses = "ReplicaRefuses"
	// ReasonPaused says that the authority was told to stay in its phase.
	ReasonPaused = "Paused"
	// ReasonOutsideWindows says that the next phase is entered when the next of the authority's windows opens.
	ReasonOutsideWindows = "OutsideWindows"
	// ReasonCompromised says that a generation's key is in somebody else's hands, so that it was thrown out.
	ReasonCompromised = "Compromised"
	// ReasonRotationQueued says that a requested rotation waits for callers who know only the previous root.
	ReasonRotationQueued = "RotationQueued"
	// ReasonCallersMustUpdate says that server certificates wait until callersUpdated names the active key.
	ReasonCallersMustUpdate = "CallersMustUpdate"
	// ReasonCRLFresh says that every CRL is well before its next update.
	ReasonCRLFresh = "CRLFresh"
	// ReasonCRLOverdue says that a CRL should have been re-signed and was not.
	ReasonCRLOverdue = "CRLOverdue"
	// ReasonCRLTooLarge says that the CRLs have no room for all that is revoked; namespaces share what there is.
	ReasonCRLTooLarge = "CRLTooLarge"
	// ReasonSourceInUse says that the CA that is brought is the one in use, or about to be.
	ReasonSourceInUse = "InUse"
	// ReasonNotOffered says that the owner of the Secret that the authority names does not offer it to the authority, so that it
	// issues nothing. CRLs are signed all the same: without them gateways would refuse every caller.
	ReasonNotOffered = "NotOffered"
	// ReasonUnfitCA says that what is brought is no CA that the authority can work with.
	ReasonUnfitCA = "UnfitCA"
	// ReasonSourceUnreadable says that what the owner of an authority brings could not be read.
	ReasonSourceUnreadable = "SourceUnreadable"
	// ReasonTrusted says that gateways trust every one of trustedCertificates, or of the authorities that an object names.
	ReasonTrusted = "Trusted"
	// ReasonLeftOut says that gateways do not trust one of trustedCertificates, because it is malformed, has ended, or lacks a
	// fresh CRL.
	ReasonLeftOut = "LeftOut"
	// ReasonForeignAuthorityNotAllowed says that trustedCertificates are left out of a gateway whose callers are told apart by
	// name (allowed-clients, client-headers): a foreign CA can mint any name.
	ReasonForeignAuthorityNotAllowed = "ForeignAuthorityNotAllowed"
	// ReasonRevocationNone says that the authority was asked to work without revocation.
	ReasonRevocationNone = "RevocationNone"
)

// Reasons on a ClientCertificate.
const (
	// ReasonIssued says that a current certificate is in place.
	ReasonIssued = "Issued"
	// ReasonInvalidCSR says that the request cannot be read, is not signed by its own key, or holds a weak key.
	ReasonInvalidCSR = "InvalidCSR"
	// ReasonIssuedTooOften says that the next certificate waits, because too many were asked for before: of a caller those that have not
	// ended, of a Gateway those that replaced good ones.
	ReasonIssuedTooOften = "IssuedTooOften"
	// ReasonKeystorePassword says that a key store is asked for, and that its password cannot be read.
	ReasonKeystorePassword = "KeystorePassword"
	// ReasonRevoked says that the certificate was revoked and is not issued again.
	ReasonRevoked = "Revoked"
)

// Reasons on a MutualTLSEndpoint.
const (
	// ReasonAccepted says that the annotations are well-formed, supported and allowed.
	ReasonAccepted = "Accepted"
	// ReasonInvalidAnnotations says that an annotation or label of ours cannot be read; the message names it.
	ReasonInvalidAnnotations = "InvalidAnnotations"
	// ReasonProgrammed says that the Gateway is mutual and its Secrets are current.
	ReasonProgrammed = "Programmed"
	// ReasonNotProbed says that no handshake is tried: the agent was told not to, or nothing is programmed that could be tried.
	ReasonNotProbed = "NotProbed"
	// ReasonProven says that every replica met every expectation.
	ReasonProven = "Proven"
	// ReasonNoReplicas says that no gateway replica is ready, so that there is none to try.
	ReasonNoReplicas = "NoReplicas"
	// ReasonEdgeOpen says that a replica let somebody in who has to be refused.
	ReasonEdgeOpen = "EdgeOpen"
	// ReasonFriendRefused says that a replica refused a certificate of the endpoint's own authority.
	ReasonFriendRefused = "FriendRefused"
	// ReasonServedCertificateDiffers says that a replica serves another certificate than the one that is stored, or one that
	// callers do not trust.
	ReasonServedCertificateDiffers = "ServedCertificateDiffers"
	// ReasonReplicaUnknown says that a replica gave no answer that can be judged.
	ReasonReplicaUnknown = "ReplicaUnknown"
	// ReasonNotMutual says that the stored Gateway is not mutual and could not be made so; the message says which server.
	ReasonNotMutual = "NotMutual"
	// ReasonGatewayNotFound says that the Gateway an APIRule names does not exist.
	ReasonGatewayNotFound = "GatewayNotFound"
	// ReasonGatewayNotManaged says that an object of the managed Gateway's name exists and is not ours.
	ReasonGatewayNotManaged = "GatewayNotManaged"
	// ReasonMovedToManagedGateway says that the Gateway an APIRule named stopped being mutual, and the agent moved the APIRule
	// to a managed one.
	ReasonMovedToManagedGateway = "MovedToManagedGateway"
	// ReasonHostHeld says that an older Gateway holds a host on the same port of the same ingress.
	ReasonHostHeld = "HostHeld"
	// ReasonNoIngressMatch says that the Gateway's selector matches no configured ingress.
	ReasonNoIngressMatch = "NoIngressMatch"
	// ReasonStillNamed says that a Gateway names Secrets of an object that no longer opts in.
	ReasonStillNamed = "StillNamed"
	// ReasonOperatorOwned says that another operator owns the object and would revert any change of ours.
	ReasonOperatorOwned = "OperatorOwned"
)
