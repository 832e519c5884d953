package alerts

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What there is besides our own series, and the labels that scraping adds to each.
var (
	foreign      = map[string][]string{"up": nil, "apiserver_admission_webhook_fail_open_count": {"name", "type"}}
	targetLabels = []string{"job", "instance"}
)

// renamed is what scraping makes of the label namespace where the target's own wins; the
// alert that finds this out asks for it.
const renamed = "exported_namespace"

// documented are the series of docs/metrics.md with their labels.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	quoted := regexp.MustCompile("`([^`]+)`")
	found := map[string][]string{}
	labels := -1
	for _, line := range strings.Split(string(readFile(t, "../../docs/metrics.md")), "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i, cell := range cells {
			if strings.TrimSpace(cell) == "Labels" {
				labels = i
			}
		}
		if !strings.HasPrefix(line, "| `sallyport_") || labels < 0 || labels >= len(cells) {
			continue
		}
		var of []string
		for _, label := range quoted.FindAllStringSubmatch(cells[labels], -1) {
			of = append(of, label[1])
		}
		for _, name := range quoted.FindAllStringSubmatch(cells[0], -1) {
			found[name[1]] = of
		}
	}
	return found
}

var (
	grouping   = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	selector   = regexp.MustCompile(`\b([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})?(\s*\()?`)
	text       = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	matcher    = regexp.MustCompile(`([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)`)
	identifier = regexp.MustCompile(`[a-zA-Z_]\w*`)
	keywords   = []string{"and", "or", "unless", "offset", "bool"}
)

// names are what an expression names: series with the labels they are selected by, and
// the labels it groups by.
func names(expr string) (series map[string][]string, grouped []string) {
	expr = text.ReplaceAllString(strings.ReplaceAll(expr, "$__rate_interval", "2m"), "")
	for _, clause := range grouping.FindAllStringSubmatch(expr, -1) {
		grouped = append(grouped, identifier.FindAllString(clause[1], -1)...)
	}
	series = map[string][]string{}
	for _, found := range selector.FindAllStringSubmatch(grouping.ReplaceAllString(expr, " "), -1) {
		name, matchers, call := found[1], found[2], found[3]
		if call != "" || slices.Contains(keywords, name) {
			continue
		}
		labels := series[name]
		for _, m := range matcher.FindAllStringSubmatch(matchers, -1) {
			labels = append(labels, m[1])
		}
		series[name] = labels
	}
	return series, grouped
}

// known are all series that may be asked for, by name.
func known(t *testing.T) map[string][]string {
	t.Helper()
	all := documented(t)
	for name, labels := range foreign {
		all[name] = labels
	}
	recorded, _ := rules(t)
	for _, r := range recorded {
		all[r.Record] = identifier.FindAllString(grouping.FindStringSubmatch(r.Expr)[1], -1)
	}
	return all
}

// checkNames reports what an expression names that there is not. More are labels that
// are used of its result.
func checkNames(t *testing.T, all map[string][]string, expr string, more ...string) {
	t.Helper()
	series, grouped := names(expr)
	if len(series) == 0 {
		t.Errorf("no series is named in %q", expr)
	}
	of := slices.Clone(targetLabels)
	for name, used := range series {
		labels, ok := all[name]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, histogram := strings.CutSuffix(name, suffix); histogram && !ok {
				labels, ok = all[base]
				labels = append(slices.Clone(labels), "le")
			}
		}
		if !ok {
			t.Errorf("series %s is not in docs/metrics.md; it is named in %q", name, expr)
			continue
		}
		of = append(of, labels...)
		for _, label := range used {
			if label != renamed && !slices.Contains(append(labels, targetLabels...), label) {
				t.Errorf("series %s has no label %s; it has %q", name, label, labels)
			}
		}
	}
	for _, label := range append(grouped, more...) {
		if !slices.Contains(of, label) {
			t.Errorf("no series of %q has a label %s", expr, label)
		}
	}
}

func TestRulesNameWhatThereIs(t *testing.T) {
	all := known(t)
	label := regexp.MustCompile(`\$labels\.(\w+)`)
	recorded, alerts := rules(t)
	for _, r := range append(recorded, alerts...) {
		var used []string
		for _, words := range r.Annotations {
			for _, found := range label.FindAllStringSubmatch(words, -1) {
				used = append(used, found[1])
			}
		}
		checkNames(t, all, r.Expr, used...)
	}
}

func TestNamesAreFoundInExpressions(t *testing.T) {
	series, grouped := names(`sum by (name, le) (rate(a_bucket{x="b{y", z=~"}"}[5m])) / on (name) max(b offset 15m) unless c:d == 1e3 and e{}`)
	got, err := json.Marshal(map[string]any{"series": series, "grouped": grouped})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"grouped":["name","le","name"],"series":{"a_bucket":["x","z"],"b":null,"c:d":null,"e":null}}`; string(got) != want {
		t.Errorf("found %s, expected %s", got, want)
	}
}
