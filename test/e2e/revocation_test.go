package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack/edge"
	"sallyport.dev/sallyport/pkg/pki"
)

// revocations is how many callers are revoked one after the other.
var revocations = flag.Int("revocations", 12, "callers that TestARevokedCallerIsRefusedInAMoment revokes")

// patchCaller changes the spec of a ClientCertificate.
func patchCaller(t *testing.T, ns, name, patch string) {
	t.Helper()
	c := &unstructured.Unstructured{}
	c.SetAPIVersion("mtls.sallyport.dev/v1alpha1")
	c.SetKind("ClientCertificate")
	c.SetNamespace(ns)
	c.SetName(name)
	if err := shared.stack.Client().Patch(t.Context(), c, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		t.Fatal(err)
	}
}

// refusedEverywhere says at which replica a caller is not refused as revoked.
func refusedEverywhere(ctx context.Context, c edge.Caller, host string) error {
	for _, gateway := range shared.stack.Gateways() {
		if a := c.Call(ctx, gateway.HTTPS, host, host, "/status/418", nil); a.Refusal != "tls: revoked certificate" {
			return fmt.Errorf("%s answers %s", gateway.Pod, a)
		}
	}
	return nil
}

// A stolen certificate is dead in a moment, at every replica; nobody else notices.
func TestARevokedCallerIsRefusedInAMoment(t *testing.T) {
	const ns, host = "callers", "callers.example.com"
	namespace(t, ns)
	serve(t, ns, "edge", host)
	friend := byRequest(t, ns, "friend", "default")
	checkThreeAnswers(t, friend, host)
	var took []time.Duration
	for n := range *revocations {
		name := fmt.Sprintf("stolen-%d", n)
		stolen := byRequest(t, ns, name, "default")
		if a := stolen.Call(t.Context(), shared.stack.Gateway(n%2).HTTPS, host, host, "/status/418", nil); a.Status != 418 {
			t.Fatalf("before it is revoked: %s", a)
		}
		patchCaller(t, ns, name, `{"spec": {"revocation": {"reason": "KeyCompromise"}}}`)
		begun := time.Now()
		eventually(t, name+" refused at both replicas", func(ctx context.Context) error { return refusedEverywhere(ctx, stolen, host) })
		took = append(took, time.Since(begun))
		if a := friend.Call(t.Context(), shared.stack.Gateway(n%2).HTTPS, host, host, "/status/418", nil); a.Status != 418 {
			t.Errorf("somebody else is answered with %s", a)
		}
	}
	slices.Sort(took)
	t.Logf("%d revocations: refused at both replicas after %s in the median, %s in 99 of 100, %s at most", len(took),
		took[len(took)/2].Round(time.Millisecond), took[len(took)*99/100].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
	told := stored(t, "mtls.sallyport.dev/v1alpha1", "ClientCertificate", ns, "stolen-0")
	conditions, _, _ := unstructured.NestedSlice(told, "status", "conditions")
	if len(conditions) != 1 || conditions[0].(map[string]any)["reason"] != "Revoked" { //nolint:forcetypeassert // conditions are objects
		t.Errorf("its conditions are %v", conditions)
	}
}

// Not only the newest certificate of a caller is revoked, and a deletion that revokes
// leaves nothing behind; what one does not revoke goes on.
func TestEveryCertificateOfACallerIsRevoked(t *testing.T) {
	const ns, host = "callers", "every.example.com"
	namespace(t, ns)
	serve(t, ns, "every", host)
	first := certificateFor(t, ns, "twice", "default")
	checkThreeAnswers(t, first, host)
	patchCaller(t, ns, "twice", `{"spec": {"lifetime": "3h", "deletionPolicy": "Revoke"}}`)
	var second edge.Caller
	eventually(t, "a second certificate", func(ctx context.Context) error {
		var s corev1.Secret
		if err := shared.stack.Client().Get(ctx, client.ObjectKey{Namespace: ns, Name: "twice-client"}, &s); err != nil {
			return err
		}
		pair, err := pki.ParsePair(s.Data["tls.crt"], s.Data["tls.key"])
		if err != nil || pair.Leaf().X509().Equal(first.Certificates[0].Leaf) {
			return errors.Join(err, errors.New("it is the first"))
		}
		second = caller(t, pair)
		return nil
	})
	checkThreeAnswers(t, second, host)
	retained := byRequest(t, ns, "retained", "default")
	for _, name := range []string{"twice", "retained"} {
		object := &unstructured.Unstructured{Object: stored(t, "mtls.sallyport.dev/v1alpha1", "ClientCertificate", ns, name)}
		if err := shared.stack.Client().Delete(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		eventually(t, name+" gone", func(ctx context.Context) error {
			err := shared.stack.Client().Get(ctx, client.ObjectKeyFromObject(object), object)
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("it is still there (error %w)", err)
		})
	}
	for which, c := range map[string]edge.Caller{"first": first, "second": second} {
		eventually(t, "the "+which+" refused", func(ctx context.Context) error { return refusedEverywhere(ctx, c, host) })
	}
	checkThreeAnswers(t, retained, host)
}

// A serial number is enough, where nothing else is left of a certificate.
func TestASerialNumberIsRevoked(t *testing.T) {
	const ns, host = "serials", "serials.example.com"
	namespace(t, ns)
	serve(t, ns, "edge", host)
	lost, friend := byRequest(t, ns, "lost", "default"), byRequest(t, ns, "friend", "default")
	checkThreeAnswers(t, lost, host)
	serial := stored(t, "mtls.sallyport.dev/v1alpha1", "ClientCertificate", ns, "lost")["status"].(map[string]any)["serial"] //nolint:forcetypeassert // it is ready
	apply(t, fmt.Sprintf(`
apiVersion: mtls.sallyport.dev/v1alpha1
kind: CertificateAuthority
metadata: {name: default, namespace: %s}
spec: {source: {type: SelfSigned}, revocation: {serials: ["%s"]}}
`, ns, serial))
	eventually(t, "the lost one refused", func(ctx context.Context) error { return refusedEverywhere(ctx, lost, host) })
	checkThreeAnswers(t, friend, host)
}

// caller is one with a pair.
func caller(t *testing.T, pair pki.Pair) edge.Caller {
	t.Helper()
	certificate, err := tls.X509KeyPair(pair.CertificatePEM(), pair.KeyPEM())
	if err != nil {
		t.Fatal(err)
	}
	return edge.Caller{Certificates: []tls.Certificate{certificate}}
}
