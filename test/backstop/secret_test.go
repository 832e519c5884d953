package backstop

import (
	"context"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack"
)

const (
	opaque = "Opaque"
	tls    = "kubernetes.io/tls"
	pair   = `tls.crt: a, tls.key: b`
)

func TestSecretsThatGatewaysTrust(t *testing.T) {
	checkCreated(t, map[string]write{
		"a Secret of somebody":                 {manifest: secretIn("istio-system", "mine", opaque, "", "a: b")},
		"a server's name":                      {manifest: secretIn("istio-system", "shop.edge.mtls", tls, "", pair), refused: "belongs to the agent"},
		"a CA's name":                          {manifest: secretIn("istio-system", "shop.edge.mtls-cacert", opaque, "", "ca.crt: a"), refused: "belongs to the agent"},
		"a CA's name where no gateway runs":    {manifest: secretIn("shop", "shop.edge.mtls-cacert", opaque, "", "ca.crt: a")},
		"a ledger's name":                      {manifest: secretIn(system, "ledger-0123", opaque, "", "a: b"), refused: "belongs to the agent"},
		"the name of the webhook's pair":       {manifest: secretIn(system, "sallyport-webhook-serving", tls, "", pair), refused: "belongs to the agent"},
		"another name in the agent's place":    {manifest: secretIn(system, "helm", opaque, "", "a: b")},
		"the agent's mark":                     {manifest: secretIn("shop", "marked", opaque, mark("ClientCertificate/shop/a/b"), "a: b"), refused: "belongs to the agent"},
		"a ledger's label":                     {manifest: secretIn("shop", "marked", opaque, ", labels: {"+mtls+"ledger: keys}", "a: b"), refused: "labels under mtls.sallyport.dev/ on a Secret"},
		"one that is handed over":              {manifest: secretIn("istio-system", "mine", opaque, ", annotations: {"+mtls+"adopt: shop/edge.v1}", "a: b")},
		"one that nobody can take over":        {manifest: secretIn("shop", "mine", opaque, ", annotations: {"+mtls+"adopt: shop/edge}", "a: b"), refused: "in the namespace of an ingress adopt"},
		"handed over in upper case":            {manifest: secretIn("istio-system", "mine", opaque, ", annotations: {Mtls.sallyport.dev/adopt: shop/edge}", "a: b"), refused: "in the namespace of an ingress adopt"},
		"handed over to a name alone":          {manifest: secretIn("istio-system", "mine", opaque, ", annotations: {"+mtls+"adopt: edge}", "a: b"), refused: "<namespace>/<name> of the Gateway"},
		"handed over to two":                   {manifest: secretIn("istio-system", "mine", opaque, ", annotations: {"+mtls+"adopt: \"shop/edge,shop/b\"}", "a: b"), refused: "<namespace>/<name> of the Gateway"},
		"handed over to an owner":              {manifest: secretIn("istio-system", "mine", opaque, ", annotations: {"+mtls+"adopt: Gateway/shop/edge}", "a: b"), refused: "<namespace>/<name> of the Gateway"},
		"the name of what is remembered":       {manifest: secretIn("istio-system", "shop.edge.mtls-adopted", opaque, "", "ca.crt: a"), refused: "belongs to the agent"},
		"the agent remembers":                  {by: agent, manifest: secretIn("istio-system", "shop.edge.mtls-adopted", opaque, mark("Gateway/shop/edge/u"), "ca.crt: a, ca.crl: b, tls.crt: c")},
		"the agent remembers whose it stays":   {by: agent, manifest: secretIn("istio-system", "shop.other.mtls-adopted", opaque, ", labels: {"+mtls+`managed: "true"}, annotations: {`+mtls+"owner: Gateway/shop/other/u, "+mtls+"taken-over: 0a1b}", "ca.crt: a")},
		"the mark of what was taken over":      {manifest: secretIn("istio-system", "mine", opaque, ", annotations: {"+mtls+"taken-over: 0a1b}", "a: b"), refused: "may carry use-as-ca"},
		"a CA that is offered":                 {manifest: secretIn("shop", "mine", opaque, ", annotations: {"+mtls+"use-as-ca: default}", "a: b")},
		"a CA that is offered elsewhere":       {manifest: secretIn("shop", "mine", opaque, ", annotations: {"+mtls+"use-as-ca: other/default}", "a: b"), refused: "with the name of a CertificateAuthority of its namespace"},
		"a CA that is offered to nobody":       {manifest: secretIn("shop", "mine", opaque, ", annotations: {"+mtls+"use-as-ca: \"\"}", "a: b"), refused: "with the name of a CertificateAuthority of its namespace"},
		"a CA that is offered in upper case":   {manifest: secretIn("shop", "mine", opaque, ", annotations: {"+mtls+"Use-As-CA: default}", "a: b"), refused: "may carry use-as-ca"},
		"the agent writes a ledger":            {by: agent, manifest: secretIn(system, "ledger-0123", opaque, mark("CertificateAuthority/shop/default/u"), "a: b")},
		"the agent writes the webhook's pair":  {by: agent, manifest: secretIn(system, "sallyport-webhook-serving", tls, mark("MutatingWebhookConfiguration//sallyport/webhook"), pair)},
		"the agent writes a server's pair":     {by: agent, manifest: secretIn("istio-system", "shop.edge.mtls", tls, mark("Gateway/shop/edge/u"), pair)},
		"the agent writes CAs":                 {by: agent, manifest: secretIn("istio-system", "shop.edge.mtls-cacert", opaque, mark("Gateway/shop/edge/u"), "ca.crt: a, ca.crl: b")},
		"the agent writes a name of the users": {by: agent, manifest: secretIn("istio-system", "edge-cert", tls, mark("Gateway/shop/edge/u"), pair)},
		"the agent writes a caller's pair":     {by: agent, manifest: secretIn("shop", "caller", tls, mark("ClientCertificate/shop/caller/u"), pair+", ca.crt: c")},
	})
}

