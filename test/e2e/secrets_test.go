package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack/edge"
	"sallyport.dev/sallyport/internal/localstack/product"
	"sallyport.dev/sallyport/pkg/pki"
)

// secret reads a Secret of an ingress namespace.
func secret(t *testing.T, namespace, name string) *corev1.Secret {
	t.Helper()
	var s corev1.Secret
	if err := shared.stack.Client().Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// ledgerOf finds the ledger of an authority by its mark.
func ledgerOf(t *testing.T, kind, namespace, authority string) *corev1.Secret {
	t.Helper()
	var list corev1.SecretList
	if err := shared.stack.Client().List(t.Context(), &list, client.InNamespace(product.Namespace), client.MatchingLabels{"mtls.sallyport.dev/ledger": kind}); err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		if strings.HasPrefix(list.Items[i].Annotations["mtls.sallyport.dev/owner"], "CertificateAuthority/"+namespace+"/"+authority+"/") {
			return &list.Items[i]
		}
	}
	t.Fatalf("there is no %s of %s/%s", kind, namespace, authority)
	return nil
}

func TestSecretsAreWhatGatewaysReadAndNothingElse(t *testing.T) {
	const ns, host = "secrets", "secrets.example.com"
	namespace(t, ns)
	serve(t, ns, "edge", host)
	friend := byRequest(t, ns, "caller", "default")
	checkThreeAnswers(t, friend, host)

	uid := stored(t, "networking.istio.io/v1", "Gateway", ns, "edge")["metadata"].(map[string]any)["uid"] //nolint:forcetypeassert // every object has one
	for name, want := range map[string]struct {
		kind corev1.SecretType
		keys []string
	}{
		"secrets.edge.mtls":        {corev1.SecretTypeTLS, []string{"tls.crt", "tls.key"}},
		"secrets.edge.mtls-cacert": {corev1.SecretTypeOpaque, []string{"ca.crl", "ca.crt"}},
	} {
		s := secret(t, "istio-system", name)
		if diff := cmp.Diff(want.keys, slices.Sorted(maps.Keys(s.Data))); diff != "" || s.Type != want.kind {
			t.Errorf("%s of type %s (-want +got):\n%s", name, s.Type, diff)
		}
		if owner := fmt.Sprintf("Gateway/%s/edge/%s", ns, uid); s.Labels["mtls.sallyport.dev/managed"] != "true" || s.Annotations["mtls.sallyport.dev/owner"] != owner {
			t.Errorf("%s carries %v and %v, expected owner %s", name, s.Labels, s.Annotations, owner)
		}
	}
	ca := secret(t, "istio-system", "secrets.edge.mtls-cacert")
	bundle, err := pki.ParseBundle(ca.Data["ca.crt"], ca.Data["ca.crl"], time.Now())
	if err != nil {
		t.Fatal(err)
	}
	chain, err := pki.ParseChain(secret(t, "istio-system", "secrets.edge.mtls").Data["tls.crt"])
	if err != nil {
		t.Fatal(err)
	}
	if err := chain.VerifyServer(bundle, []string{host}, time.Now()); err != nil {
		t.Error(err)
	}
	serials := ledgerOf(t, "serials", ns, "default").Data["serials"]
	if serial := fmt.Sprintf("%x ", friend.Certificates[0].Leaf.SerialNumber.Bytes()); !bytes.Contains(serials, []byte(serial)) {
		t.Errorf("the caller's serial %sis not recorded in\n%s", serial, serials)
	}
}

// The CRL is heeded from the first day: every generation has a certificate that was
// never handed to anybody and that its CRL lists.
func TestRevokedCertificateIsRefusedAtTheEdge(t *testing.T) {
	const ns, host = "revoked", "revoked.example.com"
	namespace(t, ns)
	serve(t, ns, "edge", host)
	checkThreeAnswers(t, byRequest(t, ns, "caller", "default"), host)
	ledger := ledgerOf(t, "keys", ns, "default")
	pair, err := tls.X509KeyPair(ledger.Data["g1.probe.crt"], ledger.Data["g1.probe.key"])
	if err != nil {
		t.Fatal(err)
	}
	for _, gateway := range shared.stack.Gateways() {
		a := edge.Caller{Certificates: []tls.Certificate{pair}}.Call(t.Context(), gateway.HTTPS, host, host, "/status/418", nil)
		if a.Refusal != "tls: revoked certificate" {
			t.Errorf("%s answers %s", gateway.Pod, a)
		}
	}
}

// What somebody deletes or spoils is made good before anybody notices: the gateways
// go on with what they have.
func TestSecretsAreHealed(t *testing.T) {
	const ns, host = "healed", "healed.example.com"
	namespace(t, ns)
	serve(t, ns, "edge", host)
	friend := byRequest(t, ns, "caller", "default")
	checkThreeAnswers(t, friend, host)
	before := secret(t, "istio-system", "healed.edge.mtls-cacert")
	for _, name := range []string{"healed.edge.mtls", "healed.edge.mtls-cacert"} {
		if err := shared.stack.Client().Delete(t.Context(), secret(t, "istio-system", name)); err != nil {
			t.Fatal(err)
		}
		eventually(t, name+" is back", func(ctx context.Context) error {
			return shared.stack.Client().Get(ctx, client.ObjectKey{Namespace: "istio-system", Name: name}, &corev1.Secret{})
		})
	}
	after := secret(t, "istio-system", "healed.edge.mtls-cacert")
	if !bytes.Equal(before.Data["ca.crt"], after.Data["ca.crt"]) {
		t.Error("another CA is trusted than before")
	}
	checkThreeAnswers(t, friend, host)
}

// Killed at any moment, the agent goes on where it was: nothing is issued twice.
func TestAgentGoesOnAfterItWasKilled(t *testing.T) {
	const ns, host = "killed", "killed.example.com"
	namespace(t, ns)
	apply(t, gatewayYAML("v1", ns, "edge", host))
	ready(t, "MutualTLSEndpoint", ns, "gateway-edge")
	first := secret(t, "istio-system", "killed.edge.mtls")
	agent := shared.product.Agents[0]
	if err := agent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	apply(t, gatewayYAML("v1", ns, "later", "later."+host))
	if err := agent.Process.Start(); err != nil {
		t.Fatal(err)
	}
	ready(t, "MutualTLSEndpoint", ns, "gateway-later")
	if second := secret(t, "istio-system", "killed.edge.mtls"); first.ResourceVersion != second.ResourceVersion {
		t.Error("the first Gateway's Secret was written again")
	}
}
