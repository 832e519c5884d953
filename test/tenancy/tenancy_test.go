package tenancy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/testenv"
)

const patience = 20 * time.Second

// victim has one of everything, under its namespace's own authority and under one that
// serves everybody.
const victim = `
apiVersion: mtls.sallyport.dev/v1alpha1
kind: CertificateAuthority
metadata: {name: open, namespace: shop}
spec:
  source: {type: SelfSigned}
  allowedGateways: {namespaces: {from: All}}
  allowedClients: {namespaces: {from: All}}
  clientCertificates: {allowedNames: [{namespace: shop, name: billing.example.com}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop, annotations: {mtls.sallyport.dev/mode: mutual}}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: [edge.shop.example.com]}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: open, namespace: shop, annotations: {mtls.sallyport.dev/mode: mutual, mtls.sallyport.dev/authorities: open}}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 8443, name: https, protocol: HTTPS}, hosts: [open.shop.example.com]}]
---
apiVersion: gateway.kyma-project.io/v2
kind: APIRule
metadata: {name: orders, namespace: shop, annotations: {mtls.sallyport.dev/mode: mutual}}
spec:
  hosts: [orders.shop.example.com]
  service: {name: orders, port: 80}
  rules: [{path: "/*", methods: [GET], noAuth: true}]
---
apiVersion: mtls.sallyport.dev/v1alpha1
kind: ClientCertificate
metadata: {name: billing, namespace: shop}
spec: {authorityRef: {name: open}, secretName: billing, dnsNames: [billing.example.com]}
`

// readyObjects are those of the victim that tell when they are ready.
var readyObjects = map[string]string{
	"gateway-edge": "MutualTLSEndpoint", "gateway-open": "MutualTLSEndpoint", "apirule-orders": "MutualTLSEndpoint",
	"default": "CertificateAuthority", "open": "CertificateAuthority", "billing": "ClientCertificate",
}

// attempt is something that somebody tries.
type attempt struct {
	// user who tries; empty is mallory, who may do everything in his namespace.
	user string
	// manifest that he applies.
	manifest string
	// refused is what the refusal says; empty if the attempt is accepted.
	refused string
	// in vain: the object of his on which it is told, and the reason of a condition that
	// is not True.
	kind, name, reason string
}

