package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// intruder is the field manager of whoever writes our Secrets beside us.
const intruder = "intruder"

// unguarded takes the admission guard of our Secrets away until the test ends: what
// follows is what an administrator can do who took it away.
func unguarded(t *testing.T) {
	t.Helper()
	for _, name := range []string{"sallyport-secret", "sallyport-secret-keys"} {
		binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{}
		if err := get(t.Context(), binding, "", name); err != nil {
			t.Fatal(err)
		}
		if err := stack.Client().Delete(t.Context(), binding); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			binding.ResourceVersion, binding.UID = "", ""
			if err := stack.Client().Create(context.WithoutCancel(t.Context()), binding); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "an API server that no longer guards Secrets", func(ctx context.Context) error {
		trial := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ingress, Name: "trial.mtls", Labels: map[string]string{"mtls.sallyport.dev/managed": "true"}}}
		return stack.Client().Create(ctx, trial, client.DryRunAll)
	})
}

// tamper changes a stored Secret; the other way is to delete it.
func tamper(ctx context.Context, name string, change func(*corev1.Secret)) error {
	s, err := secret(ctx, ingress, name)
	if err != nil {
		return err
	}
	if change == nil {
		return stack.Client().Delete(ctx, s)
	}
	change(s)
	return stack.Client().Update(ctx, s, client.FieldOwner(intruder))
}

// Whatever is done to a Secret of ours, it is as it was in a moment. What is no longer
// marked as ours is not touched, and told of.
func TestATamperedSecretIsPutRight(t *testing.T) {
	unguarded(t)
	a := startAgent(t)
	a.settle(t)
	apply(t, gatewayYAML(clients, "other", ""))
	eventually(t, "another Gateway's certificate", func(ctx context.Context) error { return served(ctx, clients, "other") })
	other := func(name string) map[string][]byte {
		s, err := secret(t.Context(), ingress, name)
		if err != nil {
			t.Fatal(err)
		}
		return s.Data
	}
	swapped, foreignCA := other(clients+".other.mtls"), other(clients+".other.mtls-cacert")
	const server, ca = ".mtls", ".mtls-cacert"
	rows := []struct {
		name, suffix string
		change       func(*corev1.Secret)
	}{
		{"the server's is deleted", server, nil},
		{"the CA's is deleted", ca, nil},
		{"the certificate is cut off", server, func(s *corev1.Secret) { s.Data["tls.crt"] = s.Data["tls.crt"][:100] }},
		{"the certificate is empty", server, func(s *corev1.Secret) { s.Data["tls.crt"] = nil }},
		{"the key is gone", server, func(s *corev1.Secret) { s.Data["tls.key"] = []byte{} }},
		{"the key is another Gateway's", server, func(s *corev1.Secret) { s.Data["tls.key"] = swapped["tls.key"] }},
		{"the pair is another Gateway's", server, func(s *corev1.Secret) { s.Data = swapped }},
		{"the bundle is another's, with its CRL", ca, func(s *corev1.Secret) { s.Data = foreignCA }},
		{"the bundle is cut off", ca, func(s *corev1.Secret) { s.Data["ca.crt"] = s.Data["ca.crt"][:100] }},
		{"the CRL is gone", ca, func(s *corev1.Secret) { delete(s.Data, "ca.crl") }},
		{"a key that Istio prefers is beside ours", ca, func(s *corev1.Secret) { s.Data["cacert"] = foreignCA["ca.crt"] }},
		{"a CA is beside the pair", server, func(s *corev1.Secret) { s.Data["ca.crt"] = foreignCA["ca.crt"] }},
		{"it is filled up to a mebibyte", server, func(s *corev1.Secret) { s.Data["more"] = make([]byte, 1<<20-8<<10) }},
		{"the CA's is filled up with garbage", ca, func(s *corev1.Secret) {
			s.Data["ca.crt"] = bytes.Repeat([]byte("-----BEGIN CERTIFICATE-----\n"), 30_000)
		}},
		{"it is not labelled any more", server, func(s *corev1.Secret) { delete(s.Labels, "mtls.sallyport.dev/managed") }},
		{"it is immutable and cut off", server, func(s *corev1.Secret) { yes := true; s.Immutable, s.Data["tls.crt"] = &yes, []byte("x") }},
		{"the CA's is immutable and has no CRL", ca, func(s *corev1.Secret) { yes := true; s.Immutable = &yes; delete(s.Data, "ca.crl") }},
		{"it is marked as no longer needed", ca, func(s *corev1.Secret) {
			s.Annotations["mtls.sallyport.dev/unreferenced-since"] = "2001-01-01T00:00:00Z"
		}},
	}
	longest := time.Duration(0)
	for i, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			name := fmt.Sprintf("tampered-%d", i)
			apply(t, gatewayYAML(clients, name, ""))
			eventually(t, "the certificate", func(ctx context.Context) error { return served(ctx, clients, name) })
			before, err := secret(t.Context(), ingress, clients+"."+name+row.suffix)
			if err != nil {
				t.Fatal(err)
			}
			if err := tamper(t.Context(), before.Name, row.change); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			eventually(t, "the Secret put right", func(ctx context.Context) error {
				after, err := secret(ctx, ingress, before.Name)
				switch {
				case err != nil:
					return err
				case len(after.Data) != len(before.Data):
					return fmt.Errorf("it has %d keys, expected %d", len(after.Data), len(before.Data))
				case after.Labels["mtls.sallyport.dev/managed"] != "true" || after.Annotations["mtls.sallyport.dev/unreferenced-since"] != "":
					return fmt.Errorf("its marks are %v %v", after.Labels, after.Annotations)
				case after.Immutable != nil:
					return errors.New("it is immutable")
				}
				return served(ctx, clients, name)
			})
			longest = max(longest, time.Since(began))
		})
	}
	t.Logf("%d ways to tamper, put right in %s at most", len(rows), longest.Round(time.Millisecond))
}

