package metrics

import (
	"iter"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// certificates tells when each certificate ends, and when it is renewed.
type certificates struct {
	notAfter, renewal, previous *metric
}

func newCertificates() *certificates {
	labels := []string{"kind", "namespace", "name", "authority"}
	return &certificates{
		notAfter: newMetric("sallyport_certificate_not_after_timestamp_seconds",
			"End of the current certificate of a gateway, of a caller, or of the active generation of an authority, in seconds since the epoch.", labels...),
		renewal: newMetric("sallyport_certificate_renewal_timestamp_seconds",
			"When the certificate of a gateway or a caller is to be renewed, or the next generation of an authority issues at the latest, in seconds since the epoch.", labels...),
		previous: newMetric("sallyport_certificate_previous_not_after_timestamp_seconds",
			"End of the certificate before the current one of a caller with a key of its own, who uses it until he fetches the current one, in seconds since the epoch; absent once it has ended.", labels...),
	}
}

func (c *certificates) metrics() []*metric { return []*metric{c.notAfter, c.renewal, c.previous} }

// certificate is one that is in use. Its times are seconds since the epoch, 0 if unknown.
type certificate struct {
	kind                       Issuable
	namespace, name, authority string
	notAfter, renewal          int64
	previous                   int64
}

func (c *certificates) write(p *page, s *snapshot) {
	endsFirst := func(c certificate) int64 { return c.notAfter }
	for of := range within(p, c.notAfter, s.certificates(), endsFirst) {
		p.series(c.notAfter, of.notAfter, string(of.kind), of.namespace, of.name, of.authority)
	}
	renewed := func(yield func(certificate) bool) {
		for of := range s.certificates() {
			if of.renewal != 0 && !yield(of) {
				return
			}
		}
	}
	for of := range within(p, c.renewal, renewed, endsFirst) {
		p.series(c.renewal, of.renewal, string(of.kind), of.namespace, of.name, of.authority)
	}
	replaced := func(yield func(certificate) bool) {
		for of := range s.certificates() {
			if of.previous > s.now.Unix() && !yield(of) {
				return
			}
		}
	}
	for of := range within(p, c.previous, replaced, func(of certificate) int64 { return of.previous }) {
		p.series(c.previous, of.previous, string(of.kind), of.namespace, of.name, of.authority)
	}
}

// certificates are those whose end is known.
func (s *snapshot) certificates() iter.Seq[certificate] {
	return func(yield func(certificate) bool) {
		renewals := s.renewals()
		for a := range live[*v1alpha1.CertificateAuthority](s.authorities) {
			name := s.name(a.Namespace, a.Name)
			if a.Status.NotAfter != nil && !yield(certificate{CA, a.Namespace, a.Name, name, seconds(a.Status.NotAfter), renewals[name], 0}) {
				return
			}
		}
		for e := range live[*v1alpha1.MutualTLSEndpoint](s.endpoints) {
			served, authority := e.Status.ServerCertificate, ""
			if served == nil {
				continue
			}
			if len(e.Status.Authorities) > 0 {
				authority = s.name(e.Status.Authorities[0].Namespace, e.Status.Authorities[0].Name) // the first issues
			}
			if !yield(certificate{Server, e.Namespace, e.Name, authority, seconds(&served.NotAfter), seconds(served.RenewalTime), 0}) {
				return
			}
		}
		for c := range live[*v1alpha1.ClientCertificate](s.clients) {
			if c.Status.NotAfter == nil || c.Spec.Revocation != nil { // nobody renews what was revoked
				continue
			}
			authority := s.authorityOf(c)
			if !yield(certificate{Client, c.Namespace, c.Name, authority, seconds(c.Status.NotAfter), seconds(c.Status.RenewalTime), seconds(c.Status.PreviousNotAfter)}) {
				return
			}
		}
	}
}

func (s *snapshot) authorityOf(c *v1alpha1.ClientCertificate) string {
	if c.Spec.AuthorityRef.Namespace == "" {
		return s.name(c.Namespace, c.Spec.AuthorityRef.Name)
	}
	return s.name(c.Spec.AuthorityRef.Namespace, c.Spec.AuthorityRef.Name)
}

// seconds since the epoch; 0 for none.
func seconds(t *metav1.Time) int64 {
	if t == nil {
		return 0
	}
	return t.Unix()
}
