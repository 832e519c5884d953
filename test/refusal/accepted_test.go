package refusal

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/testenv"
)

// What looks much like a refused shape and is accepted ends up mutual on every
// server, and the answer says so.
func TestWhatIsAcceptedIsMutual(t *testing.T) {
	const ns = "mutual-in-the-end"
	namespace(t, ns)
	const probe = "spiffe://" + trustDomain + "/sallyport/probe"
	wanted := func(mode, credential, min string, callers ...any) map[string]any {
		settings := map[string]any{"mode": mode, "credentialName": credential, "caCertCredentialName": credential + "-cacert", "minProtocolVersion": min}
		if callers != nil {
			settings["subjectAltNames"] = callers
		}
		return settings
	}
	const own = ns + ".edge.mtls"
	tests := map[string]struct {
		manifest string
		want     map[string]any
	}{
		"a server that says nothing":                     {gateway(mutual, server("")), wanted("MUTUAL", own, "TLSV1_2")},
		"two open servers":                               {gateway(mutual, server("mode: SIMPLE"), beside("mode: SIMPLE")), wanted("MUTUAL", own, "TLSV1_2")},
		"an open server beside a mutual one":             {gateway(mutual, server("mode: MUTUAL"), beside("mode: SIMPLE")), wanted("MUTUAL", own, "TLSV1_2")},
		"the same credential on all":                     {gateway(mutual, server("mode: SIMPLE, credentialName: a"), beside("mode: SIMPLE, credentialName: a")), wanted("MUTUAL", "a", "TLSV1_2")},
		"a CA that fits the credential":                  {gateway(mutual, server("mode: MUTUAL, credentialName: a, caCertCredentialName: a-cacert")), wanted("MUTUAL", "a", "TLSV1_2")},
		"HTTPS in lower case":                            {gateway(mutual, serverOn(443, "https", "NAMESPACE.example.com", "")), wanted("MUTUAL", own, "TLSV1_2")},
		"TLS, of which Istio ends no HTTP":               {gateway(mutual, serverOn(443, "TLS", "NAMESPACE.example.com", "")), wanted("MUTUAL", own, "TLSV1_2")},
		"optional as asked for":                          {gateway(mtls+"mode: optional", server("mode: OPTIONAL_MUTUAL"), beside("mode: SIMPLE")), wanted("OPTIONAL_MUTUAL", own, "TLSV1_2")},
		"a newer minimum, and callers":                   {gateway(mutual+", "+mtls+"min-tls: TLSv1.3, "+mtls+"allowed-clients: client/a", server(""), beside("")), wanted("MUTUAL", own, "TLSV1_3", "spiffe://"+trustDomain+"/ns/"+ns+"/client/a", probe)},
		"fields that are there and say nothing":          {gateway(mutual, server(`mode: MUTUAL, insecureSkipVerify: false, httpsRedirect: false, caCertificates: ""`)), nil},
		"a host of 253 characters in labels of up to 63": {gateway(mutual, hosting(strings.Repeat("a.", 121)+"aa.example")), wanted("MUTUAL", own, "TLSV1_2")},
		"letters beyond ASCII, spelt right":              {gateway(mutual, hosting("xn--bcher-kva.example.com")), wanted("MUTUAL", own, "TLSV1_2")},
		"a host in upper case, with a trailing dot":      {gateway(mutual, hosting("SHOP.NAMESPACE.example.com.")), wanted("MUTUAL", own, "TLSV1_2")},
		"a host for its own namespace":                   {gateway(mutual, hosting("./NAMESPACE.example.com")), wanted("MUTUAL", own, "TLSV1_2")},
	}
	for name, test := range tests {
		for _, version := range gatewayVersions {
			t.Run(name+", "+version, func(t *testing.T) {
				shared.warnings.taken()
				object := parse(t, fill(test.manifest, version, ns))
				if err := shared.person.Create(t.Context(), object, client.DryRunAll); err != nil {
					t.Fatal(err)
				}
				servers, _, _ := unstructured.NestedSlice(object.Object, "spec", "servers")
				for i, s := range servers {
					found := s.(map[string]any)["tls"].(map[string]any) //nolint:forcetypeassert // Istio's schema
					if found["mode"] != "MUTUAL" && found["mode"] != "OPTIONAL_MUTUAL" || test.want != nil && !reflect.DeepEqual(found, test.want) {
						t.Errorf("server %d has %v, want %v", i, found, test.want)
					}
				}
				if said := strings.Join(shared.warnings.taken(), "\n"); !strings.Contains(said, "mutual TLS (") || !strings.Contains(said, "callers verified by Secret") {
					t.Errorf("the warnings are %q", said)
				}
			})
		}
	}
}

