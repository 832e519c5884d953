package intent

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

func gateway(annotations map[string]string) Object {
	return Object{Kind: KindGateway, APIVersion: "networking.istio.io/v1", Namespace: "shop", Name: "edge", Annotations: annotations}
}

func apirule(annotations map[string]string) Object {
	return Object{Kind: KindAPIRule, APIVersion: "gateway.kyma-project.io/v2", Namespace: "shop", Name: "orders", Annotations: annotations}
}

var platform = Platform{TrustDomain: "example.com"}

// facts are an Intent as a table compares it.
type facts struct {
	Mode             Mode
	FromNamespace    bool
	Authority        string
	AuthorityImplied bool
	MinTLS           TLSVersion
	KeyAlgorithm     string
	Lifetime         time.Duration
	AllowedClients   []string
	ClientHeaders    []string
}

func factsOf(i Intent) facts {
	algorithm, _ := i.KeyAlgorithm()
	lifetime, _ := i.CertificateLifetime()
	return facts{i.Mode(), i.FromNamespace(), names(i.Authorities()), i.AuthorityImplied(), i.MinTLS(), algorithm, lifetime, i.AllowedClients(), i.ClientHeaders()}
}

func TestParseReadsWhatIsAskedFor(t *testing.T) {
	defaults := facts{Mode: ModeMutual, Authority: "shop/default", AuthorityImplied: true, MinTLS: TLS12}
	tests := map[string]struct {
		object   Object
		platform Platform
		want     facts
	}{
		"mode alone takes every default": {gateway(map[string]string{KeyMode: "mutual"}), platform, defaults},
		"the namespace opts in what says nothing": {
			gateway(nil), Platform{TrustDomain: "example.com", NamespaceMode: "optional"},
			facts{Mode: ModeOptional, FromNamespace: true, Authority: "shop/default", AuthorityImplied: true, MinTLS: TLS12},
		},
		"the object's own mode goes before the namespace's": {
			gateway(map[string]string{KeyMode: "mutual"}), Platform{TrustDomain: "example.com", NamespaceMode: "optional"}, defaults,
		},
		"the platform's authority goes before the namespace's": {
			gateway(map[string]string{KeyMode: "mutual"}), Platform{TrustDomain: "example.com", DefaultAuthority: types.NamespacedName{Namespace: "platform", Name: "ca"}},
			facts{Mode: ModeMutual, Authority: "platform/ca", MinTLS: TLS12},
		},
		"a named authority goes before the platform's": {
			gateway(map[string]string{KeyMode: "mutual", KeyAuthorities: "partners"}), Platform{TrustDomain: "example.com", DefaultAuthority: types.NamespacedName{Namespace: "platform", Name: "ca"}},
			facts{Mode: ModeMutual, Authority: "shop/partners", MinTLS: TLS12},
		},
		"everything at once": {
			apirule(map[string]string{
				KeyMode: "mutual", KeyAuthorities: "pki/partners, old,  pki/older", KeyServerCertificate: "issued", KeyMinTLS: "TLSv1.3", KeyKeyAlgorithm: "RSA-3072",
				KeyCertificateLifetime: "1h30m", KeyClientHeaders: "uri, subject", KeyAllowedClients: "client/billing, spiffe://other.org/a/b,api.example.com",
				"example.com/mode": "anything",
			}), platform,
			facts{
				Mode: ModeMutual, Authority: "pki/partners,shop/old,pki/older", MinTLS: TLS13, KeyAlgorithm: "RSA-3072", Lifetime: 90 * time.Minute,
				AllowedClients: []string{"api.example.com", "spiffe://example.com/ns/shop/client/billing", "spiffe://example.com/sallyport/probe", "spiffe://other.org/a/b"},
				ClientHeaders:  []string{"subject", "uri"},
			},
		},
		"a managed Gateway carries the agent's keys": {
			Object{Kind: KindGateway, Namespace: "shop", Name: "orders-mtls", Annotations: map[string]string{KeyMode: "mutual", KeyOwner: "APIRule/shop/orders/1"}, Labels: map[string]string{KeyManaged: "true"}},
			platform, defaults,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			answer := Parse(test.object, test.platform)
			i, ok := answer.Intent()
			if !ok {
				t.Fatalf("state %s: %v", answer.State(), answer.Errors())
			}
			if diff := cmp.Diff(test.want, factsOf(i)); diff != "" {
				t.Errorf("intent (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseLeavesAloneWhatDoesNotAsk(t *testing.T) {
	tests := map[string]struct {
		object Object
		mode   string
		want   State
	}{
		"no annotation":                           {gateway(nil), "", NotRequested},
		"annotations of others":                   {gateway(map[string]string{"sallyport.dev/mode": "mutual"}), "", NotRequested},
		"disabled":                                {gateway(map[string]string{KeyMode: "disabled"}), "", Disabled},
		"disabled goes before the namespace":      {gateway(map[string]string{KeyMode: "disabled"}), "mutual", Disabled},
		"disabled keeps settings for later":       {gateway(map[string]string{KeyMode: "disabled", KeyMinTLS: "TLSv1.3"}), "", Disabled},
		"what is left of a managed Gateway's own": {gateway(map[string]string{KeyOwner: "x"}), "", NotRequested},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			answer := Parse(test.object, Platform{TrustDomain: "example.com", NamespaceMode: test.mode})
			if answer.State() != test.want || len(answer.Errors()) > 0 {
				t.Errorf("state %s with %v, expected %s", answer.State(), answer.Errors(), test.want)
			}
		})
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	with := func(pairs ...string) map[string]string {
		annotations := map[string]string{KeyMode: "mutual"}
		for i := 0; i < len(pairs); i += 2 {
			annotations[pairs[i]] = pairs[i+1]
		}
		return annotations
	}
	long := strings.Repeat("a,", 70) + "a"
	tests := map[string]struct {
		object Object
		want   string
	}{
		"key in another case":                       {gateway(map[string]string{Prefix + "Mode": "mutual"}), `metadata.annotations[mtls.sallyport.dev/Mode]: Invalid value: "mutual": unknown key: it is spelt mtls.sallyport.dev/mode`},
		"prefix in another case":                    {gateway(map[string]string{"MTLS.sallyport.dev/mode": "mutual"}), `unknown key: it is spelt mtls.sallyport.dev/mode`},
		"key that does not exist":                   {gateway(with(Prefix+"modes", "x")), `metadata.annotations[mtls.sallyport.dev/modes]: Invalid value: "x": unknown key: a Gateway has mtls.sallyport.dev/allowed-clients, `},
		"key of another kind":                       {gateway(with(KeyClientHeaders, "uri")), `goes on an APIRule, not on a Gateway`},
		"key of a Secret":                           {gateway(with(KeyAdopt, "shop/edge")), `goes on a Secret, not on a Gateway`},
		"key of the agent":                          {gateway(with(KeyManaged, "true")), `is written by the agent only, as a label`},
		"setting as a label":                        {Object{Kind: KindGateway, Labels: map[string]string{KeyMode: "mutual"}}, `metadata.labels[mtls.sallyport.dev/mode]: Invalid value: "mutual": is not a label of this object; settings are annotations`},
		"namespace label on an object":              {Object{Kind: KindGateway, Labels: map[string]string{LabelDefaultMode: "mutual"}}, `goes on a Namespace; on an object write the annotation mtls.sallyport.dev/mode`},
		"mode in another case":                      {gateway(map[string]string{KeyMode: "Mutual"}), `metadata.annotations[mtls.sallyport.dev/mode]: Unsupported value: "Mutual": supported values: "mutual", "optional", "disabled"`},
		"mode with a space":                         {gateway(map[string]string{KeyMode: "mutual "}), `Unsupported value: "mutual "`},
		"empty mode":                                {gateway(map[string]string{KeyMode: ""}), `Unsupported value: ""`},
		"hostile mode":                              {gateway(map[string]string{KeyMode: "\x1b[31m\u202e\n" + strings.Repeat("x", 256<<10)}), `Unsupported value: "\x1b[31m\u202e\n` + strings.Repeat("x", 55) + `..."`},
		"settings without a mode":                   {gateway(map[string]string{KeyMinTLS: "TLSv1.3"}), `metadata.annotations[mtls.sallyport.dev/mode]: Required value: mtls.sallyport.dev/min-tls says how, but nothing says that: add mtls.sallyport.dev/mode: mutual, or disabled to keep it off`},
		"five authorities":                          {gateway(with(KeyAuthorities, "a,b,c,d,e")), `Too many: 5: must have at most 4 items`},
		"an authority twice":                        {gateway(with(KeyAuthorities, "a,shop/a")), `is there twice: write it once`},
		"authority in a path":                       {gateway(with(KeyAuthorities, "../a")), `must be the name of a CertificateAuthority`},
		"empty authority":                           {gateway(with(KeyAuthorities, "a,")), `has an empty item; it is a comma-separated list`},
		"provided certificate, and how to issue it": {gateway(with(KeyServerCertificate, "provided", KeyKeyAlgorithm, "RSA-2048")), `metadata.annotations[mtls.sallyport.dev/key-algorithm]: Invalid value: "RSA-2048": goes with an issued certificate`},
		"provided certificate of no name":           {apirule(with(KeyServerCertificate, "provided")), `metadata.annotations[mtls.sallyport.dev/server-credential-name]: Required value: mtls.sallyport.dev/server-certificate: provided needs the name of the Secret`},
		"credential name of nothing provided":       {apirule(with(KeyServerCredentialName, "x")), `goes with mtls.sallyport.dev/server-certificate: provided: add that`},
		"credential name of a CA":                   {apirule(with(KeyServerCertificate, "provided", KeyServerCredentialName, "x-cacert")), `must not end in -cacert`},
		"credential name of ours":                   {apirule(with(KeyServerCertificate, "provided", KeyServerCredentialName, "shop.edge.mtls")), `or in .mtls, which is ours`},
		"credential name that is a URL":             {apirule(with(KeyServerCertificate, "provided", KeyServerCredentialName, "kubernetes://a/b")), `must be the name of a Secret`},
		"server certificate of nobody":              {gateway(with(KeyServerCertificate, "none")), `Unsupported value: "none": supported values: "issued", "provided"`},
		"old TLS":                                   {gateway(with(KeyMinTLS, "TLSv1.1")), `Unsupported value: "TLSv1.1": supported values: "TLSv1.2", "TLSv1.3"`},
		"weak key":                                  {gateway(with(KeyKeyAlgorithm, "RSA-1024")), `Unsupported value: "RSA-1024"`},
		"lifetime without a unit":                   {gateway(with(KeyCertificateLifetime, "720")), `must be a duration such as 720h or 90m`},
		"lifetime too short":                        {gateway(with(KeyCertificateLifetime, "59s")), `must be at least 1m0s`},
		"negative lifetime":                         {gateway(with(KeyCertificateLifetime, "-720h")), `must be at least 1m0s`},
		"wildcard client":                           {gateway(with(KeyAllowedClients, "*.example.com")), `must be client/<name>, spiffe://<trust domain>/<path>, or an exact DNS name in lower case`},
		"client in another scheme":                  {gateway(with(KeyAllowedClients, "https://example.com/a")), `must be spiffe://<trust domain>/<path>`},
		"SPIFFE ID with a query":                    {gateway(with(KeyAllowedClients, "spiffe://example.com/a?b")), `without user, port, query or escapes`},
		"SPIFFE ID that climbs":                     {gateway(with(KeyAllowedClients, "spiffe://example.com/a/../b")), `without empty or relative segments`},
		"SPIFFE ID without a path":                  {gateway(with(KeyAllowedClients, "spiffe://example.com")), `without empty or relative segments`},
		"client twice":                              {gateway(with(KeyAllowedClients, "client/a,client/a")), `Invalid value: "client/a": is there twice: write it once`},
		"too many clients":                          {gateway(with(KeyAllowedClients, long)), `Too many: 71: must have at most 64 items`},
		"unknown header":                            {apirule(with(KeyClientHeaders, "uri,name")), `Unsupported value: "name"`},
		"headers with optional":                     {apirule(map[string]string{KeyMode: "optional", KeyClientHeaders: "uri"}), `goes with mode: mutual only`},
		"headers in v1beta1": {
			Object{Kind: KindAPIRule, APIVersion: "gateway.kyma-project.io/v1beta1", Annotations: with(KeyClientHeaders, "uri")}, `needs an APIRule of version v2`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			answer := Parse(test.object, platform)
			if answer.State() != Invalid {
				t.Fatalf("state %s", answer.State())
			}
			text := answer.Errors().ToAggregate().Error()
			if !strings.Contains(text, test.want) {
				t.Errorf("found\n%s\nexpected\n%s", text, test.want)
			}
			if len(text) > 2000 {
				t.Errorf("the error has %d bytes", len(text))
			}
		})
	}
}

func TestParseSaysSoOfANamespaceWhoseLabelIsWrong(t *testing.T) {
	answer := Parse(gateway(nil), Platform{TrustDomain: "example.com", NamespaceMode: "Mutual"})
	const want = `namespace.metadata.labels[mtls.sallyport.dev/default-mode]: Unsupported value: "Mutual": supported values: "mutual", "optional"`
	if text := answer.Errors().ToAggregate().Error(); answer.State() != Invalid || text != want {
		t.Errorf("state %s: %s", answer.State(), text)
	}
}

func TestManagedGatewayNameFitsKyma(t *testing.T) {
	for apirule, want := range map[string]string{"orders": "orders-mtls", strings.Repeat("a", 58): strings.Repeat("a", 58) + "-mtls", strings.Repeat("a", 59): "", "a.b": ""} {
		name, err := ManagedGatewayName(apirule)
		if name != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", apirule, name, err)
		}
	}
}

func TestOwnerIsReadBack(t *testing.T) {
	owner := Owner{Kind: "Gateway", Namespace: "shop", Name: "edge", UID: "1-2"}
	if read, err := ParseOwner(owner.String()); err != nil || read != owner {
		t.Errorf("%v, %v", read, err)
	}
	for _, wrong := range []string{"", "Gateway/shop/edge", "Gateway/shop/edge/1/2", "//edge/1"} {
		if read, err := ParseOwner(wrong); err == nil {
			t.Errorf("%q is read as %v", wrong, read)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(KeyMode, "mutual", "mutual")
	f.Add(KeyAllowedClients, "client/a,spiffe://b/c", "")
	f.Add(Prefix+"MODE", "\x00", "x")
	f.Fuzz(func(t *testing.T, key, value, mode string) {
		for _, object := range []Object{gateway(map[string]string{key: value, KeyMode: "mutual"}), apirule(map[string]string{key: value})} {
			answer := Parse(object, Platform{TrustDomain: "example.com", NamespaceMode: mode})
			if (answer.State() == Invalid) != (len(answer.Errors()) > 0) {
				t.Errorf("state %s with %d errors", answer.State(), len(answer.Errors()))
			}
			if i, ok := answer.Intent(); ok && (i.Mode() != ModeMutual && i.Mode() != ModeOptional || i.Authority().Name == "") {
				t.Errorf("intent %+v", factsOf(i))
			}
		}
	})
}

func names(refs []types.NamespacedName) string {
	var all []string
	for _, r := range refs {
		all = append(all, r.String())
	}
	return strings.Join(all, ",")
}
