package tenancy

import (
	"context"
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/testenv"
)

// on is a Gateway with some hosts on a port: on different ports Istio serves a host
// from both, and only the authority stands between the two.
func on(namespace, name string, port int, authority, more string, hosts string) string {
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: %s, namespace: %s, annotations: {%s, mtls.sallyport.dev/authorities: %s%s}}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: %d, name: https, protocol: HTTPS}, hosts: [%s]}]
`, name, namespace, mutual, authority, more, port, hosts)
}

// put stores a Gateway in somebody's name, and takes it away after the test.
func put(t *testing.T, user, manifest string) {
	t.Helper()
	objects, err := localstack.ParseYAML([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	stored := &unstructured.Unstructured{}
	stored.SetGroupVersionKind(objects[0].GroupVersionKind())
	c := as(t, user)
	if err := as(t, "").Get(t.Context(), client.ObjectKeyFromObject(objects[0]), stored); err == nil {
		objects[0].SetResourceVersion(stored.GetResourceVersion())
		err = c.Update(t.Context(), objects[0])
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := c.Create(t.Context(), objects[0]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = as(t, "").Delete(context.WithoutCancel(t.Context()), objects[0]) })
}

func tells(t *testing.T, namespace, gateway, status, reason string) {
	t.Helper()
	testenv.Eventually(t, patience, namespace+"/"+gateway+" tells "+status+" "+reason, func(ctx context.Context) error {
		return told(ctx, t, namespace, "MutualTLSEndpoint", "gateway-"+gateway, status, reason)
	})
}

// Who asks first and is refused holds nothing: neither a host under an authority that
// does not serve him, nor one under an authority that is not there yet.
func TestASquatterHoldsNothing(t *testing.T) {
	const open = `{apiVersion: mtls.sallyport.dev/v1alpha1, kind: CertificateAuthority, metadata: {name: %s, namespace: shop}, spec: {source: {type: SelfSigned}}}`
	if err := stack.ApplyYAML(t.Context(), fmt.Sprintf(open, "closed")); err != nil {
		t.Fatal(err)
	}
	put(t, "mallory", on("mallory", "squatter", 9443, "shop/closed", "", "late.shop.example.com"))
	tells(t, "mallory", "squatter", "False", "AuthorityNotAllowed")
	put(t, "mallory", on("mallory", "early", 9444, "shop/tomorrow", "", "tomorrow.shop.example.com"))
	tells(t, "mallory", "early", "False", "AuthorityNotFound")

	put(t, "", on("shop", "late", 443, "closed", "", "late.shop.example.com"))
	tells(t, "shop", "late", "True", "")
	if err := stack.ApplyYAML(t.Context(), fmt.Sprintf(open, "tomorrow")); err != nil {
		t.Fatal(err)
	}
	tells(t, "mallory", "early", "False", "AuthorityNotAllowed")
	put(t, "", on("shop", "tomorrow", 443, "tomorrow", "", "tomorrow.shop.example.com"))
	tells(t, "shop", "tomorrow", "True", "")
}

// An older Gateway that asks later for a host of somebody else, under an authority that
// serves both, does not get it, whatever else it is refused for meanwhile; and he whose
// host it is keeps it when he changes his own.
func TestAnOlderGatewayTakesNoHostLater(t *testing.T) {
	if err := stack.ApplyYAML(t.Context(), `
apiVersion: mtls.sallyport.dev/v1alpha1
kind: CertificateAuthority
metadata: {name: shared, namespace: shop}
spec: {source: {type: SelfSigned}, allowedGateways: {namespaces: {from: All}}}
`); err != nil {
		t.Fatal(err)
	}
	put(t, "mallory", on("mallory", "older", 9443, "shop/shared", "", "mallory.example.com"))
	tells(t, "mallory", "older", "True", "")
	put(t, "", on("shop", "younger", 443, "shared", "", "younger.shop.example.com"))
	tells(t, "shop", "younger", "True", "")

	put(t, "mallory", on("mallory", "older", 9443, "shop/shared", "", "mallory.example.com, younger.shop.example.com"))
	tells(t, "mallory", "older", "False", "NameInUse")
	put(t, "", on("shop", "younger", 443, "shared", ", mtls.sallyport.dev/key-algorithm: ECDSA-P384", "younger.shop.example.com"))
	put(t, "mallory", on("mallory", "older", 9443, "shop/shared", ", mtls.sallyport.dev/certificate-lifetime: 99999h", "mallory.example.com, younger.shop.example.com"))
	tells(t, "mallory", "older", "False", "LifetimeTooLong")
	put(t, "", on("shop", "younger", 443, "shared", ", mtls.sallyport.dev/min-tls: TLSv1.3", "younger.shop.example.com"))
	put(t, "mallory", on("mallory", "older", 9443, "shop/shared", "", "mallory.example.com, younger.shop.example.com"))
	tells(t, "mallory", "older", "False", "NameInUse")
	tells(t, "shop", "younger", "True", "")

	// From an authority of his own, under which the host is his.
	put(t, "mallory", on("mallory", "older", 9443, "own", "", "younger.shop.example.com"))
	if err := stack.ApplyYAML(t.Context(), `{apiVersion: mtls.sallyport.dev/v1alpha1, kind: CertificateAuthority, metadata: {name: own, namespace: mallory}, spec: {source: {type: SelfSigned}}}`); err != nil {
		t.Fatal(err)
	}
	tells(t, "mallory", "older", "True", "")
	put(t, "mallory", on("mallory", "older", 9443, "shop/shared", "", "younger.shop.example.com"))
	tells(t, "mallory", "older", "False", "NameInUse")
	put(t, "", on("shop", "younger", 443, "shared", ", mtls.sallyport.dev/key-algorithm: ECDSA-P256", "younger.shop.example.com"))
	tells(t, "shop", "younger", "True", "")
	if err := told(t.Context(), t, "mallory", "MutualTLSEndpoint", "gateway-older", "False", "NameInUse"); err != nil {
		t.Error(err)
	}
}
