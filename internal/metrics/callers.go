package metrics

import (
	"iter"

	"k8s.io/apimachinery/pkg/api/meta"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// callers tells how many came to endpoints in mode Optional with a certificate.
type callers struct {
	handshakes, lastWithout, ready *metric
}

func newCallers() *callers {
	return &callers{
		handshakes: newMetric("sallyport_optional_handshakes",
			"Handshakes at the ports of an object in mode optional since counting began, by the count of the gateway replicas, without the agent's own; certificate is with or without. Written now and then, and begins anew with the agent.",
			"namespace", "name", "certificate"),
		lastWithout: newMetric("sallyport_optional_last_handshake_without_certificate_timestamp_seconds",
			"When it was seen last that somebody had come to an object in mode optional without a certificate, in seconds since the epoch.", "namespace", "name"),
		ready: newMetric("sallyport_optional_ready_for_mutual",
			"Whether mode mutual would refuse nobody who comes to an object in mode optional: 1 if nobody came without a certificate for long enough, 0 if somebody did or it cannot be told.", "namespace", "name"),
	}
}

func (o *callers) metrics() []*metric { return []*metric{o.handshakes, o.lastWithout, o.ready} }

func (o *callers) write(p *page, s *snapshot) {
	withoutFirst := func(c counted) int64 { return c.order }
	for c := range within(p, o.handshakes, s.handshakes(), withoutFirst) {
		p.series(o.handshakes, c.handshakes, c.Namespace, c.Name, c.certificate)
	}
	latestFirst := func(e *v1alpha1.MutualTLSEndpoint) int64 { return -e.Status.ClientCertificates.LastWithoutTime.Unix() }
	for e := range within(p, o.lastWithout, s.counting(func(u *v1alpha1.ClientCertificateUse) bool { return u.LastWithoutTime != nil }), latestFirst) {
		p.series(o.lastWithout, e.Status.ClientCertificates.LastWithoutTime.Unix(), e.Namespace, e.Name)
	}
	unreadyFirst := func(e *v1alpha1.MutualTLSEndpoint) int64 { return readyForMutual(e) }
	for e := range within(p, o.ready, s.counting(nil), unreadyFirst) {
		p.series(o.ready, readyForMutual(e), e.Namespace, e.Name)
	}
}

func readyForMutual(e *v1alpha1.MutualTLSEndpoint) int64 {
	if meta.IsStatusConditionTrue(e.Status.Conditions, v1alpha1.ConditionReadyForMutual) {
		return 1
	}
	return 0
}

// counted is one of the two numbers of an endpoint; those of the endpoints with the most callers without come first.
type counted struct {
	*v1alpha1.MutualTLSEndpoint
	certificate       string
	handshakes, order int64
}

func (s *snapshot) handshakes() iter.Seq[counted] {
	return func(yield func(counted) bool) {
		for e := range s.counting(nil) {
			use := e.Status.ClientCertificates
			without := use.Handshakes - use.WithCertificate
			if !yield(counted{e, "with", use.WithCertificate, -without}) || !yield(counted{e, "without", without, -without}) {
				return
			}
		}
	}
}

// counting are the endpoints whose callers are counted, and of which something is known.
func (s *snapshot) counting(known func(*v1alpha1.ClientCertificateUse) bool) iter.Seq[*v1alpha1.MutualTLSEndpoint] {
	return func(yield func(*v1alpha1.MutualTLSEndpoint) bool) {
		for e := range live[*v1alpha1.MutualTLSEndpoint](s.endpoints) {
			if use := e.Status.ClientCertificates; use != nil && (known == nil || known(use)) && !yield(e) {
				return
			}
		}
	}
}
