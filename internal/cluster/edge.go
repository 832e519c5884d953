package cluster

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// caKey and crlKey pair: istiod ignores a CRL under another key than the one that
// goes with the CA's (istio/istio:pilot/pkg/credentials/kube/secrets.go).
const (
	caKey  = "ca.crt"
	crlKey = "ca.crl"
)

// EdgeSecrets are the two Secrets of a Gateway in one ingress namespace.
type EdgeSecrets struct {
	// Server and CA are where. Adopted is where that is remembered which was taken over of hand-made ones.
	Server, CA, Adopted types.NamespacedName
	// Owner is the Gateway.
	Owner intent.Owner
	// Provided is whether the server's is somebody else's: it is read, and never written.
	Provided bool
}

// StoredEdge is what is stored of EdgeSecrets. A zero Pair is a missing or an
// unreadable one.
type StoredEdge struct {
	// Pair of the server.
	Pair pki.Pair
	// Unreadable says why a pair that is there was not taken, nil if it was.
	Unreadable error
	// Offer is what is handed over in their place; nil if nothing is.
	Offer *Offer
	// Adopted is what was taken over before. Forgotten says why it cannot be read, nil if it can.
	Adopted   rotate.Adopted
	Forgotten error

	server, ca, record *corev1.Secret
	byHand             byHand
}

// Versions are those in which the Secrets were read.
func (s StoredEdge) Versions() string {
	return strconv.FormatUint(revision(s.server), 10) + "/" + strconv.FormatUint(revision(s.ca), 10)
}

// Trusted are the CAs that are stored, with their CRLs; none if they cannot be read.
func (s StoredEdge) Trusted() []pki.BundleEntry {
	if s.ca == nil {
		return nil
	}
	cas, err := pki.ParseCertificates(s.ca.Data[caKey])
	if err != nil {
		return nil
	}
	var crls []pki.CRL
	if stored := s.ca.Data[crlKey]; len(stored) > 0 {
		if crls, err = pki.ParseCRLs(stored); err != nil {
			return nil
		}
	}
	entries, err := pki.PairEntries(cas, crls)
	if err != nil {
		return nil
	}
	return entries
}

// Trusts reports whether a CA is among those that are stored.
func (s StoredEdge) Trusts(ca pki.Certificate) bool {
	if s.ca == nil {
		return false
	}
	stored, err := pki.ParseCertificates(s.ca.Data[caKey])
	return err == nil && slices.ContainsFunc(stored, ca.Equal)
}

// Edge reads what is stored.
func (c *Cluster) Edge(ctx context.Context, s EdgeSecrets) (StoredEdge, error) {
	var stored StoredEdge
	var err error
	if stored.ca, err = c.Secret(ctx, s.CA); err != nil {
		return StoredEdge{}, err
	}
	if stored.record, err = c.Secret(ctx, s.Adopted); err != nil {
		return StoredEdge{}, err
	}
	stored.remembered(s.Owner)
	if s.Provided {
		if stored, err = c.provided(ctx, s, stored); err != nil {
			return StoredEdge{}, err
		}
		return stored, c.lookForOffer(ctx, s, &stored)
	}
	if stored.server, err = c.Secret(ctx, s.Server); err != nil {
		return StoredEdge{}, err
	}
	if stored.server == nil {
		return stored, c.lookForOffer(ctx, s, &stored)
	}
	if owner, ours := OwnerOf(stored.server); !ours || !owner.Same(s.Owner) {
		return stored, nil // another's key is not ours to serve
	}
	stored.Pair, stored.Unreadable = pki.ParsePair(stored.server.Data[corev1.TLSCertKey], stored.server.Data[corev1.TLSPrivateKeyKey])
	return stored, nil
}

// provided reads a server's pair that is somebody else's, which no cache shows.
func (c *Cluster) provided(ctx context.Context, s EdgeSecrets, stored StoredEdge) (StoredEdge, error) {
	var err error
	if stored.server, err = c.LiveSecret(ctx, s.Server); err != nil || stored.server == nil {
		return stored, err
	}
	stored.Pair, stored.Unreadable = pairIn(stored.server.Data)
	return stored, nil
}

// EdgeOutcome is what a write of EdgeSecrets did to each of them.
type EdgeOutcome struct {
	// CA and Server are what was done to each Secret, Record to the one that remembers what is taken over.
	CA, Server, Record Outcome
	// Adopted is whether hand-made Secrets were taken over.
	Adopted bool
}

// Changed reports whether anything was written.
func (o EdgeOutcome) Changed() bool {
	return o.CA == Created || o.CA == Updated || o.Server == Created || o.Server == Updated
}

// Foreign names the Secret that is not ours, if there is one.
func (o EdgeOutcome) Foreign(s EdgeSecrets) (types.NamespacedName, bool) {
	switch {
	case o.Record == Foreign:
		return s.Adopted, true
	case o.CA == Foreign:
		return s.CA, true
	case o.Server == Foreign:
		return s.Server, true
	}
	return types.NamespacedName{}, false
}

