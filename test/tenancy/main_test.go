// Package tenancy shows that who may do everything in one namespace gets nothing of
// another's: no host, name, authority, identity, Secret or Gateway. Each attempt is
// refused, or accepted and told to be in vain, and nothing of the victim changes.
package tenancy

import (
	"context"
	"flag"
	"os"
	"testing"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/localstack/kyma"
	"sallyport.dev/sallyport/internal/localstack/product"
)

// stack is what all tests share: an API server and the product.
var stack *localstack.Stack

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(product.Main(m, start))
}

func start(ctx context.Context) (_ *localstack.Stack, installed *product.Product, err error) {
	if stack, err = localstack.Start(ctx, localstack.Options{ControlPlaneOnly: true}); err != nil {
		return stack, nil, err
	}
	for _, manifest := range []string{kyma.CRD, people} {
		if err = stack.ApplyYAML(ctx, manifest); err != nil {
			return stack, nil, err
		}
	}
	installed, err = product.Install(ctx, stack, product.Options{TrustDomain: "example.com", ClientSecretNamespaces: []string{"shop", "mallory"}})
	return stack, installed, err
}

// people are a victim's namespace, an attacker who may do everything in his own, and
// an operator who may do everything in those of the gateways and of the product.
const people = `
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: mallory}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: sallyport-system}}
---
apiVersion: v1
kind: Pod
metadata: {name: gateway, namespace: istio-system, labels: {istio: ingressgateway}}
spec: {containers: [{name: proxy, image: none}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: everything, namespace: mallory}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: User, name: mallory, apiGroup: rbac.authorization.k8s.io}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: everything, namespace: istio-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: User, name: operator, apiGroup: rbac.authorization.k8s.io}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: everything, namespace: sallyport-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: User, name: operator, apiGroup: rbac.authorization.k8s.io}]
`

// clients are kept: each has to learn what the API server serves.
var clients = map[string]client.Client{}

// as is somebody's own client; without a name, the administrator's.
func as(t *testing.T, user string) client.Client {
	t.Helper()
	if c := clients[user]; c != nil {
		return c
	}
	config := rest.CopyConfig(stack.Config())
	config.QPS = -1
	if user != "" {
		config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
	}
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	clients[user] = c
	return c
}
