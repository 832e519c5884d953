package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sallyport.dev/sallyport/internal/localstack/product"
	"sallyport.dev/sallyport/pkg/pki"
)

// The Secrets of the webhook's certificate.
const (
	webhookCA      = "sallyport-webhook-ca"
	webhookServing = "sallyport-webhook-serving"
)

// webhookRotation is a CA of the webhook that has to be replaced while its certificate
// is served: the new one enters caBundle beside the old, signs, and the old one leaves.
func webhookRotation() scenario {
	before := map[string][]byte{} // the certificate served, by round
	return scenario{
		prepare: func(t *testing.T, round string) {
			eventually(t, "a webhook that answers", func(ctx context.Context) error { return reviewed(ctx, round) })
			s, err := secret(t.Context(), product.Namespace, webhookServing)
			if err != nil {
				t.Fatal(err)
			}
			before[round] = s.Data[corev1.TLSCertKey]
		},
		act: func(t *testing.T, _ string) {
			lost := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: product.Namespace, Name: webhookCA}}
			if err := stack.Client().Delete(t.Context(), lost); err != nil {
				t.Fatal(err)
			}
		},
		done: func(ctx context.Context, round string) error {
			return errors.Join(webhookRotated(ctx, before[round]), reviewed(ctx, round))
		},
		writes: 5, // the CA, caBundle, the certificate, the CA without the one before, caBundle
	}
}

// webhookRotated says what is missing of the end of a rotation: one CA, in caBundle and
// on record, that signed a certificate other than the one before.
func webhookRotated(ctx context.Context, before []byte) error {
	ca, err := secret(ctx, product.Namespace, webhookCA)
	if err != nil {
		return err
	}
	if len(ca.Data["previous.crt"]) > 0 {
		return errors.New("the CA before is still on record")
	}
	serving, err := secret(ctx, product.Namespace, webhookServing)
	if err != nil {
		return err
	}
	if bytes.Equal(serving.Data[corev1.TLSCertKey], before) {
		return errors.New("the certificate before is still stored")
	}
	pair, err := pki.ParsePair(serving.Data[corev1.TLSCertKey], serving.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return err
	}
	cas, err := pki.ParseCertificates(ca.Data["current.crt"])
	if err != nil {
		return err
	}
	if err := pair.Leaf().X509().CheckSignatureFrom(cas[0].X509()); err != nil {
		return fmt.Errorf("the certificate is not of the CA on record: %w", err)
	}
	configuration := &admissionregistrationv1.MutatingWebhookConfiguration{}
	if err := get(ctx, configuration, "", "sallyport"); err != nil {
		return err
	}
	for _, w := range configuration.Webhooks {
		if !bytes.Equal(w.ClientConfig.CABundle, ca.Data["current.crt"]) {
			return fmt.Errorf("caBundle of %s is not the CA on record", w.Name)
		}
	}
	return nil
}
