// Package v1alpha1 is the API of Sallyport: the kinds CertificateAuthority, ClientCertificate, MutualTLSEndpoint and
// MutualTLSPolicy, their validation, and the words their conditions use.
//
// It states what may be written and what is reported. It refuses to know how anything is issued, stored or served, and it
// holds no rule that needs more than the object itself: those belong to the agent, which answers with a condition.
//
// Durations are written as Go writes them (720h, 90m, 45s). Enumerations are CamelCase. There are no floating point numbers.
//
// +kubebuilder:object:generate=true
// +groupName=mtls.sallyport.dev
package v1alpha1
