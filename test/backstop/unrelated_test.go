package backstop

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What has nothing to do with us is accepted, also where it is of a kind that we judge.
func TestWhatIsUnrelatedIsAccepted(t *testing.T) {
	for name, manifest := range map[string]string{
		"a Secret":         `{apiVersion: v1, kind: Secret, metadata: {name: plain, namespace: shop}, stringData: {a: b}}`,
		"one of a gateway": `{apiVersion: v1, kind: Secret, metadata: {name: their-credential, namespace: istio-system}, stringData: {a: b}}`,
		"a ConfigMap":      `{apiVersion: v1, kind: ConfigMap, metadata: {name: plain, namespace: shop}}`,
		"a Service":        `{apiVersion: v1, kind: Service, metadata: {name: plain, namespace: shop}, spec: {ports: [{port: 80}]}}`,
		"a VirtualService": `{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: plain, namespace: shop}, spec: {hosts: [a]}}`,
		"an open Gateway":  gatewayIn("shop", "plain", "a: b", "mode: SIMPLE, credentialName: a"),
		"an open APIRule":  ruleIn("v2", "shop", "plain", "a: b", "kyma-system/kyma-gateway"),
	} {
		t.Run(name, func(t *testing.T) {
			if err := admin.Create(t.Context(), parse(manifest), client.DryRunAll); err != nil {
				t.Error(err)
			}
		})
	}
}
