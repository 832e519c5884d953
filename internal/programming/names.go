package programming

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/internal/endpoint"
	"sallyport.dev/sallyport/internal/issuer"
	"sallyport.dev/sallyport/pkg/intent"
	"sallyport.dev/sallyport/pkg/mutate"
)

// nameHeld says that another namespace holds one of the hosts, nil if none does: its endpoint tells so, or, if none does yet, it
// has a certificate for it.
func (p *Programmer) nameHeld(ctx context.Context, t Target, f *facts, now time.Time) error {
	for _, host := range f.hosts {
		holder, err := endpoint.Holder(ctx, p.Cluster.Client(), f.ref, host)
		if err == nil && holder == "" {
			holder, err = p.storedHolder(ctx, f, host, now)
		}
		if err != nil {
			return err
		}
		if holder != "" && holder != t.Endpoint.Namespace {
			return f.nameInUse(host, holder)
		}
	}
	return nil
}

// storedHolder is the namespace with the oldest Secret that holds a good certificate of the authority for a host, and that its Gateway
// names; empty if there is none.
func (p *Programmer) storedHolder(ctx context.Context, f *facts, host string, now time.Time) (string, error) {
	stored, err := endpoint.StoredFor(ctx, p.Cluster.Client(), host)
	if err != nil {
		return "", err
	}
	stored = slices.DeleteFunc(stored, func(s endpoint.Stored) bool {
		return now.After(s.Leaf.NotAfter()) || !p.serves(s) || !f.issuer.Ledger.Signed(s.Leaf)
	})
	if len(stored) == 0 {
		return "", nil
	}
	return slices.MinFunc(stored, func(a, b endpoint.Stored) int {
		return cmp.Or(a.Secret.CreationTimestamp.Compare(b.Secret.CreationTimestamp.Time), strings.Compare(a.Owner.Namespace, b.Owner.Namespace))
	}).Owner.Namespace, nil
}

// serves reports whether the Gateway that a certificate was made for is there, and names its Secret.
func (p *Programmer) serves(s endpoint.Stored) bool {
	gateway, is := p.Edge.Gateway(types.NamespacedName{Namespace: s.Owner.Namespace, Name: s.Owner.Name})
	if !is {
		return false
	}
	server, _ := mutate.Secrets(gateway)
	return server == s.Secret.Name || server == "" && s.Secret.Name == intent.ServerSecretName(s.Owner.Namespace, s.Owner.Name)
}

func (f facts) nameInUse(host, namespace string) *issuer.Problem {
	return &issuer.Problem{Reason: v1alpha1.ReasonNameInUse, Lasting: true, Message: fmt.Sprintf(
		"host %s is held by namespace %s under the same authority %s: two namespaces could serve in each other's name; name another authority", host, namespace, f.ref)}
}
