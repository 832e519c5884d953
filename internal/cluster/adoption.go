package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// Offer is what somebody made by hand for a Gateway, in the place of its EdgeSecrets, and hands over.
type Offer struct {
	// Adopted is what goes on.
	Adopted rotate.Adopted
	// Problem is why it cannot be taken over, for people; nil if it can.
	Problem error
}

// offered reports whether something is handed over that can be taken over.
func (s StoredEdge) offered() bool { return s.Offer != nil && s.Offer.Problem == nil }

// byHand are Secrets that somebody else made; nil are those that are not there, or that are ours.
type byHand struct{ server, ca *corev1.Secret }

// lookForOffer reads what is not ours in the place of the Secrets, past the cache, which shows ours only. It is looked for
// where one of ours is missing.
func (c *Cluster) lookForOffer(ctx context.Context, s EdgeSecrets, stored *StoredEdge) error {
	var err error
	if s.Provided {
		if stored.record != nil {
			return nil
		}
		key := types.NamespacedName{Namespace: s.Server.Namespace, Name: intent.CASecretFor(s.Server.Name)}
		if stored.byHand.ca, err = c.notOurs(ctx, key, s.Owner); err != nil {
			return err
		}
		if made := stored.byHand.ca; made != nil && stored.taken() == string(made.UID) {
			stored.byHand.ca = nil // it was taken over before, and whoever deleted what was remembered of it ended that
		}
	} else if stored.server == nil {
		if stored.byHand.server, err = c.notOurs(ctx, s.Server, s.Owner); err != nil {
			return err
		}
		if stored.ca == nil {
			if stored.byHand.ca, err = c.notOurs(ctx, s.CA, s.Owner); err != nil {
				return err
			}
		}
	}
	if stored.Offer = stored.offer(s); stored.offered() && stored.byHand.server != nil {
		stored.Pair, stored.Unreadable = pairIn(stored.byHand.server.Data)
	}
	return nil
}

// TakenOver is the annotation on Secrets of ours that says which hand-made one was taken over whose owner keeps it: its UID.
const TakenOver = intent.Prefix + "taken-over"

// taken is the UID of a hand-made Secret that was taken over and stayed its owner's; empty if none was.
func (s StoredEdge) taken() string {
	for _, secret := range []*corev1.Secret{s.record, s.ca} {
		if secret != nil && secret.Annotations[TakenOver] != "" {
			return secret.Annotations[TakenOver]
		}
	}
	return ""
}

// notOurs is a stored Secret that was not made for the owner; nil if there is none.
func (c *Cluster) notOurs(ctx context.Context, key types.NamespacedName, owner intent.Owner) (*corev1.Secret, error) {
	secret, err := c.LiveSecret(ctx, key)
	if err != nil || secret == nil {
		return nil, err
	}
	if found, ours := OwnerOf(secret); ours && found.Same(owner) {
		return nil, nil //nolint:nilnil // absent is a fact, not an error
	}
	return secret, nil
}

// offer is what is handed over; nil if nothing is. Of two Secrets both are, or none.
func (s StoredEdge) offer(at EdgeSecrets) *Offer {
	secrets := slices.DeleteFunc([]*corev1.Secret{s.byHand.server, s.byHand.ca}, func(secret *corev1.Secret) bool { return secret == nil })
	if !slices.ContainsFunc(secrets, func(secret *corev1.Secret) bool { return secret.Annotations[intent.KeyAdopt] != "" }) {
		return nil
	}
	for _, secret := range secrets {
		if err := handedOver(secret, at, secret == s.byHand.server); err != nil {
			return &Offer{Problem: fmt.Errorf("Secret %s/%s cannot be taken over: %w", secret.Namespace, secret.Name, err)}
		}
	}
	adopted, err := s.adopted()
	if err != nil {
		err = fmt.Errorf("what was made by hand in %s cannot be taken over: %w", at.Server, err)
	}
	return &Offer{Adopted: adopted, Problem: err}
}

// keepers begin the keys of labels and annotations by which controllers mark Secrets that they write.
var keepers = []string{
	"cert-manager.io/", "cert.gardener.cloud/", "reconcile.external-secrets.io/", "secrets-store.csi.k8s.io/",
	"argocd.argoproj.io/", "kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/", "meta.helm.sh/",
}

