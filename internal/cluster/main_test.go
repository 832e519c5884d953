package cluster

import (
	"os"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/internal/testenv"
	"sallyport.dev/sallyport/pkg/intent"
)

var environment testenv.Environment

func TestMain(m *testing.M) { os.Exit(testenv.Run(m, &environment)) }

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fixture is a Cluster whose own namespace is a new one.
type fixture struct {
	*Cluster
	view      *testenv.View
	namespace string
}

func newFixture(t *testing.T) fixture {
	t.Helper()
	view := testenv.NewView(environment.Admin(t))
	if err := IndexSecrets(t.Context(), view); err != nil {
		t.Fatal(err)
	}
	namespace := environment.Namespace(t, "cluster").Name
	return fixture{Cluster: New(view, view.Client, namespace), view: view, namespace: namespace}
}

func (f fixture) key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: f.namespace, Name: name}
}

func owner(name string) intent.Owner {
	return intent.Owner{Kind: "Gateway", Namespace: "shop", Name: name, UID: "0a1b"}
}
