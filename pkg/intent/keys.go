package intent

// Prefix is what every annotation and label key of ours begins with. The grammar
// behind it is closed: a key that is not listed here is an error.
const Prefix = "mtls.sallyport.dev/"

// Annotations that a user writes on a Gateway or an APIRule.
const (
	// KeyMode is the one that opts in.
	KeyMode = Prefix + "mode"
	// KeyAuthorities names the authorities whose callers are accepted.
	KeyAuthorities = Prefix + "authorities"
	// KeyServerCertificate says whose the server certificate is.
	KeyServerCertificate = Prefix + "server-certificate"
	// KeyServerCredentialName names the provided server Secret for a managed Gateway.
	KeyServerCredentialName = Prefix + "server-credential-name"
	// KeyAllowedClients names the only callers that are accepted.
	KeyAllowedClients = Prefix + "allowed-clients"
	// KeyClientHeaders says which parts of the verified identity the workload sees.
	KeyClientHeaders = Prefix + "client-headers"
	// KeyMinTLS is the lowest TLS version that is accepted.
	KeyMinTLS = Prefix + "min-tls"
	// KeyKeyAlgorithm is the algorithm of the server's key.
	KeyKeyAlgorithm = Prefix + "key-algorithm"
	// KeyCertificateLifetime is the life of the server certificate.
	KeyCertificateLifetime = Prefix + "certificate-lifetime"
)

// Keys of the agent, and of other kinds of objects.
const (
	// KeyManaged is the label on everything the agent writes; its value is "true".
	KeyManaged = Prefix + "managed"
	// KeyOwner is the annotation that says what an object of the agent was made for.
	KeyOwner = Prefix + "owner"
	// KeyLedger is the label on what has to be backed up.
	KeyLedger = Prefix + "ledger"
	// KeyAdopt is the annotation by which a Secret is handed over, on Secrets only.
	KeyAdopt = Prefix + "adopt"
	// KeyUseAsCA is the annotation by which a Secret is offered as a CA, on Secrets only.
	KeyUseAsCA = Prefix + "use-as-ca"
	// LabelDefaultMode is the label by which a Namespace opts in.
	LabelDefaultMode = Prefix + "default-mode"
)
