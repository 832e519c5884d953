package install_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/localstack/install"
)

// chart writes a chart of one template and answers with its directory.
func chart(t *testing.T, template string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"Chart.yaml":          "apiVersion: v2\nname: small\nversion: 0.1.0\n",
		"values.schema.json":  `{"type": "object", "required": ["colour"], "properties": {"colour": {"type": "string"}}}`,
		"templates/some.yaml": template,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const twoObjects = `
apiVersion: v1
kind: Service
metadata: {name: second, namespace: {{ .Release.Namespace }}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: first, namespace: {{ .Release.Namespace }}}
data: {colour: {{ .Values.colour }}}
`

func TestRenderAnswersInTheOrderOfCreation(t *testing.T) {
	objects, err := install.Render(t.Context(), chart(t, twoObjects), map[string]any{"colour": "red"}, "shop")
	if err != nil {
		t.Fatal(err)
	}
	if len(objects) != 2 {
		t.Fatalf("%d objects, want 2", len(objects))
	}
	if objects[0].GetKind() != "ConfigMap" || objects[0].GetNamespace() != "shop" || objects[1].GetName() != "second" {
		t.Errorf("got %v", objects)
	}
}

func TestRenderCarriesHelmsReason(t *testing.T) {
	tests := map[string]struct{ template, want string }{
		"a value against the schema": {"", "missing property 'colour'"},
		"a broken template":          {"{{ nothing }}", `function "nothing" not defined`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			values := map[string]any{}
			if tt.template != "" {
				values["colour"] = "red"
			}
			_, err := install.Render(t.Context(), chart(t, tt.template), values, "shop")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}
