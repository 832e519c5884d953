package alerts

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

type dashboard struct {
	UID           string  `json:"uid"`
	SchemaVersion int     `json:"schemaVersion"`
	Panels        []panel `json:"panels"`
	Templating    struct {
		List []struct {
			Name  string          `json:"name"`
			Type  string          `json:"type"`
			Query json.RawMessage `json:"query"`
		} `json:"list"`
	} `json:"templating"`
}

type source struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type panel struct {
	ID          int    `json:"id"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Datasource  source `json:"datasource"`
	GridPos     struct {
		X, Y, W, H int
	} `json:"gridPos"`
	Targets []struct {
		RefID        string `json:"refId"`
		Expr         string `json:"expr"`
		LegendFormat string `json:"legendFormat"`
		Datasource   source `json:"datasource"`
	} `json:"targets"`
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal(readFile(t, chart+"/files/dashboard.json"), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheDashboardIsWhole(t *testing.T) {
	d := readDashboard(t)
	if d.UID != "sallyport" || d.SchemaVersion < 39 || len(d.Panels) == 0 {
		t.Errorf("uid %q, schemaVersion %d, %d panels", d.UID, d.SchemaVersion, len(d.Panels))
	}
	if first := d.Templating.List[0]; first.Name != "datasource" || first.Type != "datasource" || string(first.Query) != `"prometheus"` {
		t.Errorf("the first variable is %q of type %q: the data source has to be chosen", first.Name, first.Type)
	}
	chosen := source{"prometheus", "${datasource}"}
	ids, cells := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" || p.Description == "" || len(p.Targets) == 0 || p.Datasource != chosen {
			t.Errorf("panel %q: an id of its own, a description, a target and the chosen data source are expected", p.Title)
		}
		ids[p.ID] = true
		refs := map[string]bool{}
		for _, target := range p.Targets {
			if target.Expr == "" || refs[target.RefID] || target.Datasource != chosen {
				t.Errorf("panel %q: target %q has no expression, or the id of another", p.Title, target.RefID)
			}
			refs[target.RefID] = true
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" || x > 23 {
					t.Fatalf("panel %q lies over %q or the edge", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
	}
}

func TestTheDashboardNamesWhatThereIs(t *testing.T) {
	all := known(t)
	label := regexp.MustCompile(`\{\{(\w+)\}\}`)
	variable := regexp.MustCompile(`label_values\((.*), (\w+)\)`)
	d := readDashboard(t)
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			var used []string
			for _, found := range label.FindAllStringSubmatch(target.LegendFormat, -1) {
				used = append(used, found[1])
			}
			checkNames(t, all, target.Expr, used...)
		}
	}
	for _, v := range d.Templating.List[1:] {
		found := variable.FindStringSubmatch(string(v.Query))
		if found == nil {
			t.Fatalf("variable %s asks for %s", v.Name, v.Query)
		}
		checkNames(t, all, found[1], found[2])
	}
}

// Prometheus parses every expression of the dashboard: as rules, which is where promtool
// parses expressions.
func TestPrometheusTakesTheDashboard(t *testing.T) {
	var f ruleFile
	f.Groups = append(f.Groups, struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	}{Name: "dashboard"})
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			expr := strings.NewReplacer("$namespace", ".*", "$__rate_interval", "2m").Replace(target.Expr)
			if strings.Contains(expr, "$") {
				t.Errorf("panel %q has a variable that is not known: %s", p.Title, expr)
			}
			f.Groups[0].Rules = append(f.Groups[0].Rules, rule{Record: fmt.Sprintf("panel:%d:%s", p.ID, target.RefID), Expr: expr})
		}
	}
	data, err := yaml.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "dashboard.yaml")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", path)
}
