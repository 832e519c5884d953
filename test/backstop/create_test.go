package backstop

import (
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// write is one create by somebody and the answer to it; nothing is refused if the
// answer is empty.
type write struct {
	by       client.Client
	manifest string
	refused  string
}

// checkCreated runs writes as dry runs: each meets an empty place.
func checkCreated(t *testing.T, writes map[string]write) {
	for name, w := range writes {
		t.Run(name, func(t *testing.T) {
			by := w.by
			if by == nil {
				by = admin
			}
			check(t, by.Create(t.Context(), parse(w.manifest), client.DryRunAll), w.refused)
		})
	}
}

func check(t *testing.T, err error, refused string) {
	t.Helper()
	switch {
	case refused == "" && err != nil:
		t.Errorf("refused: %v", err)
	case refused != "" && (err == nil || !strings.Contains(err.Error(), refused)):
		t.Errorf("the API server answers %v, expected %q", err, refused)
	case refused != "" && !strings.Contains(err.Error(), "ValidatingAdmissionPolicy 'sallyport-"):
		t.Errorf("not refused by a policy of ours: %v", err)
	}
}

const mutual = mtls + "mode: mutual"

// Kubernetes takes upper case in the prefix of an annotation. Callers are judged on
// objects that keep mutual TLS off, so that only the grammar has something to say.
func TestKeysAreAClosedGrammar(t *testing.T) {
	gateway := func(annotations string) string { return gatewayIn("shop", "edge", annotations, edgeTLS) }
	names := func(clients string) string {
		return gateway(mtls + "mode: disabled, " + mtls + `allowed-clients: "` + clients + `"`)
	}
	const form = "takes up to 64 of client/<name>, spiffe://<trust domain>/<path> and exact DNS names"
	checkCreated(t, map[string]write{
		"a prefix in upper case":                           {manifest: gateway("Mtls.sallyport.dev/mode: mutual"), refused: "unknown annotation Mtls.sallyport.dev/mode"},
		"upper case beside a right key":                    {manifest: gateway(mutual + ", MTLS.SALLYPORT.DEV/min-tls: TLSv1.3"), refused: "unknown annotation MTLS.SALLYPORT.DEV/min-tls"},
		"a look-alike prefix":                              {manifest: gateway(mutual + ", xmtls.sallyport.dev/mode: a")},
		"less than a minute":                               {manifest: gateway(mutual + ", " + mtls + "certificate-lifetime: 59s"), refused: "a duration of at least a minute"},
		"a minute in seconds":                              {manifest: gateway(mutual + ", " + mtls + "certificate-lifetime: 60s")},
		"no duration":                                      {manifest: gateway(mutual + ", " + mtls + "certificate-lifetime: 30d"), refused: "a duration of at least a minute"},
		"an upper-case DNS name":                           {manifest: names("A.example.com"), refused: form},
		"a wildcard":                                       {manifest: names("*.example.com"), refused: form},
		"a relative segment":                               {manifest: names("spiffe://example.com/../a"), refused: form},
		"an empty item":                                    {manifest: names("a.example.com,,b.example.com"), refused: form},
		"a caller of another namespace":                    {manifest: names("client/other/a"), refused: form},
		"settings for a mode to come":                      {manifest: gatewayIn("shop", "edge", mtls+"key-algorithm: RSA-2048", "mode: SIMPLE, credentialName: a"), refused: "add mtls.sallyport.dev/mode"},
		"settings while it is kept off":                    {manifest: gatewayIn("shop", "edge", mtls+"mode: disabled, "+mtls+"min-tls: TLSv1.3", "mode: SIMPLE, credentialName: a")},
		"Kyma's own Gateway":                               {manifest: gatewayIn("kyma-system", "kyma-gateway", mutual, strings.ReplaceAll(edgeTLS, "shop.edge", "kyma-system.kyma-gateway")), refused: "is owned by an operator"},
		"a server Secret for an APIRule":                   {manifest: ruleIn("v2", "shop", "orders", mutual+", "+mtls+"server-credential-name: a", "shop/orders-mtls"), refused: "goes with server-certificate: provided"},
		"a provided certificate for an APIRule, unnamed":   {manifest: ruleIn("v2", "shop", "orders", mutual+", "+mtls+"server-certificate: provided", "shop/orders-mtls"), refused: "and that with a name"},
		"a provided certificate for an APIRule":            {manifest: ruleIn("v2", "shop", "orders", mutual+", "+mtls+"server-certificate: provided, "+mtls+"server-credential-name: a", "shop/orders-mtls")},
		"a provided certificate that Istio takes for a CA": {manifest: ruleIn("v2", "shop", "orders", mutual+", "+mtls+"server-certificate: provided, "+mtls+"server-credential-name: a-cacert", "shop/orders-mtls"), refused: "does not end in -cacert"},
		"a provided certificate":                           {manifest: gatewayIn("shop", "edge", mutual+", "+mtls+"server-certificate: provided", "mode: MUTUAL, credentialName: a, caCertCredentialName: shop.edge.mtls-cacert, minProtocolVersion: TLSV1_2")},
		"a provided certificate with its CA beside it":     {manifest: gatewayIn("shop", "edge", mutual+", "+mtls+"server-certificate: provided", "mode: MUTUAL, credentialName: a, caCertCredentialName: a-cacert, minProtocolVersion: TLSV1_2"), refused: "expected shop.edge.mtls-cacert"},
		"a provided certificate without a CA":              {manifest: gatewayIn("shop", "edge", mutual+", "+mtls+"server-certificate: provided", "mode: MUTUAL, credentialName: a, minProtocolVersion: TLSV1_2"), refused: `tls.caCertCredentialName: found ""`},
		"a provided certificate under a name of ours":      {manifest: gatewayIn("shop", "edge", mutual+", "+mtls+"server-certificate: provided", "mode: MUTUAL, credentialName: shop.edge.mtls, caCertCredentialName: shop.edge.mtls-cacert, minProtocolVersion: TLSV1_2"), refused: "expected the name of the Secret with the provided certificate"},
		"headers in v1beta1":                               {manifest: ruleIn("v1beta1", "shop", "orders", mutual+", "+mtls+"client-headers: uri", "orders-mtls.shop"), refused: "on an APIRule of version v2"},
		"a label that belongs elsewhere":                   {manifest: strings.Replace(gateway(mutual), "annotations:", "labels: {"+mtls+"default-mode: mutual}, annotations:", 1), refused: "labels under mtls.sallyport.dev/ are written by the agent only"},
		"a Namespace that opts in":                         {manifest: "{apiVersion: v1, kind: Namespace, metadata: {name: new, labels: {mtls.sallyport.dev/default-mode: optional}}}"},
		"a Namespace that keeps it off":                    {manifest: "{apiVersion: v1, kind: Namespace, metadata: {name: new, labels: {mtls.sallyport.dev/default-mode: disabled}}}", refused: "mutual or optional, spelt exactly so"},
		"a Namespace with another label":                   {manifest: "{apiVersion: v1, kind: Namespace, metadata: {name: new, labels: {mtls.sallyport.dev/mode: mutual}}}", refused: "one label under mtls.sallyport.dev/"},
		"a Namespace with an annotation":                   {manifest: "{apiVersion: v1, kind: Namespace, metadata: {name: new, annotations: {mtls.sallyport.dev/mode: mutual}}}", refused: "no annotation under mtls.sallyport.dev/"},
		"a Namespace without any of ours":                  {manifest: "{apiVersion: v1, kind: Namespace, metadata: {name: new, labels: {a: b}}}"},
	})
}

func TestGateways(t *testing.T) {
	replaced := func(old, now string) string { return strings.Replace(edgeTLS, old, now, 1) }
	optional := replaced("MUTUAL", "OPTIONAL_MUTUAL")
	asking := func(annotations, tls string) string {
		return gatewayIn("asking", "edge", annotations, strings.ReplaceAll(tls, "shop.", "asking."))
	}
	tls13 := replaced("TLSV1_2", "TLSV1_3")
	checkCreated(t, map[string]write{
		"optional as annotated":                      {manifest: gatewayIn("shop", "edge", mtls+"mode: optional", optional)},
		"mutual where optional is asked":             {manifest: gatewayIn("shop", "edge", mtls+"mode: optional", edgeTLS), refused: "tls.mode: found "},
		"fields that are there and empty":            {manifest: gatewayIn("shop", "edge", mutual, edgeTLS+`, insecureSkipVerify: false, httpsRedirect: false, caCertificates: ""`)},
		"two credentials":                            {manifest: gatewayIn("shop", "edge", mutual, replaced("credentialName: shop.edge.mtls,", "credentialNames: [a, b],")), refused: "which gets around the check or cannot be rotated"},
		"a pinned certificate":                       {manifest: gatewayIn("shop", "edge", mutual, edgeTLS+", verifyCertificateHash: [a]"), refused: "which gets around the check or cannot be rotated"},
		"no credential":                              {manifest: gatewayIn("shop", "edge", mutual, "mode: MUTUAL, minProtocolVersion: TLSV1_2"), refused: `tls.credentialName: found ""`},
		"a credential that Istio takes for a CA":     {manifest: gatewayIn("shop", "edge", mutual, "mode: MUTUAL, minProtocolVersion: TLSV1_2, credentialName: a-cacert"), refused: `tls.credentialName: found "a-cacert"`},
		"a credential that is a URL":                 {manifest: gatewayIn("shop", "edge", mutual, `mode: MUTUAL, minProtocolVersion: TLSV1_2, credentialName: "configmap://shop/a"`), refused: `tls.credentialName: found "configmap://shop/a"`},
		"every host of a namespace":                  {manifest: strings.Replace(gatewayIn("shop", "edge", mutual, edgeTLS), "[shop.example.com]", `["ns/*"]`, 1), refused: "of which * is none"},
		"TLS in lower case":                          {manifest: strings.Replace(gatewayIn("shop", "edge", mutual, edgeTLS), "protocol: HTTPS", "protocol: https", 1)},
		"tls on a port without TLS":                  {manifest: strings.Replace(gatewayIn("shop", "edge", mutual, edgeTLS), "protocol: HTTPS", "protocol: HTTP", 1), refused: "expected HTTPS or TLS, and tls"},
		"a TCP port":                                 {manifest: strings.Replace(gatewayIn("shop", "edge", mutual, edgeTLS), "protocol: HTTPS", "protocol: TCP", 1), refused: "expected HTTPS or TLS, and tls"},
		"the Namespace asks":                         {manifest: asking("a: b", edgeTLS)},
		"the Namespace asks and nobody answers":      {manifest: asking("a: b", "mode: SIMPLE, credentialName: a"), refused: "tls.mode: found "},
		"the Namespace asks, the object keeps off":   {manifest: asking(mtls+"mode: disabled", "mode: SIMPLE, credentialName: a")},
		"the Namespace asks, the object says how":    {manifest: asking(mtls+"min-tls: TLSv1.3", tls13)},
		"the Namespace asks and the how is left out": {manifest: asking(mtls+"min-tls: TLSv1.3", edgeTLS), refused: "tls.minProtocolVersion: found "},
		"nobody knows what the Namespace asks":       {manifest: gatewayIn("misspelt", "edge", "a: b", "mode: SIMPLE, credentialName: a"), refused: "the label mtls.sallyport.dev/default-mode of the Namespace takes"},
		"the object knows better":                    {manifest: gatewayIn("misspelt", "edge", mtls+"mode: disabled", "mode: SIMPLE, credentialName: a")},
	})
}

func TestAPIRules(t *testing.T) {
	const asked = mutual + ", " + mtls + `client-headers: "uri, subject"`
	const managed = "shop/orders-mtls"
	const headers = `X-Client-Cert-Subject: "subject=%DOWNSTREAM_PEER_SUBJECT%", X-Client-Cert-Uri: "uri=%DOWNSTREAM_PEER_URI_SAN%", ` +
		`X-Client-Cert-Issuer: issuer=, X-Client-Cert-Dns: dns=, X-Client-Cert-Serial: serial=, X-Client-Cert-Certificate: certificate=`
	checkCreated(t, map[string]write{
		"all six headers":                       {manifest: ruleIn("v2", "shop", "orders", asked, managed, headers)},
		"all six headers in v2alpha1":           {manifest: ruleIn("v2alpha1", "shop", "orders", asked, managed, headers)},
		"only those that are asked for":         {manifest: ruleIn("v2", "shop", "orders", asked, managed, headers[:strings.Index(headers, ", X-Client-Cert-Issuer")]), refused: "does not set request header X-Client-Cert-"},
		"a header with words of one's own":      {manifest: ruleIn("v2", "shop", "orders", asked, managed, strings.Replace(headers, "uri=%DOWNSTREAM_PEER_URI_SAN%", "uri=spiffe://admin", 1)), refused: "does not set request header X-Client-Cert-Uri"},
		"a header in two spellings":             {manifest: ruleIn("v2", "shop", "orders", asked, managed, headers+", x-client-cert-uri: admin"), refused: "a second time in another spelling"},
		"other headers beside them":             {manifest: ruleIn("v2", "shop", "orders", asked, managed, headers+", X-Team: a")},
		"headers and optional":                  {manifest: ruleIn("v2", "shop", "orders", strings.Replace(asked, "mutual", "optional", 1), managed, headers), refused: "goes with mode: mutual only"},
		"Kyma's Gateway by its bare name":       {manifest: ruleIn("v1beta1", "kyma-system", "orders", mutual, "kyma-gateway"), refused: "which is open to everybody"},
		"Kyma's Gateway by a service name":      {manifest: ruleIn("v1beta1", "shop", "orders", mutual, "kyma-gateway.kyma-system.svc"), refused: "which is open to everybody"},
		"a Gateway of that name elsewhere":      {manifest: ruleIn("v1beta1", "shop", "orders", mutual, "kyma-gateway")},
		"the Namespace asks":                    {manifest: ruleIn("v2", "asking", "orders", "a: b", "asking/orders-mtls")},
		"the Namespace asks and nobody answers": {manifest: ruleIn("v2", "asking", "orders", "a: b", "kyma-system/kyma-gateway"), refused: "which is open to everybody"},
		"an old object without rules is judged": {manifest: strings.Split(ruleIn("v2", "shop", "orders", mutual+", gateway.kyma-project.io/original-version: v1beta1", "kyma-system/kyma-gateway"), "  rules:")[0], refused: "which is open to everybody"},
	})
}
