package endpoint

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/cluster"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/pki"
)

// byServedHost is the cache's index of Secrets of Gateways by the hosts that their certificates are for.
const byServedHost = "sallyport.servedHost"

// Stored is a certificate that is stored behind a Gateway.
type Stored struct {
	// Secret that holds it. It must not be changed.
	Secret *corev1.Secret
	// Owner is the Gateway that it was made for.
	Owner intent.Owner
	// Leaf is the certificate.
	Leaf pki.Certificate
}

// StoredFor are the certificates for a host that are stored behind Gateways, whoever signed them. An agent that dies between the
// write of a Secret and that of the endpoint leaves one of which no endpoint tells.
func StoredFor(ctx context.Context, c client.Reader, host string) ([]Stored, error) {
	var list corev1.SecretList
	if err := c.List(ctx, &list, client.MatchingFields{byServedHost: host}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing Secrets with a certificate for host %s: %w", host, err)
	}
	var found []Stored
	for i := range list.Items {
		if s, is := storedIn(&list.Items[i]); is {
			found = append(found, s)
		}
	}
	return found, nil
}

func storedIn(secret *corev1.Secret) (Stored, bool) {
	owner, ours := cluster.OwnerOf(secret)
	if !ours || owner.Kind != string(intent.KindGateway) {
		return Stored{}, false
	}
	chain, err := pki.ParseCertificates(secret.Data[corev1.TLSCertKey])
	if err != nil || len(chain) == 0 {
		return Stored{}, false
	}
	return Stored{Secret: secret, Owner: owner, Leaf: chain[0]}, true
}

func servedHosts(o client.Object) []string {
	secret, ok := o.(*corev1.Secret)
	if !ok || len(secret.Data[corev1.TLSPrivateKeyKey]) == 0 {
		return nil // what is remembered of a hand-made one has no key
	}
	s, is := storedIn(secret)
	if !is {
		return nil
	}
	return s.Leaf.X509().DNSNames
}
