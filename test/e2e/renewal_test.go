package e2e

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack/edge"
	"sallyport.dev/sallyport/pkg/pki"
)

// A server certificate that lives for a minute is renewed in time, and nobody who
// connects every 10 ms all the while is refused.
func TestServerCertificateIsRenewedWithoutARefusedCaller(t *testing.T) {
	t.Parallel()
	const ns, host = "renewal", "renewal.example.com"
	namespace(t, ns)
	serve(t, ns, "edge", host, "mtls.sallyport.dev/certificate-lifetime: 1m")
	friend := byRequest(t, ns, "caller", "default")
	checkThreeAnswers(t, friend, host)
	first := storedLeaf(t, "renewal.edge.mtls")

	refused, calls := callAllTheTime(t, friend, host, func() bool {
		return storedLeaf(t, "renewal.edge.mtls").Serial() != first.Serial()
	})
	if now := time.Now(); now.After(first.NotAfter()) {
		t.Errorf("renewed at %s, and the certificate had ended at %s", now, first.NotAfter())
	}
	if len(refused) > 0 || calls < 500 {
		t.Errorf("%d of %d calls were not answered: %v", len(refused), calls, refused)
	}
	second := storedLeaf(t, "renewal.edge.mtls")
	for _, gateway := range shared.stack.Gateways() {
		eventually(t, gateway.Pod+" serves what is stored", func(ctx context.Context) error {
			served := friend.Call(ctx, gateway.HTTPS, host, host, "/status/418", nil).Served
			if served == nil || !bytes.Equal(served.Raw, second.X509().Raw) {
				return fmt.Errorf("serves %v, stored is %s", served, second.Serial())
			}
			return nil
		})
	}
	t.Logf("%d calls, none refused", calls)
}

func storedLeaf(t *testing.T, name string) pki.Certificate {
	t.Helper()
	var secret corev1.Secret
	if err := shared.stack.Client().Get(t.Context(), client.ObjectKey{Namespace: "istio-system", Name: name}, &secret); err != nil {
		t.Fatal(err)
	}
	pair, err := pki.ParsePair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf()
}

// callAllTheTime connects every 10 ms to each gateway in turn until two seconds
// after something has happened, and returns the answers that were none.
func callAllTheTime(t *testing.T, friend edge.Caller, host string, happened func() bool) (refused []string, calls int) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.Now().Add(90 * time.Second)
	end := deadline
	gateways := shared.stack.Gateways()
	for instant := range ticker.C {
		if instant.After(end) {
			if end.Equal(deadline) {
				t.Fatal("it did not happen")
			}
			return refused, calls
		}
		gateway := gateways[calls%len(gateways)]
		if a := friend.Call(t.Context(), gateway.HTTPS, host, host, "/status/418", nil); a.Status != 418 {
			refused = append(refused, fmt.Sprintf("%s: %s", gateway.Pod, a))
		}
		if calls++; calls%50 == 0 && end.Equal(deadline) && happened() {
			end = instant.Add(2 * time.Second)
		}
	}
	return refused, calls
}

// nobodyIsRefused calls all the time until something has happened, and fails if any call was refused.
func nobodyIsRefused(t *testing.T, what string, caller edge.Caller, host string, happened func() bool) {
	t.Helper()
	began := time.Now()
	refused, calls := callAllTheTime(t, caller, host, happened)
	t.Logf("%d calls while %s, %d refused, %s", calls, what, len(refused), time.Since(began).Round(time.Millisecond))
	for _, r := range refused[:min(len(refused), 10)] {
		t.Error(r)
	}
}
