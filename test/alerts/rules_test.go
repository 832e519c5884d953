package alerts

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/localstack/install"
	"sallyport.dev/sallyport/internal/probe"
)

// Where everything lies, seen from here.
const (
	chart     = "../../charts/sallyport"
	rulesFile = chart + "/files/rules.yaml"
	runbooks  = "../../docs/runbooks"
)

// ruleFile is what Prometheus reads.
type ruleFile struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	} `json:"groups"`
}

type rule struct {
	Record      string            `json:"record,omitempty"`
	Alert       string            `json:"alert,omitempty"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parse(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict(data, into); err != nil {
		t.Fatal(err)
	}
}

// rules are all of them: those that record, and alerts.
func rules(t *testing.T) (recorded, alerts []rule) {
	t.Helper()
	var f ruleFile
	parse(t, readFile(t, rulesFile), &f)
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			if r.Record != "" {
				recorded = append(recorded, r)
			} else {
				alerts = append(alerts, r)
			}
		}
	}
	return recorded, alerts
}

func alertNames(t *testing.T) []string {
	t.Helper()
	_, alerts := rules(t)
	var names []string
	for _, a := range alerts {
		names = append(names, a.Alert)
	}
	return names
}

func TestEveryAlertSaysWhatToDo(t *testing.T) {
	var about struct {
		Home string `json:"home"`
	}
	if err := yaml.Unmarshal(readFile(t, chart+"/Chart.yaml"), &about); err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`^Sallyport[A-Z][A-Za-z]+$`)
	_, alerts := rules(t)
	seen := map[string]bool{}
	for _, a := range alerts {
		t.Run(a.Alert, func(t *testing.T) {
			if !name.MatchString(a.Alert) || seen[a.Alert] {
				t.Error("the name is taken, or is none of ours")
			}
			seen[a.Alert] = true
			if !slices.Contains([]string{"critical", "warning"}, a.Labels["severity"]) || len(a.Labels) != 1 {
				t.Errorf("labels %v, expected a severity and nothing else", a.Labels)
			}
			if a.For == "" {
				t.Error("it does not say for how long")
			}
			if want := about.Home + "/docs/runbooks/" + a.Alert + ".md"; a.Annotations["runbook_url"] != want || len(a.Annotations) != 3 {
				t.Errorf("annotations %v, expected summary, description and runbook_url %s", a.Annotations, want)
			}
			for _, kind := range []string{"summary", "description"} {
				if words := a.Annotations[kind]; len(words) < 40 || strings.Contains(words, "\n") || !strings.HasSuffix(words, ".") {
					t.Errorf("%s %q is no sentence in one line", kind, words)
				}
			}
		})
	}
}

// headings are those of every runbook.
var headings = []string{"## What it means", "## What users notice", "## How to look", "## How to mend", "## How to provoke it"}

func TestEveryAlertHasItsRunbook(t *testing.T) {
	names := alertNames(t)
	index := string(readFile(t, runbooks+"/README.md"))
	for _, name := range names {
		page := string(readFile(t, filepath.Join(runbooks, name+".md")))
		var found []string
		for _, l := range strings.Split(page, "\n") {
			if strings.HasPrefix(l, "## ") {
				found = append(found, l)
			}
		}
		if !strings.HasPrefix(page, "# "+name+"\n") || !slices.Equal(found, headings) {
			t.Errorf("%s: headings %q, expected the name and %q", name, found, headings)
		}
		if !strings.Contains(index, "["+name+"]("+name+".md)") {
			t.Errorf("%s is not in the index", name)
		}
	}
	pages, err := filepath.Glob(runbooks + "/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		if name := strings.TrimSuffix(filepath.Base(page), ".md"); name != "README" && !slices.Contains(names, name) {
			t.Errorf("%s is the runbook of no alert", page)
		}
	}
}

func TestThePlainFileIsTheCharts(t *testing.T) {
	if diff := cmp.Diff(string(readFile(t, rulesFile)), string(readFile(t, "../../config/prometheus/rules.yaml"))); diff != "" {
		t.Errorf("run make generate (-chart +config/prometheus):\n%s", diff)
	}
}

// An expectation is of somebody to be refused exactly if its name says so: that is how
// rules and dashboard tell them.
func TestNamesTellWhoHasToBeRefused(t *testing.T) {
	for _, e := range probe.Expectations() {
		if strings.HasSuffix(string(e), "Refused") != e.Negative() {
			t.Errorf("%s: Negative is %v", e, e.Negative())
		}
	}
}

func render(t *testing.T, values map[string]any) []*unstructured.Unstructured {
	t.Helper()
	if _, err := localstack.Helm(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	values["trustDomain"] = "example.org"
	objects, err := install.Render(t.Context(), chart, values, "elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(objects, func(o *unstructured.Unstructured) bool {
		return o.GetKind() != "PrometheusRule" && o.GetName() != "sallyport-dashboard"
	})
}

func TestTheChartBringsThemWhenAsked(t *testing.T) {
	if objects := render(t, map[string]any{}); len(objects) != 0 {
		t.Errorf("without being asked: %v", objects)
	}
	objects := render(t, map[string]any{
		"prometheus": map[string]any{"rules": true, "rulesLabels": map[string]any{"release": "monitoring"}},
		"grafana":    map[string]any{"dashboard": true},
	})
	if len(objects) != 2 {
		t.Fatalf("%d objects, expected a ConfigMap and a PrometheusRule", len(objects))
	}
	dashboard, ruled := objects[0], objects[1]
	if dashboard.GetLabels()["grafana_dashboard"] != "1" || dashboard.GetNamespace() != "elsewhere" {
		t.Errorf("the sidecar of Grafana does not see %v", dashboard.Object["metadata"])
	}
	got, _, _ := unstructured.NestedString(dashboard.Object, "data", "sallyport.json")
	if diff := cmp.Diff(string(readFile(t, chart+"/files/dashboard.json")), got); diff != "" {
		t.Errorf("the dashboard is changed (-file +rendered):\n%s", diff)
	}
	if ruled.GetAPIVersion() != "monitoring.coreos.com/v1" || ruled.GetLabels()["release"] != "monitoring" || ruled.GetLabels()["app.kubernetes.io/name"] != "sallyport" {
		t.Errorf("the operator of Prometheus does not see %s %v", ruled.GetAPIVersion(), ruled.Object["metadata"])
	}
	var want map[string]any
	parse(t, readFile(t, rulesFile), &want)
	if diff := cmp.Diff(want, ruled.Object["spec"]); diff != "" {
		t.Errorf("the rules are changed (-file +rendered):\n%s", diff)
	}
}
