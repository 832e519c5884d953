package metrics

import (
	"iter"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// trusted tells of the CAs of others whose callers gateways accept.
type trusted struct {
	notAfter, renewal *metric
}

func newTrusted() *trusted {
	labels := []string{"namespace", "name", "entry"}
	return &trusted{
		notAfter: newMetric("sallyport_trusted_certificate_not_after_timestamp_seconds",
			"When gateways stop accepting callers of a CA in an authority's trustedCertificates unless it is replaced, in seconds since the epoch: the first end of its CAs and their CRLs.", labels...),
		renewal: newMetric("sallyport_trusted_certificate_renewal_timestamp_seconds",
			"When the owner of a CA in an authority's trustedCertificates ought to have replaced what of it ends first, in seconds since the epoch.", labels...),
	}
}

func (o *trusted) metrics() []*metric { return []*metric{o.notAfter, o.renewal} }

// trustedCertificate is one whose end is known.
type trustedCertificate struct {
	authority *v1alpha1.CertificateAuthority
	status    *v1alpha1.TrustedCertificateStatus
}

func (o *trusted) write(p *page, s *snapshot) {
	endsFirst := func(t trustedCertificate) int64 { return t.status.NotAfter.Unix() }
	for t := range within(p, o.notAfter, s.trustedCertificates(), endsFirst) {
		p.series(o.notAfter, seconds(t.status.NotAfter), t.authority.Namespace, t.authority.Name, t.status.Name)
	}
	for t := range within(p, o.renewal, s.trustedCertificates(), endsFirst) {
		p.series(o.renewal, seconds(t.status.RenewalTime), t.authority.Namespace, t.authority.Name, t.status.Name)
	}
}

func (s *snapshot) trustedCertificates() iter.Seq[trustedCertificate] {
	return func(yield func(trustedCertificate) bool) {
		for a := range live[*v1alpha1.CertificateAuthority](s.authorities) {
			for i := range a.Status.TrustedCertificates {
				t := &a.Status.TrustedCertificates[i]
				if t.NotAfter != nil && t.RenewalTime != nil && !yield(trustedCertificate{a, t}) {
					return
				}
			}
		}
	}
}