// A Secret whose owner annotation somebody took is his from now on: it is left as it
// is, and the endpoint says so.
func TestASecretThatIsNoLongerOursIsLeftAlone(t *testing.T) {
	unguarded(t)
	startAgent(t).settle(t)
	apply(t, gatewayYAML(clients, "disowned", ""))
	eventually(t, "the certificate", func(ctx context.Context) error { return served(ctx, clients, "disowned") })
	const name = clients + ".disowned.mtls"
	if err := tamper(t.Context(), name, func(s *corev1.Secret) { s.Annotations, s.Labels = nil, nil; s.Data["tls.crt"] = []byte("x") }); err != nil {
		t.Fatal(err)
	}
	taken, err := secret(t.Context(), ingress, name)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the endpoint to tell", func(ctx context.Context) error {
		return tells(ctx, "disowned", v1alpha1.ConditionProgrammed, "False", v1alpha1.ReasonForeignSecret, name)
	})
	if left, err := secret(t.Context(), ingress, name); err != nil || left.ResourceVersion != taken.ResourceVersion {
		t.Errorf("the Secret was changed: %v", err)
	}
}

// tells says what is missing of a condition of a Gateway's endpoint.
func tells(ctx context.Context, gateway, kind, status, reason, text string) error {
	object := ofOurs("MutualTLSEndpoint", clients, "gateway-"+gateway)
	if err := get(ctx, object, clients, object.GetName()); err != nil {
		return err
	}
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		message, _ := condition["message"].(string)
		if condition["type"] == kind && condition["status"] == status && condition["reason"] == reason && strings.Contains(message, text) {
			return nil
		}
	}
	return fmt.Errorf("no condition %s=%s/%s with %q in %v", kind, status, reason, text, conditions)
}

// Somebody who undoes each repair is not outwritten: his change is undone once, and
// then he is told of, by name. Other Gateways do not wait for it.
func TestAFightingWriterIsToldOf(t *testing.T) {
	for what, change := range map[string]func(*corev1.Secret){
		"a changed certificate": func(s *corev1.Secret) { s.Data["tls.crt"] = []byte(time.Now().String()) },
		"a key that is added":   func(s *corev1.Secret) { s.Data["ca.crt"] = []byte(time.Now().String()) },
		"a deletion":            nil,
	} {
		t.Run(what, func(t *testing.T) {
			unguarded(t)
			a := startAgent(t)
			a.settle(t)
			name := "fought-" + strings.ReplaceAll(what, " ", "-")
			apply(t, gatewayYAML(clients, name, ""))
			eventually(t, "the certificate", func(ctx context.Context) error {
				return errors.Join(served(ctx, clients, name), ready(ctx, "MutualTLSEndpoint", clients, "gateway-"+name))
			})
			// Its own, or a new one: those of other tests may be due for something.
			var writes atomic.Int32
			a.proxy.onWritten(func(r *http.Request) {
				secrets := "/namespaces/" + ingress + "/secrets"
				if strings.HasSuffix(r.URL.Path, secrets) || strings.HasSuffix(r.URL.Path, secrets+"/"+clients+"."+name+".mtls") {
					writes.Add(1)
				}
			})
			fighting, stop := context.WithTimeout(t.Context(), 4*time.Second)
			defer stop()
			changes := 0
			ticker := time.NewTicker(20 * time.Millisecond)
			defer ticker.Stop()
			for fighting.Err() == nil {
				if err := tamper(t.Context(), clients+"."+name+".mtls", change); err == nil {
					changes++
				}
				<-ticker.C
			}
			if n := writes.Load(); n != 1 || changes < 2 {
				t.Errorf("after %d changes of somebody else the agent wrote Secrets %d times, expected once", changes, n)
			}
			eventually(t, "the endpoint to tell", func(ctx context.Context) error {
				by := intruder
				if change == nil {
					by = "somebody"
				}
				return tells(ctx, name, v1alpha1.ConditionConflictingWriter, "True", v1alpha1.ReasonForeignChange, by)
			})
			apply(t, gatewayYAML(clients, name+"-beside", ""))
			eventually(t, "another Gateway's certificate", func(ctx context.Context) error { return served(ctx, clients, name+"-beside") })
		})
	}
}
