package policy

import (
	"testing"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/intent"
)

func TestSecretsOfOtherGateways(t *testing.T) {
	found := func(reason, field string) []string {
		return []string{"Gateway shop/edge " + reason + " spec.servers[0].tls." + field}
	}
	owned := func(name, gateway string) func(*World) {
		return func(w *World) {
			w.Secrets = append(w.Secrets, Secret{"istio-system", name, "shop", gateway}, Secret{"istio-system", name + "-cacert", "shop", gateway})
		}
	}
	check(t, map[string]row{
		"the name that is another's":                 {change: alters("credentialName", "pub.edge.mtls"), want: found("BorrowedCredential", "credentialName")},
		"another's CAs":                              {change: alters("caCertCredentialName", "pub.edge.mtls-cacert"), want: found("BorrowedCredential", "caCertCredentialName")},
		"its own CAs":                                {change: alters("caCertCredentialName", "shop.edge.mtls-cacert")},
		"another's among several":                    {change: all(alters("credentialName", nil), alters("credentialNames", l{"shop.edge.mtls", "pub.edge.mtls"})), want: found("BorrowedCredential", "credentialNames")},
		"the name that its APIRule's Gateway has":    {change: alters("credentialName", "shop.edge-mtls.mtls"), want: found("BorrowedCredential", "credentialName")},
		"a chosen name that is managed for another":  {change: all(alters("credentialName", "chosen"), owned("chosen", "other")), want: found("BorrowedCredential", "credentialName")},
		"a chosen name that is managed for this one": {change: all(alters("credentialName", "chosen"), owned("chosen", "edge"))},
		"a chosen name that nobody manages":          {change: alters("credentialName", "chosen"), want: found("UnmanagedTrust", "credentialName")},
		"so where optional is enough":                {policy: requires(v1alpha1.ModeOptional, ""), change: alters("credentialName", "chosen"), want: found("UnmanagedTrust", "credentialName")},
		"a chosen name, managed on one ingress of two": {change: all(alters("credentialName", "chosen"), owned("chosen", "edge"), func(w *World) {
			w.Gateways[0].Places[0] = append(w.Gateways[0].Places[0], Place{"partners", "istio-partners", "8443"})
		}), want: found("UnmanagedTrust", "credentialName")},
		"provided, with CAs of our own":                 {change: all(alters("credentialName", "public-cert"), alters("caCertCredentialName", "shop.edge.mtls-cacert"))},
		"CAs in a file":                                 {change: all(alters("credentialName", nil), alters("caCertificates", "/etc/ca.pem")), want: found("UnmanagedTrust", "caCertificates")},
		"CAs in a ConfigMap":                            {change: alters("caCertCredentialName", "configmap://pub/ca"), want: found("UnmanagedTrust", "caCertCredentialName")},
		"no CAs at all: everybody is refused":           {change: alters("credentialName", nil)},
		"the mesh's CA":                                 {change: all(alters("mode", "ISTIO_MUTUAL"), alters("credentialName", nil))},
		"the mesh's CA, beside a name that is not read": {change: all(alters("mode", "ISTIO_MUTUAL"), alters("credentialName", "chosen"))},
		"its own name, before the Secrets are written":  {change: func(w *World) { w.Secrets = nil }},
		"another's name, landing nowhere":               {change: all(alters("credentialName", "pub.edge.mtls"), func(w *World) { w.Gateways[0].Places = nil }), want: found("BorrowedCredential", "credentialName")},
		"CAs in a ConfigMap, landing nowhere":           {change: all(alters("caCertCredentialName", "configmap://pub/ca"), func(w *World) { w.Gateways[0].Places = nil }), want: found("UnmanagedTrust", "caCertCredentialName")},
		"a chosen name, landing nowhere":                {change: all(alters("credentialName", "chosen"), func(w *World) { w.Gateways[0].Places = nil })},
		"CAs that are not asked":                        {change: all(alters("mode", "SIMPLE"), alters("credentialName", "chosen")), want: found("NotMutual", "mode")},
		"a Gateway that is mutual by hand": {
			change: all(alters("credentialName", "chosen"), func(w *World) { w.Gateways[0].Annotations = nil }), want: found("UnmanagedTrust", "credentialName"),
		},
		"another Gateway names this one's":          {change: joins(gatewayOf("pub", "edge", 20, https("SIMPLE", "shop.edge.mtls", "pub.example.com"))), want: found("BorrowedCredential", "credentialName")},
		"another Gateway names this one's CAs":      {change: joins(gatewayOf("pub", "edge", 20, with(https("MUTUAL", "pub", "pub.example.com"), "tls", m{"mode": "MUTUAL", "caCertCredentialName": "shop.edge.mtls-cacert"}))), want: found("BorrowedCredential", "credentialName")},
		"another Gateway of the policy: told there": {change: joins(optedIn(gatewayOf("shop", "other", 20, https("MUTUAL", "shop.edge.mtls", "other.example.com")), intent.ModeMutual)), want: []string{"Gateway shop/other BorrowedCredential spec.servers[0].tls.credentialName"}},
		"another Gateway of another ingress": {change: func(w *World) {
			joins(gatewayOf("pub", "edge", 20, https("SIMPLE", "shop.edge.mtls", "pub.example.com")))(w)
			w.Gateways[1].Places = [][]Place{{{"partners", "istio-partners", "8443"}}}
		}},
		"a provided certificate that others use too":        {change: all(alters("credentialName", "public-cert"), alters("caCertCredentialName", "shop.edge.mtls-cacert"), joins(gatewayOf("pub", "edge", 20, https("SIMPLE", "public-cert", "pub.example.com"))))},
		"a weak Gateway of the policy that borrows as well": {change: joins(gatewayOf("shop", "other", 20, https("SIMPLE", "shop.edge.mtls", "other.example.com"))), want: []string{"Gateway shop/other BorrowedCredential spec.servers[0].tls.credentialName"}},
	})
}
