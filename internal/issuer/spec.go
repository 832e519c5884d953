package issuer

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// OnlyVerifies reports whether an authority has no CA of its own: it issues nothing.
func OnlyVerifies(spec v1alpha1.CertificateAuthoritySpec) bool {
	return spec.Source.Type == v1alpha1.SourceTrustOnly
}

// Revokes reports whether the gateways of an authority with this ledger get CRLs.
func Revokes(spec v1alpha1.CertificateAuthoritySpec, ledger rotate.Ledger) bool {
	return ledger.Revokes(spec.RevocationMode() == v1alpha1.RevocationCRL)
}

// FurtherSerials are the certificates that an authority's spec asks to revoke by their numbers. With an error those
// that can be read are returned all the same.
func FurtherSerials(spec v1alpha1.CertificateAuthoritySpec) ([]pki.Serial, error) {
	var serials []pki.Serial
	var bad error
	for i, text := range spec.Revocation.Serials {
		serial, err := pki.ParseSerial(text)
		if err != nil {
			bad = cmp.Or(bad, fmt.Errorf("spec.revocation.serials[%d]: %w", i, err))
			continue
		}
		serials = append(serials, serial)
	}
	if len(serials) > 0 && spec.RevocationMode() != v1alpha1.RevocationCRL {
		bad = cmp.Or(bad, errors.New("spec.revocation.serials: gateways heed no revocation of an authority with spec.revocation.mode None: ask for CRL"))
	}
	return serials, bad
}

// Settings are what an authority's spec asks of its ledger, but for what it goes on without (FurtherSerials, Windows).
func Settings(authority *v1alpha1.CertificateAuthority, trustDomain string) (rotate.AuthoritySettings, error) {
	spec := authority.Spec
	algorithm, err := pki.ParseAlgorithm(string(spec.RootKeyAlgorithm()))
	if err != nil {
		return rotate.AuthoritySettings{}, err
	}
	rotation := rotate.RotationSettings{
		Paused:         spec.Rotation.Paused,
		MinimumOverlap: spec.Rotation.EffectiveMinimumOverlap(),
		Proof:          spec.Rotation.Proof != v1alpha1.ProofTime,
		ProofTimeout:   spec.Rotation.EffectiveProofTimeout(),
		Compromised:    spec.Rotation.Compromised,
		CallersUpdated: spec.Rotation.CallersUpdated,
	}
	if after := spec.Rotation.RotateAfter; after != nil {
		rotation.RotateAfter = after.Time
	}
	return rotate.AuthoritySettings{
		Rotation:      rotation,
		LongestLeaf:   spec.LongestLeaf(),
		Brings:        spec.Source.Type != v1alpha1.SourceSelfSigned,
		Name:          authority.Namespace + "/" + authority.Name,
		RootLifetime:  spec.RootLifetime(),
		RootAlgorithm: algorithm,
		Revocation:    spec.RevocationMode() == v1alpha1.RevocationCRL,
		CRLValidity:   spec.Revocation.EffectiveValidity(),
		CRLRefresh:    spec.Revocation.EffectiveRefreshEvery(),
		ProbeIdentity: intent.ProbeIdentity(trustDomain),
	}, nil
}

// LongestLeaf bounds the life of a certificate that the authority signs: a sixth of its CA's.
func LongestLeaf(spec v1alpha1.CertificateAuthoritySpec, ca pki.Certificate) time.Duration {
	if spec.Source.Type == v1alpha1.SourceSelfSigned || ca.IsZero() {
		return spec.LongestLeaf()
	}
	return ca.NotAfter().Sub(ca.NotBefore()).Truncate(time.Second) / v1alpha1.LeafDivisor
}

// CheckLifetime says why a certificate may not live that long, empty if it may: a
// sixth of the authority's life at most.
func (i Issuer) CheckLifetime(lifetime time.Duration) string {
	longest := LongestLeaf(i.Object.Spec, i.Signer.Authority.Certificate())
	if lifetime <= longest {
		return ""
	}
	return fmt.Sprintf("a lifetime of %s is asked for; a certificate lives for a sixth of the authority at most, here %s", lifetime, longest)
}
