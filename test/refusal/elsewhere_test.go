package refusal

import (
	"context"
	"errors"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/testenv"
)

// Our keys on a kind on which nobody reads them are refused by the API server
// itself, in each version of the kind.
func TestKeysWhereNobodyReadsThem(t *testing.T) {
	p := places(t, "elsewhere")
	const (
		useGateway = "are not supported by this version: take the key off, and write a Gateway of networking.istio.io with it"
		serving    = "take the key off, and write it on the Gateway of networking.istio.io or the APIRule that serves the hosts"
		key        = "metadata.annotations[mtls.sallyport.dev/mode]"
	)
	object := func(apiVersion, kind, metadata, spec string) string {
		return "{apiVersion: " + apiVersion + ", kind: " + kind + ", metadata: {name: edge, namespace: NAMESPACE, " + metadata + "}, " + spec + "}"
	}
	annotated := "annotations: {" + mutual + "}"
	const listener = "spec: {gatewayClassName: istio, listeners: [{name: https, port: 443, protocol: HTTPS}]}"
	rows := map[string]struct {
		row
		versions []string
	}{
		"a Gateway of the Gateway API": {row{
			object: object("gateway.networking.k8s.io/VERSION", "Gateway", annotated, listener),
			field:  key, found: "found on Gateway of gateway.networking.k8s.io edge, where nobody reads it and nothing becomes mutual", wayOut: useGateway}, []string{"v1", "v1beta1"}},
		"a Gateway of the Gateway API, by a label": {row{
			object: object("gateway.networking.k8s.io/VERSION", "Gateway", "labels: {"+mutual+"}", listener),
			field:  "metadata.labels[mtls.sallyport.dev/mode]", found: "found on Gateway of gateway.networking.k8s.io edge", wayOut: useGateway}, []string{"v1", "v1beta1"}},
		"a Gateway of the Gateway API, with another key": {row{
			object: object("gateway.networking.k8s.io/VERSION", "Gateway", "annotations: {MTLS.sallyport.dev/min-tls: TLSv1.3}", listener),
			field:  "metadata.annotations[MTLS.sallyport.dev/min-tls]", found: "found on Gateway of gateway.networking.k8s.io edge", wayOut: useGateway}, []string{"v1", "v1beta1"}},
		"an HTTPRoute": {row{
			object: object("gateway.networking.k8s.io/VERSION", "HTTPRoute", annotated, "spec: {hostnames: [a.example.com]}"),
			field:  key, found: "found on HTTPRoute of gateway.networking.k8s.io edge", wayOut: useGateway}, []string{"v1"}},
		"a VirtualService": {row{
			object: object("networking.istio.io/VERSION", "VirtualService", annotated, "spec: {hosts: [a.example.com], gateways: [edge], http: [{route: [{destination: {host: orders}}]}]}"),
			field:  key, found: "found on VirtualService of networking.istio.io edge", wayOut: serving}, gatewayVersions},
		"a DestinationRule": {row{
			object: object("networking.istio.io/VERSION", "DestinationRule", annotated, "spec: {host: orders}"),
			field:  key, found: "found on DestinationRule of networking.istio.io edge", wayOut: serving}, gatewayVersions},
		"a PeerAuthentication": {row{
			object: object("security.istio.io/VERSION", "PeerAuthentication", annotated, "spec: {mtls: {mode: STRICT}}"),
			field:  key, found: "found on PeerAuthentication of security.istio.io edge", wayOut: serving}, []string{"v1", "v1beta1"}},
		"a Service": {row{
			object: object("VERSION", "Service", annotated, "spec: {ports: [{port: 443}]}"),
			field:  key, found: "found on Service of v1 edge", wayOut: serving}, []string{"v1"}},
		"an Ingress": {row{
			object: object("networking.k8s.io/VERSION", "Ingress", annotated, "spec: {defaultBackend: {service: {name: orders, port: {number: 443}}}}"),
			field:  key, found: "found on Ingress of networking.k8s.io edge", wayOut: serving}, []string{"v1"}},
	}
	for name, r := range rows {
		t.Run(name, func(t *testing.T) {
			r.byPolicy = true
			bare := parse(t, fill(r.object, r.versions[0], p.stored))
			bare.SetAnnotations(nil)
			bare.SetLabels(nil)
			if err := shared.person.Create(t.Context(), bare); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := shared.person.Delete(context.WithoutCancel(t.Context()), bare); err != nil {
					t.Error(err)
				}
			})
			r.refused(t, p, r.versions)
		})
	}
}

// What was stored with our keys before the chart came stays editable, and can be
// cleaned up.
func TestKeysThatWereThereBefore(t *testing.T) {
	namespace(t, "before")
	binding := parse(t, "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding, metadata: {name: sallyport-elsewhere}}")
	if err := shared.person.Get(t.Context(), client.ObjectKeyFromObject(binding), binding); err != nil {
		t.Fatal(err)
	}
	if err := shared.person.Delete(t.Context(), binding.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	manifest := "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: edge, namespace: before, annotations: {" + mutual + "}}, spec: {}}"
	stored := parse(t, manifest)
	testenv.Eventually(t, 10*time.Second, "nobody refuses it", func(ctx context.Context) error {
		stored = parse(t, manifest)
		return shared.person.Create(ctx, stored)
	})
	binding.SetResourceVersion("")
	if err := shared.person.Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 10*time.Second, "the policy is in force", func(ctx context.Context) error {
		other := parse(t, manifest)
		other.SetName("other")
		if err := shared.person.Create(ctx, other, client.DryRunAll); err == nil {
			return errors.New("accepted")
		}
		return nil
	})
	stored.SetLabels(map[string]string{"team": "a"})
	if err := shared.person.Update(t.Context(), stored); err != nil {
		t.Errorf("another label: %v", err)
	}
	changed := stored.DeepCopy()
	changed.SetAnnotations(map[string]string{mtls + "mode": "optional"})
	if err := shared.person.Update(t.Context(), changed, client.DryRunAll); err == nil {
		t.Error("another mode is accepted")
	}
	stored.SetAnnotations(nil)
	if err := shared.person.Update(t.Context(), stored); err != nil {
		t.Errorf("cleaning up: %v", err)
	}
}
