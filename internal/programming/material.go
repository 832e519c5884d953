package programming

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// leafSettings merge what the object asks for with what its authority prescribes.
// The error is an *issuer.Problem if the authority does not allow it.
func leafSettings(in intent.Intent, spec v1alpha1.CertificateAuthoritySpec, gateway types.NamespacedName) (rotate.LeafSettings, error) {
	settings := rotate.LeafSettings{
		Lifetime:    spec.ServerCertificates.EffectiveLifetime(),
		RenewBefore: spec.ServerCertificates.EffectiveRenewBefore(),
		Object:      "Gateway/" + gateway.String(),
	}
	if lifetime, asked := in.CertificateLifetime(); asked {
		settings.Lifetime = lifetime
	}
	if tooLong := issuer.CheckLifetime(spec, settings.Lifetime); tooLong != "" {
		return settings, &issuer.Problem{Reason: v1alpha1.ReasonLifetimeTooLong, Message: tooLong, Lasting: true}
	}
	algorithm, asked := in.KeyAlgorithm()
	if !asked {
		algorithm = string(spec.ServerCertificates.EffectiveKeyAlgorithm())
	}
	var err error
	settings.Algorithm, err = pki.ParseAlgorithm(algorithm)
	return settings, err
}

// material is what is to be stored.
type material struct {
	pair   pki.Pair
	issued rotate.Reason
	next   time.Time
}

// materialize keeps a stored pair that is not due, or issues a new one. All ingress
// namespaces get the same pair.
func (f facts) materialize(now time.Time) (material, error) {
	if len(f.edges) == 0 {
		return material{}, nil
	}
	var last rotate.LeafPlan
	for _, e := range f.edges {
		last = rotate.PlanServer(e.stored.Pair, f.hosts, f.settings, f.issuer.Active.Authority, now)
		if e.stored.Unreadable != nil {
			last = rotate.LeafPlan{Issue: true, Reason: rotate.ReasonUnreadable}
		}
		if !last.Issue && e.stored.Pair.Chain().VerifyServer(f.issuer.Bundle, f.hosts, now) == nil {
			return material{pair: e.stored.Pair, next: last.Next}, nil
		}
	}
	if len(f.hosts) > maxHosts {
		return material{}, fmt.Errorf("it would have %d names, at most %d are issued: use wildcards or several Gateways", len(f.hosts), maxHosts)
	}
	pair, err := rotate.MaterializeServer(f.issuer.Active.Authority, f.issuer.Bundle, f.hosts, f.settings, now)
	if err != nil {
		return material{}, err
	}
	return material{pair: pair, issued: last.Reason, next: rotate.RenewalTime(pair.Leaf(), f.settings)}, nil
}

// maxHosts bounds a server certificate: with more names the handshake gets slow,
// and the endpoint's status holds no more.
const maxHosts = 256

// write stores the material in every ingress namespace. A name that is taken by
// somebody else's Secret does not keep the others from being served.
func (p *Programmer) write(ctx context.Context, f facts, m material) error {
	for i := range f.edges {
		e := &f.edges[i]
		outcome, err := p.Cluster.WriteEdge(ctx, e.secrets, m.pair, f.issuer.Bundle, e.stored)
		if err != nil {
			return err
		}
		e.taken, e.isTaken = outcome.Foreign(e.secrets)
	}
	return nil
}