// What a stolen token of the agent is not good for.
func TestTheAgentIsHeldToItsJob(t *testing.T) {
	const owned = "APIRule/shop/orders/u"
	managed := func(name, owner string) string {
		return gatewayIn("shop", name, mutual+", "+mtls+"owner: "+owner+"}, labels: {"+mtls+`managed: "true"`,
			"mode: MUTUAL, credentialName: shop."+name+".mtls, minProtocolVersion: TLSV1_2")
	}
	checkCreated(t, map[string]write{
		"a Secret without its mark":           {by: agent, manifest: secretIn("istio-system", "mine", opaque, "", "a: b"), refused: "with its own mark only"},
		"a token of a ServiceAccount":         {by: agent, manifest: secretIn("istio-system", "token", "kubernetes.io/service-account-token", ", labels: {"+mtls+`managed: "true"}, annotations: {`+mtls+"owner: Gateway/shop/edge/u, kubernetes.io/service-account.name: default}", "a: b"), refused: "with type kubernetes.io/tls only"},
		"a CA inside a server's pair":         {by: agent, manifest: secretIn("istio-system", "shop.edge.mtls", tls, mark("Gateway/shop/edge/u"), pair+", ca.crt: c"), refused: "a server's Secret has the keys"},
		"keys that Istio prefers":             {by: agent, manifest: secretIn("istio-system", "shop.edge.mtls-cacert", opaque, mark("Gateway/shop/edge/u"), "ca.crt: a, cacert: b"), refused: "a Secret of CAs has the keys"},
		"a server's pair where no gateway is": {by: agent, manifest: secretIn("shop", "shop.edge.mtls", tls, mark("Gateway/shop/edge/u"), pair), refused: "for an owner of that kind or namespace"},
		"a server's pair without its type":    {by: agent, manifest: secretIn("istio-system", "edge-cert", opaque, mark("Gateway/shop/edge/u"), pair), refused: "with type kubernetes.io/tls only"},
		"a key that is remembered":            {by: agent, manifest: secretIn("istio-system", "shop.edge.mtls-adopted", opaque, mark("Gateway/shop/edge/u"), "ca.crt: a, tls.key: b"), refused: "no key of anybody"},
		"what is remembered for another":      {by: agent, manifest: secretIn("istio-system", "shop.edge.mtls-adopted", opaque, mark("Gateway/other/edge/u"), "ca.crt: a"), refused: "for an owner of that kind or namespace"},
		"a pair where another is remembered":  {by: agent, manifest: secretIn("istio-system", "shop.edge.mtls-adopted", tls, mark("Gateway/other/edge/u"), pair), refused: "for an owner of that kind or namespace"},
		"a caller of another namespace":       {by: agent, manifest: secretIn("shop", "caller", tls, mark("ClientCertificate/other/caller/u"), pair), refused: "for an owner of that kind or namespace"},
		"another Secret of its own namespace": {by: agent, manifest: secretIn(system, "helm", opaque, mark("CertificateAuthority/shop/default/u"), "a: b"), refused: "for an owner of that kind or namespace"},

		"published trust":            {by: agent, manifest: "{apiVersion: v1, kind: ConfigMap, metadata: {name: default-mtls-trust, namespace: shop" + mark("CertificateAuthority/shop/default/u") + "}}"},
		"another ConfigMap":          {by: agent, manifest: "{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: istio-system" + mark("CertificateAuthority/shop/default/u") + "}}", refused: "<authority>-mtls-trust only"},
		"a ConfigMap without a mark": {by: agent, manifest: "{apiVersion: v1, kind: ConfigMap, metadata: {name: default-mtls-trust, namespace: shop}}", refused: "with its own mark only"},

		"the Gateway of an APIRule":      {by: agent, manifest: managed("orders-mtls", owned)},
		"a Gateway of another name":      {by: agent, manifest: managed("edge", owned), refused: "the agent makes the Gateways <apirule>-mtls only"},
		"the Gateway of another APIRule": {by: agent, manifest: managed("billing-mtls", owned), refused: "the agent makes the Gateways <apirule>-mtls only"},
		"a Gateway without a mark":       {by: agent, manifest: gatewayIn("shop", "orders-mtls", "a: b", "mode: SIMPLE, credentialName: a"), refused: "the agent makes the Gateways <apirule>-mtls only"},
		"a Gateway marked by another":    {manifest: managed("orders-mtls", owned), refused: "written by the agent only"},
	})
}

