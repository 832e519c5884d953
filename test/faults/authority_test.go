package faults

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// rotatingYAML is an authority whose rotation goes by itself once it is asked for, a Gateway
// under it, and no caller that it would have to wait for.
func rotatingYAML(name string) string {
	return fmt.Sprintf(`
apiVersion: mtls.sallyport.dev/v1alpha1
kind: CertificateAuthority
metadata: {name: %s, namespace: %s}
spec:
  source: {type: SelfSigned}
  serverCertificates: {lifetime: 10s, renewBeforePercentage: 5}
  rotation: {minimumOverlap: 100ms}
`, name, clients) + "---" + gatewayYAML(clients, name, ", mtls.sallyport.dev/authorities: "+name)
}

// authorityRotation is an authority that goes from its first generation to its second: made,
// trusted, used, and the first one out of what is trusted, and gone.
func authorityRotation() scenario {
	return scenario{
		prepare: func(t *testing.T, round string) {
			apply(t, rotatingYAML(round))
			eventually(t, "the first certificate of "+round, func(ctx context.Context) error {
				return errors.Join(ready(ctx, "CertificateAuthority", clients, round), ready(ctx, "MutualTLSEndpoint", clients, "gateway-"+round), served(ctx, clients, round))
			})
		},
		act: func(t *testing.T, round string) {
			eventually(t, "a rotation of "+round+" asked for", func(ctx context.Context) error { return askForRotation(ctx, round) })
		},
		done: func(ctx context.Context, round string) error {
			return errors.Join(rotated(ctx, round), ready(ctx, "CertificateAuthority", clients, round), ready(ctx, "MutualTLSEndpoint", clients, "gateway-"+round), served(ctx, clients, round))
		},
		// The ledger: made, trusted, used, replaced, withdrawn, gone. The CA Secret and the published
		// trust: both, and the second alone. The server's certificate.
		writes: 11,
		made: func(round string) []*unstructured.Unstructured {
			return []*unstructured.Unstructured{gateway(clients, round), ofOurs("CertificateAuthority", clients, round)}
		},
	}
}

// askForRotation asks, and says that every caller knows the generation that is there.
func askForRotation(ctx context.Context, authority string) error {
	object := ofOurs("CertificateAuthority", clients, authority)
	if err := get(ctx, object, clients, authority); err != nil {
		return err
	}
	generations, _, _ := unstructured.NestedSlice(object.Object, "status", "generations")
	if len(generations) != 1 {
		return fmt.Errorf("generations %v", generations)
	}
	made, _ := generations[0].(map[string]any)
	patch := fmt.Sprintf(`{"spec": {"rotation": {"rotateAfter": %q, "callersUpdated": %q}}}`, time.Now().Add(time.Second).UTC().Format(time.RFC3339), made["subjectKeyID"])
	return stack.Client().Patch(ctx, object, client.RawPatch(types.MergePatchType, []byte(patch)))
}

// rotated says what is missing of the end of a rotation: one generation, the second, in the
// record, in what gateways trust and in what is published, and nothing of the first in use.
func rotated(ctx context.Context, authority string) error {
	ledgers, err := ofAuthority(ctx, "keys", authority)
	if err != nil || len(ledgers) != 1 {
		return errors.Join(err, fmt.Errorf("%d ledgers", len(ledgers)))
	}
	ledger, err := rotate.DecodeLedger(ledgers[0].Data)
	if err != nil {
		return err
	}
	active, is := ledger.Active()
	if !is || active.ID != "g2" || len(ledger.Generations()) != 1 {
		return fmt.Errorf("%d generations, the active one is %q", len(ledger.Generations()), active.ID)
	}
	pair, err := storedPair(ctx, clients, authority)
	if err != nil {
		return err
	}
	if id := active.Authority.Certificate().SubjectKeyID(); pair.Leaf().AuthorityKeyID() != id {
		return fmt.Errorf("the server's certificate is of %s, expected %s", pair.Leaf().AuthorityKeyID(), id)
	}
	ca, err := secret(ctx, ingress, clients+"."+authority+".mtls-cacert")
	if err != nil {
		return err
	}
	trusted, err := pki.ParseCertificates(ca.Data["ca.crt"])
	if err == nil && (len(trusted) != 1 || !trusted[0].Equal(active.Authority.Certificate())) {
		err = fmt.Errorf("gateways trust %d CAs, or another", len(trusted))
	}
	return err
}
