package proof

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The expectations of a Gateway that lets in whoever has a certificate, and of one that
// names its callers.
const (
	forAll   = 7
	forNamed = 8
)

// edge makes a Gateway that is proven.
func edge(t *testing.T, ns string) (host string) {
	t.Helper()
	host = ns + ".example.com"
	namespace(t, ns)
	apply(t, gatewayYAML(ns, "edge", host, mutual, ""))
	eventuallyProven(t, ns, "gateway-edge", forAll)
	return host
}

// both is one deviation at both replicas.
func both(what string) []string { return []string{replica(0) + " " + what, replica(1) + " " + what} }

func TestAHealthyEdgeMeetsEverything(t *testing.T) {
	namespace(t, "healthy")
	const named = mutual + ", mtls.sallyport.dev/allowed-clients: client/billing"
	apply(t, gatewayYAML("healthy", "edge", "*.healthy.example.com", named, ""))
	eventuallyProven(t, "healthy", "gateway-edge", forNamed)
	apply(t, gatewayYAML("healthy", "optional", "optional.healthy.example.org", "mtls.sallyport.dev/mode: optional", ""))
	eventuallyProven(t, "healthy", "gateway-optional", forAll-1)
}

// Gateways as Istio installs them leave out of their statistics who came with a certificate. That is said, and what to do.
func TestGatewaysThatDoNotCountHandshakes(t *testing.T) {
	namespace(t, "uncounted")
	apply(t, gatewayYAML("uncounted", "edge", "uncounted.example.com", "mtls.sallyport.dev/mode: optional", ""))
	want := fmt.Sprintf("ReadyForMutual=Unknown (StatisticsLeftOut: how many callers have certificates is not known: replica %s: its statistics leave handshakes out; annotate the ingress's pods with sidecar.istio.io/statsInclusionRegexps: ", replica(0))
	eventually(t, patience, "that replicas do not count", func(ctx context.Context) error {
		e, err := endpoint(ctx, "uncounted", "gateway-edge")
		if err == nil && !strings.Contains(told(e), want) {
			err = fmt.Errorf("conditions %s", told(e))
		}
		return err
	})
}

