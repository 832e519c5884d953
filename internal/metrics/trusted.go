package metrics

import (
	"iter"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// trusted tells of the CAs of others whose callers gateways accept.
type trusted struct {
	notAfter, renewal *metric
}

func newTrusted() *trusted {
	labels := []string{"kind", "namespace", "name", "entry"}
	return &trusted{
		notAfter: newMetric("sallyport_trusted_certificate_not_after_timestamp_seconds",
			"When gateways stop accepting callers of the CA of somebody else, in an authority's trustedCertificates or taken over from hand-made Secrets, unless it is replaced, in seconds since the epoch: the first end of its CAs and their CRLs.", labels...),
		renewal: newMetric("sallyport_trusted_certificate_renewal_timestamp_seconds",
			"When the owner of such a CA ought to have replaced what of it ends first, in seconds since the epoch.", labels...),
	}
}

func (o *trusted) metrics() []*metric { return []*metric{o.notAfter, o.renewal} }

// trustedCertificate is one whose end is known.
type trustedCertificate struct {
	kind   string
	object metav1.Object
	status *v1alpha1.TrustedCertificateStatus
}

func (o *trusted) write(p *page, s *snapshot) {
	endsFirst := func(t trustedCertificate) int64 { return t.status.NotAfter.Unix() }
	for t := range within(p, o.notAfter, s.trustedCertificates(), endsFirst) {
		p.series(o.notAfter, seconds(t.status.NotAfter), t.kind, t.object.GetNamespace(), t.object.GetName(), t.status.Name)
	}
	for t := range within(p, o.renewal, s.trustedCertificates(), endsFirst) {
		p.series(o.renewal, seconds(t.status.RenewalTime), t.kind, t.object.GetNamespace(), t.object.GetName(), t.status.Name)
	}
}

func (s *snapshot) trustedCertificates() iter.Seq[trustedCertificate] {
	return func(yield func(trustedCertificate) bool) {
		of := func(kind string, object metav1.Object, all []v1alpha1.TrustedCertificateStatus) bool {
			for i := range all {
				if t := &all[i]; t.NotAfter != nil && t.RenewalTime != nil && !yield(trustedCertificate{kind, object, t}) {
					return false
				}
			}
			return true
		}
		for a := range live[*v1alpha1.CertificateAuthority](s.authorities) {
			if !of(kindAuthority, a, a.Status.TrustedCertificates) {
				return
			}
		}
		for e := range live[*v1alpha1.MutualTLSEndpoint](s.endpoints) {
			if !of(kindEndpoint, e, e.Status.AdoptedCertificates) {
				return
			}
		}
	}
}