// The agent takes over what is handed over to the Gateway that it takes it over for, and leaves nothing in it that Istio prefers.
func TestTheAgentTakesOverWhatIsHandedOver(t *testing.T) {
	for name, row := range map[string]struct {
		namespace, secret, kind, to string
		owner, data, keep           string
		refused                     string
	}{
		"the server's":                      {"istio-system", "hand", tls, "shop/edge", "Gateway/shop/edge/u", pair, "", ""},
		"the server's of another type":      {"istio-system", "hand", opaque, "shop/edge", "Gateway/shop/edge/u", pair, "", ""},
		"the CA's":                          {"istio-system", "hand-cacert", opaque, "shop/edge", "Gateway/shop/edge/u", "ca.crt: a, ca.crl: b", "", ""},
		"with a CA in the server's":         {"istio-system", "hand", opaque, "shop/edge", "Gateway/shop/edge/u", pair + ", ca.crt: c", "", "a server's Secret has the keys"},
		"with a CA that Istio prefers":      {"istio-system", "hand-cacert", opaque, "shop/edge", "Gateway/shop/edge/u", "ca.crt: a, cacert: b", "", "a Secret of CAs has the keys"},
		"for another Gateway":               {"istio-system", "hand", tls, "shop/edge", "Gateway/shop/other/u", pair, "", "or what was handed over"},
		"for one whose name begins like it": {"istio-system", "hand", tls, "shop/edg", "Gateway/shop/edge/u", pair, "", "or what was handed over"},
		"for a caller":                      {"istio-system", "hand", tls, "shop/edge", "ClientCertificate/istio-system/edge/u", pair, "", "or what was handed over"},
		"that keeps the annotation":         {"istio-system", "hand", tls, "shop/edge", "Gateway/shop/edge/u", pair, ", " + mtls + "adopt: shop/edge", "or what was handed over"},
		"that nobody handed over":           {"istio-system", "hand", tls, "", "Gateway/shop/edge/u", pair, "", "or what was handed over"},
		"where no gateway runs":             {"shop", "hand", tls, "", "Gateway/shop/edge/u", pair, "", "or what was handed over"},
	} {
		t.Run(name, func(t *testing.T) {
			annotations := ""
			if row.to != "" {
				annotations = ", annotations: {" + mtls + "adopt: " + row.to + "}"
			}
			stored := parse(secretIn(row.namespace, row.secret, row.kind, annotations, pair+", ca.crt: c"))
			if err := admin.Create(t.Context(), stored); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = admin.Delete(context.WithoutCancel(t.Context()), stored) })
			taken := parse(secretIn(row.namespace, row.secret, row.kind, ", labels: {"+mtls+`managed: "true"}, annotations: {`+mtls+"owner: "+row.owner+row.keep+"}", row.data))
			taken.SetResourceVersion(stored.GetResourceVersion())
			check(t, agent.Update(t.Context(), taken, client.DryRunAll), row.refused)
		})
	}
}

