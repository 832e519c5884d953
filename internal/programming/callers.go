package programming

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/condition"
	"sallyport.dev/sallyport/internal/handshakes"
	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/pkg/intent"
)

// countCallers tells in an outcome whether a step from optional to mutual would refuse anybody. The step is somebody else's.
func (p *Programmer) countCallers(o *Outcome, t Target, f facts, now time.Time) {
	if p.Callers == nil {
		return
	}
	if t.Intent.Mode() != intent.ModeOptional {
		p.Callers.Forget(t.Endpoint)
		return
	}
	var replicas []ingress.Replica
	for _, s := range f.servers {
		replicas = append(replicas, s.Replicas...)
	}
	var lastWithout time.Time
	if before := f.last.Status.ClientCertificates; before != nil && before.LastWithoutTime != nil {
		lastWithout = before.LastWithoutTime.Time
	}
	gateway := ingress.GatewayFrom(t.Gateway)
	use := p.Callers.Watch(t.Endpoint, gateway.Ref(), replicas, lastWithout, now)
	var others []types.NamespacedName
	if use.State == handshakes.SomeWithout {
		others = p.Edge.Anonymous(gateway)
	}
	o.Status.ClientCertificates = useOf(use)
	o.Status.Conditions = append(o.Status.Conditions, readyForMutual(use, portsOf(replicas), others))
}

func useOf(u handshakes.Use) *v1alpha1.ClientCertificateUse {
	told := &v1alpha1.ClientCertificateUse{
		CountedSince: metav1.NewTime(u.Since.Truncate(time.Second)), Handshakes: u.Handshakes, WithCertificate: u.WithCertificate,
	}
	if !u.LastWithout.IsZero() {
		last := metav1.NewTime(u.LastWithout.Truncate(time.Second))
		told.LastWithoutTime = &last
	}
	return told
}

// portsOf are the ports of replicas, for people.
func portsOf(replicas []ingress.Replica) string {
	var ports []uint32
	for _, r := range replicas {
		ports = append(ports, r.Port)
	}
	slices.Sort(ports)
	var words []string
	for _, port := range slices.Compact(ports) {
		words = append(words, strconv.FormatUint(uint64(port), 10))
	}
	return strings.Join(words, ", ")
}

// maxOthers is how many Gateways on the same port a message names.
const maxOthers = 5

// readyForMutual judges a use. Others are the Gateways whose callers without a certificate cannot be told from this one's.
func readyForMutual(u handshakes.Use, ports string, others []types.NamespacedName) metav1.Condition {
	const kind = v1alpha1.ConditionReadyForMutual
	since := u.Since.UTC().Format(time.RFC3339)
	switch u.State {
	case handshakes.AllWith:
		return condition.True(kind, v1alpha1.ReasonCallersHaveCertificates, fmt.Sprintf(
			"everybody who came to port %s of the replicas lately had a certificate that was verified (clientCertificates has the numbers): mode mutual would have refused none of them", ports))
	case handshakes.SomeWithout:
		last := u.LastWithout.UTC().Format(time.RFC3339)
		if len(others) == 0 {
			return condition.False(kind, v1alpha1.ReasonCallersWithoutCertificate, fmt.Sprintf(
				"somebody came to port %s of the replicas without a certificate, last seen at %s: mode mutual refuses such callers; give them certificates (ClientCertificate) first", ports, last))
		}
		return condition.Unknown(kind, v1alpha1.ReasonPortShared, fmt.Sprintf(
			"somebody came to port %s of the replicas without a certificate, last seen at %s, and replicas count by port: he may have called %s, which let in such callers there too; have those ask for certificates as well, or give this Gateway a port of its own", ports, last, someOf(others)))
	case handshakes.NoCallers:
		return condition.Unknown(kind, v1alpha1.ReasonNoCallers, fmt.Sprintf(
			"nobody but the agent came to port %s of the replicas with a certificate since %s: that shows nothing of callers", ports, since))
	case handshakes.Unreadable:
		return condition.Unknown(kind, v1alpha1.ReasonStatisticsUnreadable, fmt.Sprintf(
			"how many callers have certificates is not known: replica %s; let the agent reach the container port http-envoy-prom (15090) of the ingress's pods", u.Trouble))
	case handshakes.LeftOut:
		return condition.Unknown(kind, v1alpha1.ReasonStatisticsLeftOut, fmt.Sprintf(
			"how many callers have certificates is not known: replica %s; annotate the ingress's pods with %s", u.Trouble, statsAnnotation))
	case handshakes.NoReplicas:
		return condition.Unknown(kind, v1alpha1.ReasonNoReplicas, "no gateway replica that serves this Gateway is ready: there is none whose callers could be counted")
	}
	return condition.Unknown(kind, v1alpha1.ReasonPending, fmt.Sprintf("callers are counted since %s, which is not long enough yet", since))
}

// statsAnnotation has a pod of Istio's count handshakes, which it does not by default (istio/istio:pkg/bootstrap/config.go).
const statsAnnotation = `sidecar.istio.io/statsInclusionRegexps: listener\..*\.ssl\.(handshake|no_certificate)`

// someOf names a few Gateways.
func someOf(gateways []types.NamespacedName) string {
	var words []string
	for _, g := range gateways[:min(len(gateways), maxOthers)] {
		words = append(words, g.String())
	}
	text := "Gateway " + strings.Join(words, ", ")
	if more := len(gateways) - maxOthers; more > 0 {
		text += fmt.Sprintf(" and %d others", more)
	}
	return text
}
