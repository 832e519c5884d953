package e2e

import (
	"fmt"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/localstack"
)

// What contradicts itself is refused by the API server, by the schema alone.
func TestSchemaRefusesWhatContradictsItself(t *testing.T) {
	apply(t, "{apiVersion: v1, kind: Namespace, metadata: {name: schema}}")
	authority := func(name, spec string) string {
		return fmt.Sprintf("{apiVersion: mtls.sallyport.dev/v1alpha1, kind: CertificateAuthority, metadata: {name: %s, namespace: schema}, spec: {%s}}", name, spec)
	}
	caller := func(spec string) string {
		return fmt.Sprintf("{apiVersion: mtls.sallyport.dev/v1alpha1, kind: ClientCertificate, metadata: {name: a, namespace: schema}, spec: {%s}}", spec)
	}
	const own, of = "source: {type: SelfSigned}", "authorityRef: {name: none}"
	tests := map[string]struct{ manifest, refused string }{
		"the defaults":                            {authority("a", own), ""},
		"a name that is no part of others":        {authority("a.b", own), "has at most 63 characters and no dot"},
		"a source nobody knows":                   {authority("a", "source: {type: Vault}"), `Unsupported value: "Vault"`},
		"the block of another source":             {authority("a", "source: {type: SelfSigned, secret: {name: x}}"), "secret goes with type: Secret, and only with it"},
		"a source without its block":              {authority("a", "source: {type: Directory}, revocation: {mode: None}"), "directory goes with type: Directory"},
		"revocation that has to be stated":        {authority("a", "source: {type: TrustOnly}, trustedCertificates: [{name: p, certificate: x}]"), "state revocation.mode"},
		"nobody to trust":                         {authority("a", "source: {type: TrustOnly}, revocation: {mode: None}"), "state one at least"},
		"serials that nobody lists":               {authority("a", "source: {type: TrustOnly}, revocation: {mode: CRL, serials: [\"01\"]}, trustedCertificates: [{name: p, certificate: x, crl: none}]"), "whoever issued the certificate revokes it"},
		"serials that nobody checks":              {authority("a", own+", revocation: {mode: None, serials: [\"01\"]}"), "ask for CRL, or list no serials"},
		"a serial number that is zero":            {authority("a", own+", revocation: {serials: [\"00\"]}"), "should match"},
		"a rotation of somebody else's CA":        {authority("a", "source: {type: Secret, secret: {name: x}}, revocation: {mode: None}, rotation: {rotateAfter: \"2026-01-01T00:00:00Z\"}"), "rotateAfter goes with source.type SelfSigned"},
		"partners without a word on revocation":   {authority("a", own+", trustedCertificates: [{name: p, certificate: x}]"), "state revocation.mode"},
		"a CRL that nobody would check":           {authority("a", own+", revocation: {mode: None}, trustedCertificates: [{name: p, certificate: x, crl: none}]"), "with revocation.mode None gateways check no CRL"},
		"a partner whose callers all are refused": {authority("a", own+", revocation: {mode: CRL}, trustedCertificates: [{name: p, certificate: x}]"), "with revocation.mode CRL gateways refuse every caller of a CA without one"},
		"a partner":                                {authority("a", own+", revocation: {mode: CRL}, trustedCertificates: [{name: p, certificate: x, crlConfigMapKeyRef: {name: a, key: b}}]"), ""},
		"two partners of one name":                 {authority("a", own+", revocation: {mode: None}, trustedCertificates: [{name: p, certificate: x}, {name: p, certificate: z}]"), "Duplicate value"},
		"a server certificate that lives too long": {authority("a", "source: {type: SelfSigned, selfSigned: {lifetime: 100h}}"), "serverCertificates.lifetime is 720h, and at most a sixth of the life of the authority, which is 100h"},
		"a caller's that may live too long":        {authority("a", "source: {type: SelfSigned, selfSigned: {lifetime: 10000h}}"), "clientCertificates.maxLifetime is 8760h, and at most a sixth"},
		"a default above the maximum":              {authority("a", own+", clientCertificates: {lifetime: 9000h}"), "lifetime 9000h is longer than maxLifetime 8760h"},
		"a CRL that ends before it is replaced":    {authority("a", own+", revocation: {validity: 10h, refreshEvery: 6h}"), "refreshEvery 6h is longer than half of validity 10h"},
		"a lifetime without a unit":                {authority("a", "source: {type: SelfSigned, selfSigned: {lifetime: '87600'}}"), "should match"},
		"a lifetime of nothing":                    {authority("a", own+", serverCertificates: {lifetime: 0s}"), "at least 1s"},
		"a lifetime before birth":                  {authority("a", own+", clientCertificates: {lifetime: -24h}"), "should match"},
		"renewal from the first day on":            {authority("a", own+", serverCertificates: {renewBeforePercentage: 100}"), "should be less than or equal to"},
		"renewal at the end":                       {authority("a", own+", clientCertificates: {renewBeforePercentage: 0}"), "should be greater than or equal to 5"},
		"a CRL that is over at once":               {authority("a", own+", revocation: {validity: 0s}"), "at least 1s"},
		"a selector that selects nothing":          {authority("a", own+", allowedGateways: {namespaces: {from: Selector}}"), "selector goes with from: Selector"},
		"a selector that is not asked for":         {authority("a", own+", allowedClients: {namespaces: {from: All, selector: {}}}"), "selector goes with from: Selector"},

		"a caller with a Secret":               {caller(of + ", secretName: x"), ""},
		"a caller with neither":                {caller(of), "state either secretName"},
		"a caller with both":                   {caller(of + `, secretName: x, csr: "-----BEGIN CERTIFICATE REQUEST-----"`), "state either secretName"},
		"a request that is none":               {caller(of + ", csr: x"), "csr is one PEM block of type CERTIFICATE REQUEST"},
		"a caller named by a wildcard":         {caller(of + `, secretName: x, dnsNames: ["*.example.com"]`), "wildcards are not issued to callers"},
		"a Secret in a gateway's place":        {caller(of + ", secretName: shop.edge.mtls"), "belong to gateways"},
		"a key store without a key":            {caller(of + `, csr: "-----BEGIN CERTIFICATE REQUEST-----", keystore: {passwordSecretRef: {name: a, key: b}}`), "keystore goes with secretName"},
		"a reason that RFC 5280 does not know": {caller(of + ", secretName: x, revocation: {reason: Bored}"), `Unsupported value: "Bored"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			objects, err := localstack.ParseYAML([]byte(test.manifest))
			if err != nil {
				t.Fatal(err)
			}
			err = shared.stack.Client().Create(t.Context(), objects[0])
			if test.refused == "" && err != nil || test.refused != "" && (err == nil || !strings.Contains(err.Error(), test.refused)) {
				t.Errorf("the API server answers %v, expected %q", err, test.refused)
			}
			if err == nil {
				if err := shared.stack.Client().Delete(t.Context(), objects[0]); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestSchemaHoldsWhatIsImmutable(t *testing.T) {
	apply(t, "{apiVersion: v1, kind: Namespace, metadata: {name: immutable}}")
	_, request := newRequest(t)
	_, other := newRequest(t)
	quoted := func(pem string) string { return strings.ReplaceAll(strings.TrimSpace(pem), "\n", "\n    ") }
	const kind = "apiVersion: mtls.sallyport.dev/v1alpha1\nkind: "
	const meta = "\nmetadata: {name: a, namespace: immutable}\nspec:\n"
	tests := []struct{ what, before, after, refused string }{
		{"the source of an authority", kind + "CertificateAuthority" + meta + "  source: {type: SelfSigned}\n",
			kind + "CertificateAuthority" + meta + "  source: {type: SelfSigned, selfSigned: {lifetime: 99999h}}\n", "source is immutable"},
		{"the authority of a caller", kind + "ClientCertificate" + meta + "  authorityRef: {name: x}\n  secretName: a\n",
			kind + "ClientCertificate" + meta + "  authorityRef: {name: other}\n  secretName: a\n", "authorityRef is immutable"},
		{"the request of a caller", strings.Replace(kind+"ClientCertificate"+meta+"  authorityRef: {name: x}\n  csr: |\n    "+quoted(request)+"\n", "name: a,", "name: b,", 1),
			strings.Replace(kind+"ClientCertificate"+meta+"  authorityRef: {name: x}\n  csr: |\n    "+quoted(other)+"\n", "name: a,", "name: b,", 1), "csr is immutable"},
		{"a revocation", strings.Replace(kind+"ClientCertificate"+meta+"  authorityRef: {name: x}\n  secretName: a\n  revocation: {reason: KeyCompromise}\n", "name: a,", "name: c,", 1),
			strings.Replace(kind+"ClientCertificate"+meta+"  authorityRef: {name: x}\n  secretName: a\n  revocation: {reason: Superseded}\n", "name: a,", "name: c,", 1), "a revocation cannot be taken back"},
	}
	for _, test := range tests {
		t.Run(test.what, func(t *testing.T) {
			apply(t, test.before)
			if err := shared.stack.ApplyYAML(t.Context(), test.after); err == nil || !strings.Contains(err.Error(), test.refused) {
				t.Errorf("the API server answers %v, expected %q", err, test.refused)
			}
		})
	}
}