func gateway(name, annotations, host, tls string) string {
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: %s, namespace: mallory, annotations: {%s}}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ["%s"], tls: {%s}}]
`, name, annotations, host, tls)
}

func secretYAML(namespace, name, metadata string) string {
	return fmt.Sprintf("{apiVersion: v1, kind: Secret, metadata: {name: %s, namespace: %s%s}, stringData: {ca.crt: mine}}", name, namespace, metadata)
}

func clientCertificate(name, spec string) string {
	return fmt.Sprintf("{apiVersion: mtls.sallyport.dev/v1alpha1, kind: ClientCertificate, metadata: {name: %s, namespace: mallory}, spec: {%s}}", name, spec)
}

const (
	mutual = "mtls.sallyport.dev/mode: mutual"
	ours   = "belongs to the agent of Sallyport"
	marked = `, labels: {mtls.sallyport.dev/managed: "true"}, annotations: {mtls.sallyport.dev/owner: Gateway/shop/edge/0}`
)

// attempts are what a tenant or an operator of the ingress may think of. Mallory cannot
// write into the namespace of another at all; what he can do is to name things of it.
func attempts(ledger string) map[string]attempt {
	return map[string]attempt{
		// Names.
		"the credential of another's Gateway":                     {manifest: gateway("credential", mutual, "credential.mallory.example.com", "mode: MUTUAL, credentialName: shop.edge.mtls"), refused: "credentialName"},
		"the CA of another's Gateway":                             {manifest: gateway("ca", mutual, "ca.mallory.example.com", "mode: MUTUAL, caCertCredentialName: shop.edge.mtls-cacert"), refused: "caCertCredentialName"},
		"the Gateway that was made for another's APIRule":         {manifest: apiRule("named", "gateway: shop/orders-mtls", "named.mallory.example.com"), refused: "shop/orders-mtls"},
		"a Gateway that claims to be made for another's APIRule":  {manifest: strings.Replace(gateway("orders-mtls", mutual+", mtls.sallyport.dev/owner: APIRule/shop/orders/0", "claims.mallory.example.com", ""), "annotations:", `labels: {mtls.sallyport.dev/managed: "true"}, annotations:`, 1), refused: "mtls.sallyport.dev/owner"},
		"the name of a managed Gateway, taken before its APIRule": {manifest: gateway("later-mtls", "a: b", "later.mallory.example.com", "mode: SIMPLE, credentialName: a") + "---" + apiRule("later", "", "later-rule.mallory.example.com"), refused: "later-mtls"},
		"an owner, without the label":                             {manifest: gateway("owner", mutual+", mtls.sallyport.dev/owner: APIRule/shop/orders/0", "owner.mallory.example.com", ""), refused: "mtls.sallyport.dev/owner"},
		"a Secret under another's name, from his own namespace":   {manifest: secretYAML("istio-system", "shop.edge.mtls-cacert", ""), refused: `User "mallory" cannot`},
		"a marked Secret in his own namespace":                    {manifest: secretYAML("mallory", "marked", marked), refused: ours},
		"a Secret of his own with a key of ours":                  {manifest: secretYAML("mallory", "keyed", ", annotations: {mtls.sallyport.dev/adopt: Gateway/shop/edge}"), refused: "mtls.sallyport.dev"},
		"an operator: the CA of a Gateway":                        {user: "operator", manifest: secretYAML("istio-system", "shop.edge.mtls-cacert", ""), refused: ours},
		"an operator: the certificate of a Gateway":               {user: "operator", manifest: secretYAML("istio-system", "shop.edge.mtls", ""), refused: ours},
		"an operator: a name that a Gateway would get later":      {user: "operator", manifest: secretYAML("istio-system", "shop.tomorrow.mtls-cacert", ""), refused: ours},
		"an operator: a marked Secret under a name of his own":    {user: "operator", manifest: secretYAML("istio-system", "mine", marked), refused: ours},
		"an operator: the ledger of an authority":                 {user: "operator", manifest: secretYAML("sallyport-system", ledger, ""), refused: ours},
		"an operator: a ledger that an authority would get later": {user: "operator", manifest: secretYAML("sallyport-system", "ledger-00000000000000000000", ""), refused: ours},
		"an operator: the CA of the webhook":                      {user: "operator", manifest: secretYAML("sallyport-system", "sallyport-webhook-ca", ""), refused: ours},
		// Hosts.
		"the host of an older Gateway":                               {manifest: gateway("host", mutual, "edge.shop.example.com", ""), refused: "held by the older Gateway shop/edge"},
		"the host of an older Gateway, in another spelling":          {manifest: gateway("host", mutual, "*/EDGE.shop.example.com.", ""), refused: "held by the older Gateway shop/edge"},
		"the host of a managed Gateway":                              {manifest: gateway("host", mutual, "orders.shop.example.com", ""), refused: "held by the older Gateway shop/orders-mtls"},
		"a host of another under an authority that serves everybody": {manifest: strings.Replace(gateway("same-authority", mutual+", mtls.sallyport.dev/authorities: shop/open", "open.shop.example.com", ""), "number: 443", "number: 9443", 1), kind: "MutualTLSEndpoint", name: "gateway-same-authority", reason: "NameInUse"},
		// Authorities.
		"an authority that serves its own namespace":            {manifest: gateway("authority", mutual+", mtls.sallyport.dev/authorities: shop/default", "authority.mallory.example.com", ""), kind: "MutualTLSEndpoint", name: "gateway-authority", reason: "AuthorityNotAllowed"},
		"the same, for an APIRule":                              {manifest: strings.Replace(apiRule("authority", "", "authority-rule.mallory.example.com"), mutual, mutual+", mtls.sallyport.dev/authorities: shop/default", 1), kind: "MutualTLSEndpoint", name: "apirule-authority", reason: "AuthorityNotAllowed"},
		"the same, for a caller":                                {manifest: clientCertificate("authority", "authorityRef: {name: default, namespace: shop}, secretName: authority"), kind: "ClientCertificate", name: "authority", reason: "AuthorityNotAllowed"},
		"an authority that nobody made, in another's namespace": {manifest: gateway("nobody", mutual+", mtls.sallyport.dev/authorities: shop/nobody", "nobody.mallory.example.com", ""), kind: "MutualTLSEndpoint", name: "gateway-nobody", reason: "AuthorityNotFound"},
		// Identities.
		"a DNS name that another was allowed":           {manifest: clientCertificate("dns", "authorityRef: {name: open, namespace: shop}, secretName: dns, dnsNames: [billing.example.com]"), kind: "ClientCertificate", name: "dns", reason: "NameNotAllowed"},
		"a Secret that is there, for a caller":          {manifest: secretYAML("mallory", "taken", "") + "\n---\n" + clientCertificate("taken", "authorityRef: {name: open, namespace: shop}, secretName: taken"), kind: "ClientCertificate", name: "taken", reason: "ForeignSecret"},
		"a Secret under a gateway's name, for a caller": {manifest: clientCertificate("edge", "authorityRef: {name: open, namespace: shop}, secretName: shop.edge.mtls-cacert"), refused: "belong to gateways"},
		// What we tell.
		"an endpoint that tells lies": {manifest: "{apiVersion: mtls.sallyport.dev/v1alpha1, kind: MutualTLSEndpoint, metadata: {name: gateway-lies, namespace: mallory}, spec: {}}", refused: "MutualTLSEndpoint"},
	}
}

func apiRule(name, gateway, host string) string {
	return fmt.Sprintf(`