// A Namespace's label asks as an annotation does, and the answer says who asked.
func TestWhatTheNamespaceAsksFor(t *testing.T) {
	const ns = "labelled"
	namespace(t, ns, mtls+"default-mode: mutual")
	object := parse(t, fill(gateway("", serverOn(80, "HTTP", "a.example.com", "")), "v1", ns))
	message := row{field: "spec.servers[0].port.protocol", found: `the Namespace's label mtls.sallyport.dev/default-mode asks for mutual TLS`, wayOut: "move it to a Gateway of its own"}.
		check(t, "create", ns, shared.person.Create(t.Context(), object, client.DryRunAll))
	t.Log(message)

	stamped := parse(t, fill(gateway("", server("")), "v1", ns))
	if err := shared.person.Create(t.Context(), stamped, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	if mode := stamped.GetAnnotations()[mtls+"mode"]; mode != "mutual" {
		t.Errorf("the mode that is stamped is %q", mode)
	}

	misspelt := parse(t, "{apiVersion: v1, kind: Namespace, metadata: {name: misspelt, labels: {"+mtls+"default-mode: Mutual}}}")
	row{field: "default-mode", found: "a Namespace has one label under mtls.sallyport.dev/", wayOut: "mutual or optional, spelt exactly so; take it off for neither", byPolicy: true}.
		check(t, "create", ns, shared.person.Create(t.Context(), misspelt, client.DryRunAll))
}

// A credential whose Secret is somebody else's passes admission, which sees no
// Secret. The agent leaves the Secret alone, and says whose it is and what to do.
func TestACredentialOfSomebodyElse(t *testing.T) {
	const ns = "foreign-credential"
	namespace(t, ns)
	for name, taken := range map[string]string{"the server's": "theirs", "the CA's": "theirs-too-cacert"} {
		t.Run(name, func(t *testing.T) {
			secret := &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: taken},
				StringData: map[string]string{"ca.crt": "not ours"},
			}
			if err := shared.stack.Client().Create(t.Context(), secret); err != nil {
				t.Fatal(err)
			}
			credential := strings.TrimSuffix(taken, "-cacert")
			create(t, fill(gatewayNamed("on-"+credential, "annotations: {"+mutual+"}", serverOn(443, "HTTPS", credential+".NAMESPACE.example.com", "mode: SIMPLE, credentialName: "+credential)), "v1", ns))
			var said string
			testenv.Eventually(t, followed, "the agent says whose it is", func(ctx context.Context) error {
				endpoint := ofKind("mtls.sallyport.dev/v1alpha1", "MutualTLSEndpoint")
				if err := shared.person.Get(ctx, client.ObjectKey{Namespace: ns, Name: "gateway-on-" + credential}, endpoint); err != nil {
					return err
				}
				said = notReady(endpoint)
				for _, part := range []string{"ForeignSecret", "istio-system/" + taken} {
					if !strings.Contains(said, part) {
						return fmt.Errorf("found %q", said)
					}
				}
				return nil
			})
			t.Log(said)
			stored := &corev1.Secret{}
			if err := shared.stack.Client().Get(t.Context(), client.ObjectKeyFromObject(secret), stored); err != nil {
				t.Fatal(err)
			}
			if stored.ResourceVersion != secret.ResourceVersion {
				t.Error("the Secret was written")
			}
		})
	}
}

// notReady is the reason and the message of an object that is not Ready.
func notReady(object *unstructured.Unstructured) string {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, c := range conditions {
		if condition, _ := c.(map[string]any); condition["type"] == "Ready" && condition["status"] == "False" {
			return fmt.Sprintf("%s: %s", condition["reason"], condition["message"])
		}
	}
	return ""
}
