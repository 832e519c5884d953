package servingcertificate

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/internal/ingress"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/pki"
)

// The Secrets, in the agent's namespace.
const (
	caSecret      = "sallyport-webhook-ca"      //nolint:gosec // a name
	servingSecret = "sallyport-webhook-serving" //nolint:gosec // a name
)

// The keys of the CA's Secret.
const (
	currentCertificate  = "current.crt"
	currentKey          = "current.key"
	previousCertificate = "previous.crt"
)

// TrustedSince is the annotation of the webhook configuration that says when caBundle
// was last written, in RFC 3339. It is written with caBundle, in one patch.
const TrustedSince = intent.Prefix + "trusted-since"

// webhookLabels select the pods of the webhook, portName is the port they serve on.
var webhookLabels = client.MatchingLabels{"app.kubernetes.io/name": "sallyport", "app.kubernetes.io/component": "webhook"}

const portName = "webhook"

// state is what a pass found, with the objects it was read from.
type state struct {
	observed
	configuration  *admissionregistrationv1.MutatingWebhookConfiguration
	storedCA       *corev1.Secret
	storedServing  *corev1.Secret
	storedInBundle []pki.Certificate
}

// bundle is what caBundle is to be.
func (s state) bundle() []byte {
	all := bytes.Clone(s.current.Certificate().PEM())
	if !s.previous.IsZero() {
		all = append(all, s.previous.PEM()...)
	}
	return all
}

// outgoing is the CA that a new one replaces. If its record was lost, it is the one in
// caBundle that signed what is served.
func (s state) outgoing() pki.Certificate {
	if s.current.IsZero() {
		return s.signerInBundle()
	}
	return s.current.Certificate()
}

// signerInBundle is the CA in caBundle that signed what is served; zero if none did.
func (s state) signerInBundle() pki.Certificate {
	if s.serving.IsZero() {
		return pki.Certificate{}
	}
	for _, ca := range s.storedInBundle {
		if s.serving.Leaf().X509().CheckSignatureFrom(ca.X509()) == nil {
			return ca
		}
	}
	return pki.Certificate{}
}

func (r *Reconciler) owner() intent.Owner {
	return intent.Owner{Kind: "MutatingWebhookConfiguration", Name: ConfigurationName, UID: "webhook"}
}

// gather reads everything a pass needs. What cannot be read is taken for missing:
// it protects nothing but the way to the webhook, and a new one overlaps.
func (r *Reconciler) gather(ctx context.Context, now time.Time) (state, error) {
	var s state
	var err error
	if s.storedCA, err = r.Cluster.Secret(ctx, r.key(caSecret)); err != nil {
		return state{}, err
	}
	if s.storedServing, err = r.Cluster.Secret(ctx, r.key(servingSecret)); err != nil {
		return state{}, err
	}
	if s.storedCA != nil {
		if ca, err := pki.ParseAuthority(s.storedCA.Data[currentCertificate], s.storedCA.Data[currentKey]); err == nil && now.Before(ca.Certificate().NotAfter()) {
			s.current = ca
		}
		if before, err := pki.ParseCertificates(s.storedCA.Data[previousCertificate]); err == nil && len(before) == 1 {
			s.previous = before[0]
		}
	}
	if s.storedServing != nil {
		if pair, err := pki.ParsePair(s.storedServing.Data[corev1.TLSCertKey], s.storedServing.Data[corev1.TLSPrivateKeyKey]); err == nil {
			s.serving = pair
		}
	}
	if err := r.gatherConfiguration(ctx, &s, now); err != nil {
		return state{}, err
	}
	if !s.previous.IsZero() {
		return s, r.ask(ctx, &s)
	}
	return s, nil
}

func (r *Reconciler) key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: r.Cluster.Namespace(), Name: name}
}