// The agent keeps an object whose deletion revokes, and changes nothing of what it asks for.
func TestTheAgentChangesNoCaller(t *testing.T) {
	objects, err := localstack.ParseYAML([]byte("{apiVersion: mtls.sallyport.dev/v1alpha1, kind: ClientCertificate, metadata: {name: billing, namespace: shop}, spec: {authorityRef: {name: default}, secretName: billing, deletionPolicy: Revoke}}"))
	if err != nil {
		t.Fatal(err)
	}
	stored := objects[0]
	if err := admin.Create(t.Context(), stored); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Delete(context.WithoutCancel(t.Context()), stored) })
	for name, test := range map[string]struct{ patch, refused string }{
		"the finalizer":        {`{"metadata": {"finalizers": ["mtls.sallyport.dev/revoke"]}}`, ""},
		"no finalizer":         {`{"metadata": {"finalizers": null}}`, ""},
		"another lifetime":     {`{"spec": {"lifetime": "87600h"}}`, "nothing of ClientCertificates but their finalizers"},
		"names":                {`{"spec": {"dnsNames": ["admin.example.com"]}}`, "nothing of ClientCertificates but their finalizers"},
		"an annotation":        {`{"metadata": {"annotations": {"a": "b"}}}`, "nothing of ClientCertificates but their finalizers"},
		"a label":              {`{"metadata": {"labels": {"a": "b"}}}`, "nothing of ClientCertificates but their finalizers"},
		"a finalizer and more": {`{"metadata": {"finalizers": ["mtls.sallyport.dev/revoke"]}, "spec": {"deletionPolicy": "Retain"}}`, "nothing of ClientCertificates but their finalizers"},
	} {
		err := agent.Patch(t.Context(), stored.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(test.patch)), client.DryRunAll)
		if test.refused == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if test.refused != "" && (err == nil || !strings.Contains(err.Error(), test.refused)) {
			t.Errorf("%s: %v, expected a refusal that says %q", name, err, test.refused)
		}
	}
}

func TestTheWebhookWritesNothing(t *testing.T) {
	for _, manifest := range []string{
		secretIn("istio-system", "shop.edge.mtls", tls, mark("Gateway/shop/edge/u"), pair),
		gatewayIn("shop", "edge", "a: b", "mode: SIMPLE, credentialName: a"),
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}}",
	} {
		if err := webhook.Create(t.Context(), parse(manifest)); !apierrors.IsForbidden(err) {
			t.Errorf("the API server answers %v to %s", err, manifest)
		}
	}
}
