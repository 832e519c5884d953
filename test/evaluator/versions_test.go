package evaluator_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/localstack"
)

// requirement is a line of a go.mod: a module, its version, and what it is replaced by.
var requirement = regexp.MustCompile(`(?m)^(?:require |replace |\t)(\S+)(?:(?: v\S+)? => \S+)? (v\S+)`)

// TestItIsTheAPIServersOwn holds what decides here to the versions that the local stack's API server is built from.
func TestItIsTheAPIServersOwn(t *testing.T) {
	here, there := requirements(t, "evaluator"), requirements(t, filepath.Join("stack", "controlplane"))
	compared := 0
	for module, version := range here {
		decides := strings.HasPrefix(module, "k8s.io/") || strings.HasPrefix(module, "sigs.k8s.io/") || strings.Contains(module, "cel")
		if built, is := there[module]; decides && is {
			compared++
			if version != built {
				t.Errorf("%s is %s here, and the API server has %s: change test/evaluator/go.mod, or test/stack/controlplane/go.mod", module, version, built)
			}
		}
	}
	// The three that decide most are among them.
	for _, module := range []string{"k8s.io/apiserver", "k8s.io/apiextensions-apiserver", "github.com/google/cel-go"} {
		if here[module] == "" || there[module] == "" {
			t.Errorf("%s is %q here, and %q in the API server", module, here[module], there[module])
		}
	}
	if kubernetes := there["k8s.io/kubernetes"]; strings.TrimPrefix(kubernetes, "v1.") != strings.TrimPrefix(here["k8s.io/apiserver"], "v0.") {
		t.Errorf("k8s.io/apiserver is %s, and the API server is of Kubernetes %s", here["k8s.io/apiserver"], kubernetes)
	}
	t.Logf("%d modules have the same version", compared)
}

// requirements are the modules that a module of test/ is built from.
func requirements(t *testing.T, module string) map[string]string {
	t.Helper()
	root, err := localstack.Root()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(root, "test", module, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, line := range requirement.FindAllStringSubmatch(string(content), -1) {
		if line[2] != "v0.0.0" { // what is replaced
			found[line[1]] = line[2]
		}
	}
	if len(found) == 0 {
		t.Fatalf("no requirement in go.mod of %s", module)
	}
	return found
}