func (r *Reconciler) gatherConfiguration(ctx context.Context, s *state, now time.Time) error {
	configuration := &admissionregistrationv1.MutatingWebhookConfiguration{}
	if err := r.Cluster.Client().Get(ctx, client.ObjectKey{Name: ConfigurationName}, configuration); apierrors.IsNotFound(err) {
		// There is nothing to write into, and nobody who trusts; it is looked at when it appears.
		s.bundled = true
		if !s.current.IsZero() {
			s.trustedSince = s.current.Certificate().NotBefore()
		}
		return nil
	} else if err != nil {
		return fmt.Errorf("reading MutatingWebhookConfiguration %s: %w", ConfigurationName, err)
	}
	s.configuration, s.bundled = configuration, !s.current.IsZero()
	if since, err := time.Parse(time.RFC3339, configuration.Annotations[TrustedSince]); err == nil && !since.After(now) {
		s.trustedSince = since
	}
	for i := range configuration.Webhooks {
		stored := configuration.Webhooks[i].ClientConfig.CABundle
		if !s.current.IsZero() && !bytes.Equal(stored, s.bundle()) {
			s.bundled = false
		}
		if cas, err := pki.ParseCertificates(stored); err == nil {
			s.storedInBundle = append(s.storedInBundle, cas...)
		}
	}
	return nil
}

// ask finds out how many replicas serve the stored certificate.
func (r *Reconciler) ask(ctx context.Context, s *state) error {
	var pods corev1.PodList
	if err := r.Cluster.Client().List(ctx, &pods, client.InNamespace(r.Cluster.Namespace()), webhookLabels); err != nil {
		return fmt.Errorf("listing the webhook's pods: %w", err)
	}
	for i := range pods.Items {
		pod := ingress.PodFrom(&pods.Items[i])
		port, named := pod.Ports[portName]
		if !pod.Ready || pod.IP == "" || !named {
			continue
		}
		s.replicas++
		served, err := r.Dial(ctx, net.JoinHostPort(pod.IP, strconv.FormatUint(uint64(port), 10)), r.names()[0])
		if err == nil && !s.serving.IsZero() && bytes.Equal(served, s.serving.Leaf().X509().Raw) {
			s.updated++
		}
	}
	return nil
}

// writeCA stores the CA, with the certificate of the one before.
func (r *Reconciler) writeCA(ctx context.Context, s state, current pki.Authority, previous pki.Certificate) error {
	data := map[string][]byte{currentCertificate: current.Certificate().PEM(), currentKey: current.Key().PEM()}
	if !previous.IsZero() {
		data[previousCertificate] = previous.PEM()
	}
	return r.write(ctx, caSecret, corev1.SecretTypeOpaque, data, s.storedCA)
}

func (r *Reconciler) writeServing(ctx context.Context, s state, pair pki.Pair) error {
	data := map[string][]byte{corev1.TLSCertKey: pair.CertificatePEM(), corev1.TLSPrivateKeyKey: pair.KeyPEM()}
	return r.write(ctx, servingSecret, corev1.SecretTypeTLS, data, s.storedServing)
}

func (r *Reconciler) write(ctx context.Context, name string, kind corev1.SecretType, data map[string][]byte, stored *corev1.Secret) error {
	outcome, _, err := r.Cluster.WriteSecret(ctx, cluster.WantedSecret{Key: r.key(name), Type: kind, Owner: r.owner(), Data: data}, stored)
	if err == nil && outcome == cluster.Foreign {
		err = fmt.Errorf("Secret %s exists and is not the agent's own: delete it", r.key(name)) //nolint:staticcheck // begins with a kind
	}
	return err
}

// writeBundle writes caBundle of every entry, and when, in one patch. It loses to
// whoever changed the configuration since it was read: so a cache that is behind costs
// no second write.
func (r *Reconciler) writeBundle(ctx context.Context, s state, now time.Time) error {
	if s.configuration == nil {
		return nil
	}
	wanted := s.configuration.DeepCopy()
	for i := range wanted.Webhooks {
		wanted.Webhooks[i].ClientConfig.CABundle = s.bundle()
	}
	if wanted.Annotations == nil {
		wanted.Annotations = map[string]string{}
	}
	wanted.Annotations[TrustedSince] = now.UTC().Format(time.RFC3339Nano)
	patch := client.StrategicMergeFrom(s.configuration, client.MergeFromWithOptimisticLock{})
	return r.Cluster.Client().Patch(ctx, wanted, patch, client.FieldOwner(cluster.FieldOwner))
}