apiVersion: gateway.kyma-project.io/v2
kind: APIRule
metadata: {name: %s, namespace: mallory, annotations: {%s}}
spec:
  hosts: ["%s"]
  %s
  service: {name: orders, port: 80}
  rules: [{path: "/*", methods: [GET], noAuth: true}]
`, name, mutual, host, gateway)
}

func TestNobodyTakesWhatIsAnothers(t *testing.T) {
	if err := stack.ApplyYAML(t.Context(), victim); err != nil {
		t.Fatal(err)
	}
	for name, kind := range readyObjects {
		testenv.Eventually(t, patience, kind+" "+name, func(ctx context.Context) error { return told(ctx, t, "shop", kind, name, "True", "") })
	}
	var before map[string]string
	changed := time.Now()
	testenv.Eventually(t, patience, "the victim at rest", func(ctx context.Context) error {
		last := before
		if before = belongings(ctx, t); !maps.Equal(last, before) {
			changed = time.Now()
		}
		if time.Since(changed) < 2*time.Second { // statuses that count come late on purpose
			return errors.New("something changed a moment ago")
		}
		return nil
	})
	ledger := ""
	for what := range before {
		if name, found := strings.CutPrefix(what, "Secret sallyport-system/ledger-"); found && !strings.Contains(name, "serials") {
			ledger = "ledger-" + name
		}
	}
	if ledger == "" || len(before) < 15 {
		t.Fatalf("the victim has %v: that shows nothing", slices.Sorted(maps.Keys(before)))
	}
	for name, a := range attempts(ledger) {
		t.Run(name, func(t *testing.T) {
			a.try(t)
			if diff := cmp.Diff(before, belongings(t.Context(), t)); diff != "" {
				t.Errorf("what the victim has changed (-before +after):\n%s", diff)
			}
		})
	}
}

// try applies what the attempt consists of, and looks at what comes of it.
func (a attempt) try(t *testing.T) {
	t.Helper()
	user := a.user
	if user == "" {
		user = "mallory"
	}
	objects, err := localstack.ParseYAML([]byte(a.manifest))
	if err != nil {
		t.Fatal(err)
	}
	var refusal error
	for i, object := range objects {
		if i > 0 && a.refused != "" {
			// The webhook hears of the one before a moment after it is stored. What is accepted
			// meanwhile is told in its endpoint.
			testenv.Eventually(t, patience, "a webhook that knows "+objects[i-1].GetName(), func(ctx context.Context) error {
				if as(t, user).Create(ctx, object.DeepCopy(), client.DryRunAll) == nil {
					return errors.New("it would accept it")
				}
				return nil
			})
		}
		err := as(t, user).Create(t.Context(), object)
		if apierrors.IsAlreadyExists(err) { // what is the agent's is there already: he changes it
			stored := object.DeepCopy()
			if err := as(t, "").Get(t.Context(), client.ObjectKeyFromObject(object), stored); err != nil {
				t.Fatal(err)
			}
			object.SetResourceVersion(stored.GetResourceVersion())
			err = as(t, user).Update(t.Context(), object)
		}
		if err == nil {
			t.Cleanup(func() { _ = as(t, "").Delete(context.WithoutCancel(t.Context()), object) })
		}
		refusal = err
	}
	switch {
	case a.refused == "" && refusal != nil:
		t.Errorf("refused: %v", refusal)
	case a.refused == "":
		testenv.Eventually(t, patience, a.kind+" "+a.name+" tells "+a.reason, func(ctx context.Context) error { return told(ctx, t, "mallory", a.kind, a.name, "False", a.reason) })
	case refusal == nil:
		t.Errorf("accepted, expected a refusal that says %q", a.refused)
	case !strings.Contains(refusal.Error(), a.refused):
		t.Errorf("refused with %v, expected it to say %q", refusal, a.refused)
	}
}

// told says what is missing of a Ready condition.
func told(ctx context.Context, t *testing.T, namespace, kind, name, status, reason string) error {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion("mtls.sallyport.dev/v1alpha1")
	object.SetKind(kind)
	if err := as(t, "").Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object); err != nil {
		return err
	}
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		if condition["type"] == "Ready" && condition["status"] == status && (reason == "" || condition["reason"] == reason) {
			return nil
		}
	}
	return fmt.Errorf("the conditions are %v", conditions)
}

// belongings are the victim's objects and what was made for it elsewhere, with their
// versions. How much the authority has issued that serves everybody is not his alone: of
// that one, and of the record of its serials, the identity counts.
func belongings(ctx context.Context, t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for kind, namespaces := range map[string][]string{
		"networking.istio.io/v1/Gateway": {"shop"}, "gateway.kyma-project.io/v2/APIRule": {"shop"}, "v1/ConfigMap": {"shop"}, "v1/Secret": {"shop", "istio-system", "sallyport-system"},
		"mtls.sallyport.dev/v1alpha1/CertificateAuthority": {"shop"}, "mtls.sallyport.dev/v1alpha1/ClientCertificate": {"shop"}, "mtls.sallyport.dev/v1alpha1/MutualTLSEndpoint": {"shop"},
	} {
		for _, namespace := range namespaces {
			list := &unstructured.UnstructuredList{}
			list.SetAPIVersion(kind[:strings.LastIndex(kind, "/")])
			list.SetKind(kind[strings.LastIndex(kind, "/")+1:] + "List")
			if err := as(t, "").List(ctx, list, client.InNamespace(namespace)); err != nil {
				t.Fatal(err)
			}
			for _, o := range list.Items {
				owner := o.GetAnnotations()["mtls.sallyport.dev/owner"]
				if namespace == "shop" || strings.Contains(owner, "/shop/") {
					what := o.GetKind() + " " + namespace + "/" + o.GetName()
					if found[what] = string(o.GetUID()); what != "CertificateAuthority shop/open" && !strings.HasSuffix(what, "-serials-000") {
						found[what] += " " + o.GetResourceVersion()
					}
				}
			}
		}
	}
	return found
}
