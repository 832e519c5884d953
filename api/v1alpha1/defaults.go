package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RootLifetime is the life of one generation of a self-signed root.
func (s CertificateAuthoritySpec) RootLifetime() time.Duration {
	if s.Source.SelfSigned == nil {
		return DefaultRootLifetime
	}
	return durationOr(s.Source.SelfSigned.Lifetime, DefaultRootLifetime)
}

// RootKeyAlgorithm is the algorithm of a self-signed root's key.
func (s CertificateAuthoritySpec) RootKeyAlgorithm() KeyAlgorithm {
	if s.Source.SelfSigned == nil {
		return KeyECDSAP256
	}
	return algorithmOr(s.Source.SelfSigned.KeyAlgorithm)
}

// RevocationMode is how gateways learn that a certificate is revoked.
func (s CertificateAuthoritySpec) RevocationMode() RevocationMode {
	if s.Revocation.Mode == "" {
		return RevocationCRL
	}
	return s.Revocation.Mode
}

// EffectiveLifetime is the life of a server certificate where the object asks for none.
func (s ServerCertificateSettings) EffectiveLifetime() time.Duration {
	return durationOr(s.Lifetime, DefaultServerLifetime)
}

// EffectiveRenewBefore is the share of its life, in per cent, that a server certificate has left when it is renewed.
func (s ServerCertificateSettings) EffectiveRenewBefore() int32 {
	return percentageOr(s.RenewBeforePercentage)
}

// EffectiveKeyAlgorithm is the algorithm of a server key where the object asks for none.
func (s ServerCertificateSettings) EffectiveKeyAlgorithm() KeyAlgorithm {
	return algorithmOr(s.KeyAlgorithm)
}

// EffectiveLifetime is the life of a client certificate where the ClientCertificate asks for none.
func (s ClientCertificateSettings) EffectiveLifetime() time.Duration {
	return durationOr(s.Lifetime, DefaultClientLifetime)
}

// EffectiveMaxLifetime is the longest life a ClientCertificate may ask for.
func (s ClientCertificateSettings) EffectiveMaxLifetime() time.Duration {
	return durationOr(s.MaxLifetime, DefaultClientMaxLifetime)
}

// EffectiveRenewBefore is the share of its life, in per cent, that a client certificate has left when it is renewed.
func (s ClientCertificateSettings) EffectiveRenewBefore() int32 {
	return percentageOr(s.RenewBeforePercentage)
}

// EffectiveKeyAlgorithm is the algorithm of a client key that the agent makes.
func (s ClientCertificateSettings) EffectiveKeyAlgorithm() KeyAlgorithm {
	return algorithmOr(s.KeyAlgorithm)
}

// EffectiveValidity is the time from a CRL's signature to its next update.
func (s RevocationSettings) EffectiveValidity() time.Duration {
	return durationOr(s.Validity, DefaultCRLValidity)
}

// EffectiveRefreshEvery is the time between two signatures of a CRL.
func (s RevocationSettings) EffectiveRefreshEvery() time.Duration {
	return durationOr(s.RefreshEvery, s.EffectiveValidity()/CRLRefreshDivisor)
}

// EffectiveMinimumOverlap is how long two generations are trusted together at least.
func (s RotationSettings) EffectiveMinimumOverlap() time.Duration {
	return durationOr(s.MinimumOverlap, DefaultMinimumOverlap)
}

// EffectiveProofTimeout is how long an unknown proof holds a rotation up.
func (s RotationSettings) EffectiveProofTimeout() time.Duration {
	return durationOr(s.ProofTimeout, DefaultProofTimeout)
}

// LongestLeaf bounds the life of a certificate that the authority signs: a sixth of a generation's.
func (s CertificateAuthoritySpec) LongestLeaf() time.Duration { return s.RootLifetime() / LeafDivisor }

func durationOr(d *metav1.Duration, fallback time.Duration) time.Duration {
	if d == nil {
		return fallback
	}
	return d.Duration
}

func percentageOr(p *int32) int32 {
	if p == nil {
		return DefaultRenewBeforePercentage
	}
	return *p
}

func algorithmOr(a KeyAlgorithm) KeyAlgorithm {
	if a == "" {
		return KeyECDSAP256
	}
	return a
}
