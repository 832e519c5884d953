package metrics

import (
	"iter"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/pki"
)

// crls tells of the revocation list of each generation of each authority.
type crls struct {
	nextUpdate, refresh, entries, size *metric
}

func newCRLs() *crls {
	labels := []string{"namespace", "name", "generation"}
	return &crls{
		nextUpdate: newMetric("sallyport_crl_next_update_timestamp_seconds",
			"End of the CRL of a generation of an authority, in seconds since the epoch: gateways refuse every caller from then on.", labels...),
		refresh: newMetric("sallyport_crl_refresh_timestamp_seconds",
			"When the CRL of a generation of an authority is to be signed again, in seconds since the epoch.", labels...),
		entries: newMetric("sallyport_crl_entries", "Certificates that the CRL of a generation of an authority lists.", labels...),
		size:    newMetric("sallyport_crl_size_bytes", "Size of the CRL of a generation of an authority in PEM, in bytes.", labels...),
	}
}

func (c *crls) metrics() []*metric { return []*metric{c.nextUpdate, c.refresh, c.entries, c.size} }

// revocation is one CRL in use.
type revocation struct {
	authority  *v1alpha1.CertificateAuthority
	generation string
	crl        pki.CRL
}

func (c *crls) write(p *page, s *snapshot) {
	for _, tell := range []struct {
		metric *metric
		value  func(revocation) int64
	}{
		{c.nextUpdate, func(r revocation) int64 { return r.crl.NextUpdate().Unix() }},
		{c.refresh, revocation.due},
		{c.entries, func(r revocation) int64 { return int64(r.crl.Entries()) }},
		{c.size, func(r revocation) int64 { return int64(len(r.crl.PEM())) }},
	} {
		endsFirst := func(r revocation) int64 { return r.crl.NextUpdate().Unix() }
		for r := range within(p, tell.metric, s.revocations(), endsFirst) {
			p.series(tell.metric, tell.value(r), r.authority.Namespace, r.authority.Name, r.generation)
		}
	}
}

// due is when it is to be signed again, by the times that are asked for at present.
func (r revocation) due() int64 {
	asked := r.authority.Spec.Revocation
	return r.crl.NextUpdate().Add(asked.EffectiveRefreshEvery() - asked.EffectiveValidity()).Unix()
}

// revocations are the CRLs that are renewed: those of authorities that work with
// revocation, and of generations that have not ended.
func (s *snapshot) revocations() iter.Seq[revocation] {
	return func(yield func(revocation) bool) {
		for _, r := range s.ledgers {
			if r.authority.Spec.RevocationMode() != v1alpha1.RevocationCRL {
				continue
			}
			for _, g := range r.ledger.Generations() {
				if g.CRL.IsZero() || s.now.After(g.Authority.Certificate().NotAfter()) {
					continue
				}
				if !yield(revocation{r.authority, g.ID, g.CRL}) {
					return
				}
			}
		}
	}
}
