package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"software.sslmate.com/src/go-pkcs12"

	"sallyport.dev/sallyport/pkg/pki"
)

// A caller that reads no PEM gets its pair as PKCS #12 too, under a password of its own. Without the
// password it has the rest.
func TestAKeyStoreBesideThePEMFiles(t *testing.T) {
	const ns = "keystores"
	namespace(t, ns)
	apply(t, `
apiVersion: mtls.sallyport.dev/v1alpha1
kind: CertificateAuthority
metadata: {name: keystores, namespace: keystores}
spec: {source: {type: SelfSigned}}
---
apiVersion: mtls.sallyport.dev/v1alpha1
kind: ClientCertificate
metadata: {name: java, namespace: keystores}
spec: {authorityRef: {name: keystores}, secretName: java, keystore: {passwordSecretRef: {name: java-password, key: password}}}
`)
	eventually(t, "a condition that says what is missing", func(ctx context.Context) error {
		object := &unstructured.Unstructured{}
		object.SetAPIVersion("mtls.sallyport.dev/v1alpha1")
		object.SetKind("ClientCertificate")
		if err := shared.stack.Client().Get(ctx, client.ObjectKey{Namespace: ns, Name: "java"}, object); err != nil {
			return err
		}
		if said := notReady(object); said != "KeystorePassword: spec.keystore.passwordSecretRef: Secret keystores/java-password does not exist; tls.crt, tls.key and ca.crt are current, keystore.p12 is not" {
			return fmt.Errorf("it says %q", said)
		}
		return nil
	})
	first := secret(t, ns, "java")
	if _, err := pki.ParsePair(first.Data["tls.crt"], first.Data["tls.key"]); err != nil || first.Data["keystore.p12"] != nil {
		t.Errorf("without a password there are %d bytes of key store, and the pair: %v", len(first.Data["keystore.p12"]), err)
	}
	password := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "java-password"}, Data: map[string][]byte{"password": []byte("correct horse\n")}}
	if err := shared.stack.Client().Create(t.Context(), password); err != nil {
		t.Fatal(err)
	}
	ready(t, "ClientCertificate", ns, "java")
	stored := secret(t, ns, "java")
	_, leaf, _, err := pkcs12.DecodeChain(stored.Data["keystore.p12"], "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := pki.ParsePair(stored.Data["tls.crt"], stored.Data["tls.key"])
	if err != nil || !leaf.Equal(pair.Leaf().X509()) || !bytes.Equal(stored.Data["tls.crt"], first.Data["tls.crt"]) {
		t.Errorf("it holds certificate %x, and tls.crt another, or that changed (error %v)", leaf.SerialNumber, err)
	}
	patchCaller(t, ns, "java", `{"spec": {"lifetime": "3h"}}`)
	eventually(t, "a key store of the next certificate", func(ctx context.Context) error {
		var now corev1.Secret
		if err := shared.stack.Client().Get(ctx, client.ObjectKeyFromObject(stored), &now); err != nil {
			return err
		}
		if bytes.Equal(now.Data["tls.crt"], stored.Data["tls.crt"]) {
			return errors.New("the certificate is the one before")
		}
		_, next, _, err := pkcs12.DecodeChain(now.Data["keystore.p12"], "correct horse")
		if err == nil && next.Equal(leaf) {
			err = errors.New("the key store is the one before")
		}
		return err
	})
}