// handedOver says why a Secret cannot be taken over, nil if it can: its owner hands it to this Gateway, and nobody else writes
// it, who would write it back.
func handedOver(secret *corev1.Secret, at EdgeSecrets, server bool) error {
	value := secret.Annotations[intent.KeyAdopt]
	gateway := types.NamespacedName{Namespace: at.Owner.Namespace, Name: at.Owner.Name}
	if value == "" {
		return fmt.Errorf("it is not handed over, as the other Secret of the Gateway is: annotate it %s: %s too", intent.KeyAdopt, gateway)
	}
	to, err := intent.ParseAdopt(value)
	switch {
	case err != nil:
		return err
	case to != gateway:
		return fmt.Errorf("it is handed over to Gateway %s, and Gateway %s names it", to, gateway)
	}
	if owner, marked := OwnerOf(secret); marked {
		return fmt.Errorf("it was made for %s", owner)
	}
	if len(secret.OwnerReferences) > 0 {
		owner := secret.OwnerReferences[0]
		return fmt.Errorf("%s %s owns it and may write it back: take it out of its hands first, or ask for %s: provided", owner.Kind, owner.Name, intent.KeyServerCertificate)
	}
	for _, keys := range []map[string]string{secret.Labels, secret.Annotations} {
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			if slices.ContainsFunc(keepers, func(k string) bool { return strings.HasPrefix(key, k) }) {
				return fmt.Errorf("whoever marked it %s writes it, and would write it back: take it out of his hands and the mark off first, or ask for %s: provided", key, intent.KeyServerCertificate)
			}
		}
	}
	if server && secret.Immutable != nil && *secret.Immutable {
		return errors.New("it is immutable, so that its certificate can never be renewed: make it anew without immutable")
	}
	if server && secret.Type != corev1.SecretTypeTLS && secret.Type != corev1.SecretTypeOpaque {
		return fmt.Errorf("its type is %.100q, expected %s or %s: make it anew with one of them", secret.Type, corev1.SecretTypeTLS, corev1.SecretTypeOpaque)
	}
	return nil
}

// adopted reads what is handed over. The CAs are where Istio finds them: in the Secret of CAs, or where there is none in the
// server's. Once they are remembered they are those, whatever became of the Secret of CAs meanwhile.
func (s StoredEdge) adopted() (rotate.Adopted, error) {
	var certificate []byte
	if s.byHand.server != nil {
		pair, err := pairIn(s.byHand.server.Data)
		if err != nil {
			return rotate.Adopted{}, err
		}
		certificate = pair.CertificatePEM()
	}
	switch {
	case s.Forgotten != nil:
		return rotate.Adopted{}, fmt.Errorf("what is remembered of hand-made Secrets cannot be read: %w", s.Forgotten)
	case s.byHand.ca != nil:
		cas, crls := casIn(s.byHand.ca.Data)
		if len(cas) == 0 {
			return rotate.Adopted{}, fmt.Errorf("Secret %s/%s has no CA under cacert or %s", s.byHand.ca.Namespace, s.byHand.ca.Name, caKey)
		}
		return rotate.ParseAdopted(certificate, cas, crls)
	case s.record != nil, s.ca != nil:
		return rotate.ParseAdopted(certificate, s.Adopted.CAsPEM(), s.Adopted.CRLsPEM())
	}
	cas, crls := casIn(s.byHand.server.Data)
	return rotate.ParseAdopted(certificate, cas, crls)
}

// The keys of hand-made Secrets that Istio takes before ours (istio/istio:pilot/pkg/credentials/kube/secrets.go).
const (
	genericCert = "cert"
	genericKey  = "key"
	genericCA   = "cacert"
	genericCRL  = "crl"
)

// pairIn is the server's pair in a Secret, as Istio finds it.
func pairIn(data map[string][]byte) (pki.Pair, error) {
	certificate, key := data[genericCert], data[genericKey]
	if len(certificate) == 0 || len(key) == 0 {
		certificate, key = data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey]
	}
	return pki.ParsePair(certificate, key)
}

// casIn are the CAs in a Secret with their CRLs, as Istio finds them: each pair of keys goes together.
func casIn(data map[string][]byte) (cas, crls []byte) {
	if len(data[genericCA]) > 0 {
		return data[genericCA], data[genericCRL]
	}
	return data[caKey], data[crlKey]
}

// wantedRecord is the Secret that remembers what is taken over, and of which Secret that stays its owner's.
func wantedRecord(s EdgeSecrets, a rotate.Adopted, of string) WantedSecret {
	data := map[string][]byte{}
	for key, value := range map[string][]byte{corev1.TLSCertKey: a.ServerPEM(), caKey: a.CAsPEM(), crlKey: a.CRLsPEM()} {
		if len(value) > 0 {
			data[key] = value
		}
	}
	return WantedSecret{Key: s.Adopted, Type: corev1.SecretTypeOpaque, Owner: s.Owner, Data: data, Annotations: takenOver(of)}
}

// takenOver is the annotation; none if nothing was.
func takenOver(of string) map[string]string {
	if of == "" {
		return nil
	}
	return map[string]string{TakenOver: of}
}

// Kept are the CAs that are stored, as if they had been taken over, where what is remembered cannot be read: what cannot be read
// stays as it was. They are the authority's own too.
func (s StoredEdge) Kept() rotate.Adopted {
	if s.Forgotten == nil || s.ca == nil {
		return rotate.Adopted{}
	}
	kept, err := rotate.ParseAdopted(nil, s.ca.Data[caKey], s.ca.Data[crlKey])
	if err != nil {
		return rotate.Adopted{}
	}
	return kept
}

// remembered reads what was taken over before. What was made for another is no memory of this one.
func (s *StoredEdge) remembered(owner intent.Owner) {
	if s.record == nil {
		return
	}
	if found, ours := OwnerOf(s.record); !ours || !found.Same(owner) {
		s.record = nil
		return
	}
	data := s.record.Data
	s.Adopted, s.Forgotten = rotate.ParseAdopted(data[corev1.TLSCertKey], data[caKey], data[crlKey])
}