// WriteEdge writes the CA Secret, then the server's: an edge that serves before it
// knows whom to trust refuses everybody, and never the other way round. Certificates
// and CRLs change in one write. If one of the two names is taken by somebody else's
// Secret, neither is written: with one of them ours and the other not, Istio would
// trust what somebody else wrote. What somebody else keeps changing is put right once a
// minute at most. A provided server Secret is left to its owner. What is handed over is remembered first, and then taken over
// as it was read: whoever is accepted by it goes on being.
func (c *Cluster) WriteEdge(ctx context.Context, s EdgeSecrets, pair pki.Pair, trusted pki.Bundle, stored StoredEdge, now time.Time) (EdgeOutcome, error) {
	data := map[string][]byte{caKey: trusted.CertificatesPEM()}
	if crls := trusted.CRLsPEM(); crls != nil {
		data[crlKey] = crls
	}
	of := stored.taken()
	if s.Provided && stored.offered() {
		of = string(stored.byHand.ca.UID)
	}
	adopted, outcome, err := c.remember(ctx, s, &stored, of, now)
	if _, foreign := outcome.Foreign(s); err != nil || foreign || outcome.Record == Held {
		return outcome, err
	}
	ca := WantedSecret{Key: s.CA, Type: corev1.SecretTypeOpaque, Owner: s.Owner, Data: data, Adopts: outcome.Adopted, Annotations: takenOver(of)}
	if outcome.CA, err = c.writeContested(ctx, ca, stored.ca, now); err != nil || outcome.CA == Foreign || s.Provided {
		return outcome, err
	}
	server := WantedSecret{
		Key: s.Server, Type: corev1.SecretTypeTLS, Owner: s.Owner, Adopts: outcome.Adopted,
		Data: map[string][]byte{corev1.TLSCertKey: pair.CertificatePEM(), corev1.TLSPrivateKeyKey: pair.KeyPEM()},
	}
	if stored.server != nil && stored.server.Type == corev1.SecretTypeOpaque && adopted.Made(pair) {
		server.Type = corev1.SecretTypeOpaque // another type is another Secret, and there is one copy of its key
	}
	outcome.Server, err = c.writeContested(ctx, server, stored.server, now)
	return outcome, err
}

// remember writes down what is taken over, before anything of it is touched, and says whether the place is somebody else's.
func (c *Cluster) remember(ctx context.Context, s EdgeSecrets, stored *StoredEdge, of string, now time.Time) (rotate.Adopted, EdgeOutcome, error) {
	switch {
	case stored.offered():
		adopted := stored.Offer.Adopted.At(now)
		written, err := c.writeContested(ctx, wantedRecord(s, adopted, of), stored.record, now)
		if err != nil || written == Foreign || written == Held {
			return rotate.Adopted{}, EdgeOutcome{Record: written}, err
		}
		stored.takeOver(s.Provided)
		return adopted, EdgeOutcome{Adopted: true}, nil
	case !s.Provided && stored.foreign(s.Owner):
		return rotate.Adopted{}, EdgeOutcome{Server: Foreign}, nil
	case stored.record != nil && stored.Forgotten == nil: // its mark, and that something names it again
		_, err := c.writeContested(ctx, wantedRecord(s, stored.Adopted, of), stored.record, now)
		return stored.Adopted, EdgeOutcome{}, err
	}
	return stored.Adopted, EdgeOutcome{}, nil
}

// takeOver has the hand-made Secrets replaced, as they were read. With a provided server certificate they stay their owner's.
func (s *StoredEdge) takeOver(provided bool) {
	if provided {
		return
	}
	if s.byHand.server != nil {
		s.server = s.byHand.server
	}
	if s.byHand.ca != nil {
		s.ca = s.byHand.ca
	}
}

// foreign reports whether the server's Secret is somebody else's.
func (s StoredEdge) foreign(owner intent.Owner) bool {
	if s.byHand.server != nil {
		return true
	}
	if s.server == nil {
		return false
	}
	found, ours := OwnerOf(s.server)
	return !ours || !found.Same(owner)
}

// EdgeSecretsOf are the Secrets of ours in the ingress namespaces that were made
// for a Gateway.
func (c *Cluster) EdgeSecretsOf(ctx context.Context, owner intent.Owner, namespaces []string) ([]*corev1.Secret, error) {
	var found []*corev1.Secret
	for _, namespace := range namespaces {
		var list corev1.SecretList
		if err := c.client.List(ctx, &list, inNamespace(namespace), ownedBy(owner)); err != nil {
			return nil, fmt.Errorf("listing Secrets of %s in %s: %w", owner, namespace, err)
		}
		for i := range list.Items {
			found = append(found, &list.Items[i])
		}
	}
	return found, nil
}
