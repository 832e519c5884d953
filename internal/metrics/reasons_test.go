package metrics

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReasonsAreThoseOfTheAPI: one that is missing here is told as Other.
func TestReasonsAreThoseOfTheAPI(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../api/v1alpha1/conditions.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			t.Fatalf("%s is no text", spec.Names[0].Name)
		}
		value, err := strconv.Unquote(literal.Value)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, value)
		return true
	})
	slices.Sort(want)
	got := slices.Sorted(slices.Values(reasons))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("add to reasons.go what is new in api/v1alpha1 (-api +here):\n%s", diff)
	}
}
