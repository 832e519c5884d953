package metrics

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	testclock "k8s.io/utils/clock/testing"

	"sallyport.dev/sallyport/internal/admission"
	"sallyport.dev/sallyport/internal/probe"
	"sallyport.dev/sallyport/pkg/policy"
)

var update = flag.Bool("update", false, "write the tables of docs/metrics.md")

// The lists in docs/metrics.md are what is scraped.
func TestDocsListWhatIsScraped(t *testing.T) {
	const path = "../../docs/metrics.md"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := everything(t).metrics(t, NewCounters())
	want := string(page)
	for name, scraped := range map[string]prometheus.Gatherer{"agent": families(t, scrape(t, m)), "webhook": webhook(t)} {
		listed := table(t, scraped, declared(m))
		if *update {
			want = replaceTable(t, want, name, listed)
			continue
		}
		if diff := cmp.Diff(tableOf(t, want, name), listed); diff != "" {
			t.Errorf("the table of the %s in docs/metrics.md (-docs +scraped); run with -update if that is meant:\n%s", name, diff)
		}
	}
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// The sets of values in docs/metrics.md are complete.
func TestDocsListTheValuesOfLabels(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, e := range probe.Expectations() {
		values = append(values, string(e))
	}
	for kind, reasons := range issuable() {
		values = append(values, string(kind))
		for _, reason := range reasons {
			values = append(values, string(reason))
		}
	}
	for _, reason := range policy.AllReasons() {
		values = append(values, string(reason))
	}
	for _, value := range values {
		if !strings.Contains(string(page), "`"+value+"`") {
			t.Errorf("docs/metrics.md does not name the value %s", value)
		}
	}
}

// webhook is what the webhook tells of itself.
func webhook(t *testing.T) prometheus.Gatherer {
	t.Helper()
	registry := prometheus.NewRegistry()
	if _, err := admission.New(admission.Config{Registry: registry, Clock: testclock.NewFakePassiveClock(noon), Log: logr.Discard()}); err != nil {
		t.Fatal(err)
	}
	registry.MustRegister(admission.NewCollector(admission.Facts{
		NotAfter: func() (time.Time, bool) { return noon, true },
		Reloads:  func() (uint64, uint64) { return 0, 0 },
	}))
	return registry
}

// table lists metrics with their types, labels and help.
func table(t *testing.T, scraped prometheus.Gatherer, declared map[string][]string) string {
	t.Helper()
	all, err := scraped.Gather()
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	listed := "| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n"
	for _, family := range all {
		labels := declared[family.GetName()]
		if labels == nil {
			labels = labelNames(family.GetMetric()[0])
		}
		listed += fmt.Sprintf("| `%s` | %s | %s | %s |\n", family.GetName(), strings.ToLower(family.GetType().String()), code(labels), family.GetHelp())
	}
	return listed
}

func code(labels []string) string {
	quoted := make([]string, len(labels))
	for i, label := range labels {
		quoted[i] = "`" + label + "`"
	}
	return strings.Join(quoted, ", ")
}

// cut finds the table of a binary between its two marks.
func cut(t *testing.T, page, name string) (before, listed, after string) {
	t.Helper()
	begin, end := "<!-- metrics of the "+name+" -->\n", "<!-- end -->\n"
	before, rest, ok := strings.Cut(page, begin)
	listed, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		t.Fatalf("docs/metrics.md has no table of the %s between %q and %q", name, begin, end)
	}
	return before + begin, listed, end + after
}

func tableOf(t *testing.T, page, name string) string {
	t.Helper()
	_, listed, _ := cut(t, page, name)
	return listed
}

func replaceTable(t *testing.T, page, name, listed string) string {
	t.Helper()
	before, _, after := cut(t, page, name)
	return before + listed + after
}