// Where bytes are led on as they are, nothing is sent: a session ticket, or with TLS 1.2 the
// handshake, shows who was let in.
func TestAnOpaqueServer(t *testing.T) {
	namespace(t, "opaque")
	for version, least := range map[string]string{"newest": "", "pinned": ", mtls.sallyport.dev/min-tls: TLSv1.3"} {
		apply(t, fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: %[1]s, namespace: opaque, annotations: {%[2]s}}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 443, name: tls, protocol: TLS}, hosts: ["%[1]s.opaque.example.com"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: %[1]s, namespace: opaque}
spec:
  hosts: ["%[1]s.opaque.example.com"]
  gateways: [opaque/%[1]s]
  tcp: [{match: [{port: 443}], route: [{destination: {host: httpbin.opaque.svc.cluster.local, port: {number: 80}}}]}]
`, version, mutual+least))
		eventuallyProven(t, "opaque", "gateway-"+version, forAll)
	}
}

func TestADeletedGatewayLeavesNoSeries(t *testing.T) {
	edge(t, "deleted")
	gateway, err := stored(t.Context(), "networking.istio.io/v1", "Gateway", "deleted", "edge")
	if err != nil {
		t.Fatal(err)
	}
	if err := stack.Client().Delete(t.Context(), gateway); err != nil {
		t.Fatal(err)
	}
	// The API server's garbage collector, which is not part of the stack, would take the
	// endpoint with it.
	e, err := stored(t.Context(), "mtls.sallyport.dev/v1alpha1", "MutualTLSEndpoint", "deleted", "gateway-edge")
	if err != nil {
		t.Fatal(err)
	}
	if err := stack.Client().Delete(t.Context(), e); err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	took := eventually(t, patience, "no series", func(ctx context.Context) error {
		families, err := scrape(ctx)
		if err != nil {
			return err
		}
		for name, family := range families {
			for _, m := range family.GetMetric() {
				for _, label := range m.GetLabel() {
					if label.GetName() == "namespace" && label.GetValue() == "deleted" && !ofAuthority(name, m) {
						return fmt.Errorf("%s %s", name, m)
					}
				}
			}
		}
		return nil
	})
	t.Logf("no series %s after the deletion", took.Round(time.Millisecond))
}

// ofAuthority reports whether a series is of the Gateway's authority, which stays.
func ofAuthority(name string, m *dto.Metric) bool {
	return strings.Contains(m.String(), "\"CA\"") || strings.HasPrefix(name, "sallyport_crl") || strings.HasPrefix(name, "sallyport_authority")
}

// Who swapped the Secret is served at the replica that heard of it, and not at the other.
func TestASwappedServerSecretAtOneReplica(t *testing.T) {
	edge(t, "swapped")
	edge(t, "other")
	unguarded(t)
	others, err := secret(t.Context(), "other.edge.mtls")
	if err != nil {
		t.Fatal(err)
	}
	spoil(t, "swapped.edge.mtls", func(s *corev1.Secret) { s.Data = others.Data }, func() {
		eventuallyProven(t, "swapped", "gateway-edge", forAll)
		pilotAgent := stack.Gateway(1).Process.PID()
		if err := syscall.Kill(pilotAgent, syscall.SIGSTOP); err != nil { // its Envoy goes on
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Kill(pilotAgent, syscall.SIGCONT) })
	})
	took := eventuallyBroken(t, "swapped", "gateway-edge", "ServedCertificateDiffers",
		replica(0)+" ServedLeafCurrent: LeafDiffers", replica(0)+" ServedChainTrusted: ChainUntrusted")
	t.Logf("found after %s", took.Round(10*time.Millisecond))
}

func TestAForeignCAInTheSecret(t *testing.T) {
	edge(t, "foreign")
	edge(t, "stranger")
	unguarded(t)
	others, err := secret(t.Context(), "stranger.edge.mtls-cacert")
	if err != nil {
		t.Fatal(err)
	}
	spoil(t, "foreign.edge.mtls-cacert", func(s *corev1.Secret) { s.Data = others.Data })
	took := eventuallyBroken(t, "foreign", "gateway-edge", "FriendRefused", both("ManagedAccepted: CertificateRefused")...)
	t.Logf("found after %s", took.Round(10*time.Millisecond))
}

// Istio silently drops the server of the younger Gateway.
func TestAnOlderOpenGatewayTakesTheHost(t *testing.T) {
	takeHost(t, "older", "younger")
	notAsked := []string{"ManagedAccepted", "ExpiredRefused", "RevokedRefused", "UnknownAuthorityRefused"}
	want := both("AnonymousRefused: Accepted")
	for _, e := range notAsked {
		want = append(want, both(e+": NotAsked")...)
	}
	took := eventuallyBroken(t, "younger", "gateway-edge", "EdgeOpen", want...)
	t.Logf("found after %s", took.Round(10*time.Millisecond))
}

// takeHost makes an older Gateway, proves a younger one, and gives the host of the younger
// to the older, which asks for no certificates.
func takeHost(t *testing.T, older, younger string) *unstructured.Unstructured {
	t.Helper()
	namespace(t, older)
	simple := "{mode: SIMPLE, credentialName: " + older + "-open}"
	apply(t, gatewayYAML(older, "edge", older+".else.example.com", "", simple))
	eventually(t, patience, "the next second: Kubernetes tells ages by it", func(ctx context.Context) error {
		gateway, err := stored(ctx, "networking.istio.io/v1", "Gateway", older, "edge")
		if err == nil && time.Since(gateway.GetCreationTimestamp().Time) < time.Second {
			err = errors.New("not yet")
		}
		return err
	})
	edge(t, younger)
	others, err := secret(t.Context(), younger+".edge.mtls")
	if err != nil {
		t.Fatal(err)
	}
	open := &corev1.Secret{Type: corev1.SecretTypeTLS, Data: others.Data}
	open.Namespace, open.Name = ingress, older+"-open"
	if err := stack.Client().Create(t.Context(), open); err != nil {
		t.Fatal(err)
	}
	apply(t, gatewayYAML(older, "edge", younger+".example.com", "", simple))
	gateway, err := stored(t.Context(), "networking.istio.io/v1", "Gateway", older, "edge")
	if err != nil {
		t.Fatal(err)
	}
	return gateway
}

func TestOptionalWhereMutualIsAskedFor(t *testing.T) {
	edge(t, "patched")
	without(t, binding("sallyport-gateway"), webhook())
	setMode(t, "patched", "OPTIONAL_MUTUAL")
	took := eventuallyBroken(t, "patched", "gateway-edge", "EdgeOpen", both("AnonymousRefused: Accepted")...)
	t.Logf("found after %s", took.Round(10*time.Millisecond))
}

// istiod silently ignores a CRL under the key that does not go with the CA's.
func TestARenamedCRLKey(t *testing.T) {
	edge(t, "renamed")
	unguarded(t)
	spoil(t, "renamed.edge.mtls-cacert", func(s *corev1.Secret) {
		s.Data["crl"] = s.Data["ca.crl"]
		delete(s.Data, "ca.crl")
	})
	took := eventuallyBroken(t, "renamed", "gateway-edge", "EdgeOpen", both("RevokedRefused: Accepted")...)
	t.Logf("found after %s", took.Round(10*time.Millisecond))
}

// A gateway that lost its certificate resets connections: that is no refusal.
func TestADeletedServerSecretIsNoRefusal(t *testing.T) {
	edge(t, "lost")
	unguarded(t)
	spoil(t, "lost.edge.mtls", func(s *corev1.Secret) {
		s.Data["tls.crt"], s.Data["tls.key"] = []byte("none"), []byte("none")
	}, func() { eventuallyProven(t, "lost", "gateway-edge", forAll) })
	// Envoy refuses what cannot be read and goes on with what it has; a gateway that
	// begins has nothing.
	gateway := stack.Gateway(1)
	if err := gateway.Process.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, e := range []string{"ManagedAccepted", "AnonymousRefused", "UnknownAuthorityRefused", "RevokedRefused", "ExpiredRefused", "ServedLeafCurrent", "ServedChainTrusted"} {
		want = append(want, replica(1)+" "+e+": Reset")
	}
	eventuallyBroken(t, "lost", "gateway-edge", "ReplicaUnknown", want...)
	// A gateway that begins waits for every certificate, also of others: this one is not to come soon.
	lost, err := stored(t.Context(), "networking.istio.io/v1", "Gateway", "lost", "edge")
	if err != nil {
		t.Fatal(err)
	}
	if err := stack.Client().Delete(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
}

func TestAReplicaThatIsGone(t *testing.T) {
	edge(t, "stopped")
	gateway := stack.Gateway(1)
	everything := func(reason string) []string {
		var want []string
		for _, e := range []string{"ManagedAccepted", "AnonymousRefused", "UnknownAuthorityRefused", "RevokedRefused", "ExpiredRefused", "ServedLeafCurrent", "ServedChainTrusted"} {
			want = append(want, replica(1)+" "+e+": "+reason)
		}
		return want
	}
	if err := gateway.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	took := eventuallyBroken(t, "stopped", "gateway-edge", "ReplicaUnknown", everything("Silent")...)
	t.Logf("frozen: found after %s", took.Round(10*time.Millisecond))
	if err := gateway.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventuallyProven(t, "stopped", "gateway-edge", forAll)
	if err := gateway.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	took = eventuallyBroken(t, "stopped", "gateway-edge", "ReplicaUnknown", everything("Unreachable")...)
	t.Logf("killed: found after %s", took.Round(10*time.Millisecond))
	if err := gateway.Process.Start(); err != nil {
		t.Fatal(err)
	}
	eventuallyProven(t, "stopped", "gateway-edge", forAll)
}

// With istiod frozen a renewed certificate stays in its Secret.
func TestIstiodIsFrozen(t *testing.T) {
	host := edge(t, "frozen")
	istiod, ok := stack.Process("istiod")
	if !ok {
		t.Fatal("there is no istiod")
	}
	if err := istiod.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	resumed := false
	resume := func() {
		if !resumed {
			_ = istiod.Signal(syscall.SIGCONT)
		}
		resumed = true
	}
	t.Cleanup(resume)
	before, err := secret(t.Context(), "frozen.edge.mtls")
	if err != nil {
		t.Fatal(err)
	}
	apply(t, gatewayYAML("frozen", "edge", host, mutual+", mtls.sallyport.dev/certificate-lifetime: 48h", ""))
	eventually(t, patience, "a renewed certificate", func(ctx context.Context) error {
		if s, err := secret(ctx, before.Name); err != nil || s.ResourceVersion == before.ResourceVersion {
			return errors.Join(err, errors.New("it is the one before"))
		}
		return nil
	})
	took := eventuallyBroken(t, "frozen", "gateway-edge", "ServedCertificateDiffers", both("ServedLeafCurrent: LeafDiffers")...)
	t.Logf("found after %s", took.Round(10*time.Millisecond))
	resume()
	eventuallyProven(t, "frozen", "gateway-edge", forAll)
}
