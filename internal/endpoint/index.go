package endpoint

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// The cache's indexes of endpoints.
const (
	byHost      = "sallyport.host"
	byAuthority = "sallyport.authority"
)

// Index makes the cache find endpoints by authority, and by authority and host, and what is stored behind Gateways by host. To
// be called once, before the cache starts.
func Index(ctx context.Context, indexer client.FieldIndexer) error {
	err := indexer.IndexField(ctx, &v1alpha1.MutualTLSEndpoint{}, byAuthority, func(o client.Object) []string { return authorities(o) })
	if err == nil {
		err = indexer.IndexField(ctx, &v1alpha1.MutualTLSEndpoint{}, byHost, func(o client.Object) []string {
			e, ok := o.(*v1alpha1.MutualTLSEndpoint)
			if !ok || e.Status.ServerCertificate != nil && e.Status.ServerCertificate.AuthorityKeyID == "" {
				return nil // a certificate that is provided holds no host under the authority
			}
			var values []string
			for _, authority := range authorities(o)[:min(len(e.Status.Authorities), 1)] { // the one that issues
				for _, host := range e.Status.Hosts {
					values = append(values, authority+"|"+host)
				}
			}
			return values
		})
	}
	if err == nil {
		err = indexer.IndexField(ctx, &corev1.Secret{}, byServedHost, servedHosts)
	}
	if err != nil {
		return fmt.Errorf("indexing endpoints: %w", err)
	}
	return nil
}

func authorities(o client.Object) []string {
	e, ok := o.(*v1alpha1.MutualTLSEndpoint)
	if !ok {
		return nil
	}
	names := make([]string, len(e.Status.Authorities))
	for i, a := range e.Status.Authorities {
		names[i] = a.Namespace + "/" + a.Name
	}
	return names
}

// Using are the endpoints whose callers an authority issues for.
func Using(ctx context.Context, c client.Reader, authority types.NamespacedName) ([]v1alpha1.MutualTLSEndpoint, error) {
	var found v1alpha1.MutualTLSEndpointList
	if err := c.List(ctx, &found, client.MatchingFields{byAuthority: authority.String()}); err != nil {
		return nil, fmt.Errorf("listing endpoints of %s: %w", authority, err)
	}
	return found.Items, nil
}

// HeldElsewhere finds a host that an endpoint of another namespace holds under the
// same authority: one that was issued a certificate for it. Of several endpoints the oldest holds it; without an own one, any
// other does. Under one authority two namespaces could otherwise serve in each
// other's name.
func HeldElsewhere(ctx context.Context, c client.Reader, authority types.NamespacedName, own types.NamespacedName, hosts []string) (host, namespace string, err error) {
	for _, host := range hosts {
		holder, err := Holder(ctx, c, authority, host)
		if err != nil {
			return "", "", err
		}
		if holder != "" && holder != own.Namespace {
			return host, holder, nil
		}
	}
	return "", "", nil
}

// Holder is the namespace whose endpoint holds a host under an authority; empty if none does.
func Holder(ctx context.Context, c client.Reader, authority types.NamespacedName, host string) (namespace string, err error) {
	var found v1alpha1.MutualTLSEndpointList
	if err := c.List(ctx, &found, client.MatchingFields{byHost: authority.String() + "|" + host}); err != nil {
		return "", fmt.Errorf("listing endpoints of host %s: %w", host, err)
	}
	if len(found.Items) == 0 {
		return "", nil
	}
	return slices.MinFunc(found.Items, func(a, b v1alpha1.MutualTLSEndpoint) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Namespace, b.Namespace))
	}).Namespace, nil
}
