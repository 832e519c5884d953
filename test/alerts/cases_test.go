package alerts

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// samples is how many values a series of healthy.yaml has, one each half minute.
const samples = 121

// unitTest is what promtool reads.
type unitTest struct {
	RuleFiles          []string    `json:"rule_files"`
	EvaluationInterval string      `json:"evaluation_interval"`
	Tests              []testGroup `json:"tests"`
}

type testGroup struct {
	Name        string          `json:"name"`
	Interval    string          `json:"interval"`
	InputSeries []inputSeries   `json:"input_series"`
	AlertTests  []alertRuleTest `json:"alert_rule_test"`
}

type inputSeries struct {
	Series string `json:"series"`
	Values string `json:"values"`
}

type alertRuleTest struct {
	Alert    string   `json:"alertname"`
	At       string   `json:"eval_time"`
	Expected []firing `json:"exp_alerts"`
}

// firing is an alert with all its words.
type firing struct {
	Labels      map[string]string `json:"exp_labels"`
	Annotations map[string]string `json:"exp_annotations"`
}

// testCase changes something in the healthy hour.
type testCase struct {
	Name string `json:"name"`
	// Change are series that are other than in it, or are not in it.
	Change []inputSeries `json:"change"`
	// End takes series away after so many samples: those whose notation an expression
	// matches.
	End []struct {
		Matching string `json:"matching"`
		After    int    `json:"after"`
	} `json:"end"`
	// Handover is a change of the leader: the last sample of agent-a, and the first as
	// a leader of agent-b.
	Handover *handover    `json:"handover"`
	Evaluate []evaluation `json:"evaluate"`
}

type handover struct {
	Last  int `json:"last"`
	First int `json:"first"`
}

// evaluation says how the file's alert stands at a moment.
type evaluation struct {
	At    string   `json:"at"`
	Fires []firing `json:"fires"`
	// Also are others that fire too, rightly.
	Also []string `json:"also"`
}

// group is the case as promtool reads it: of all alerts only the one may fire.
func (c testCase) group(alert string, all []string, healthy []inputSeries) (testGroup, error) {
	series, err := c.series(healthy)
	if err != nil {
		return testGroup{}, fmt.Errorf("case %q: %w", c.Name, err)
	}
	g := testGroup{Name: c.Name, Interval: "30s", InputSeries: series}
	for _, e := range c.Evaluate {
		for _, name := range all {
			test := alertRuleTest{Alert: name, At: e.At}
			if name == alert {
				test.Expected = e.Fires
			}
			if !slices.Contains(e.Also, name) {
				g.AlertTests = append(g.AlertTests, test)
			}
		}
	}
	return g, nil
}

func (c testCase) series(healthy []inputSeries) ([]inputSeries, error) {
	all := slices.Clone(healthy)
	for _, changed := range c.Change {
		all = slices.DeleteFunc(all, func(s inputSeries) bool { return s.Series == changed.Series })
		all = append(all, changed)
	}
	var series []inputSeries
	for _, s := range all {
		values, err := expand(s.Values)
		if err != nil {
			return nil, fmt.Errorf("series %s: %w", s.Series, err)
		}
		for _, end := range c.End {
			ends, err := regexp.MatchString(end.Matching, s.Series)
			if err != nil {
				return nil, err
			}
			if ends {
				values = cut(values, end.After)
			}
		}
		if c.Handover == nil {
			series = append(series, inputSeries{s.Series, strings.Join(values, " ")})
			continue
		}
		for _, handed := range c.Handover.hand(s.Series, values) {
			series = append(series, inputSeries{handed.name, strings.Join(handed.values, " ")})
		}
	}
	return series, nil
}

// cut ends a series, as Prometheus notes it when a target no longer has it. After no
// sample at all it was never there.
func cut(values []string, after int) []string {
	if after == 0 {
		return []string{"_"}
	}
	return append(slices.Clone(values[:min(after, len(values))]), "stale")
}

type named struct {
	name   string
	values []string
}

// hand gives what agent-a tells to agent-b. Handshakes are tried anew, so what they show
// comes a sample later; counters begin again.
func (h handover) hand(name string, values []string) []named {
	metric, _, _ := strings.Cut(name, "{")
	of := regexp.MustCompile(`instance="agent-a:8080"`)
	switch {
	case metric == "sallyport_agent_leader" && !of.MatchString(name):
		return []named{{name, append(repeat("0", h.First), repeat("1", samples-h.First)...)}}
	case !of.MatchString(name):
		return []named{{name, values}}
	case metric == "sallyport_agent_leader" || metric == "sallyport_build_info" || metric == "up":
		return []named{{name, cut(values, h.Last+1)}}
	}
	first := h.First
	if strings.HasPrefix(metric, "sallyport_probe_") {
		first++
	}
	taken := append(repeat("_", first), values[min(first, len(values)):]...)
	if strings.HasSuffix(metric, "_total") || strings.HasSuffix(metric, "_count") {
		taken = append(repeat("_", first), repeat("0", samples-first)...)
	}
	return []named{{name, cut(values, h.Last+1)}, {of.ReplaceAllString(name, `instance="agent-b:8080"`), taken}}
}

func repeat(value string, times int) []string { return slices.Repeat([]string{value}, times) }

var (
	run     = regexp.MustCompile(`^(-?[0-9.]+)([+-][0-9.]+)x([0-9]+)$`)
	missing = regexp.MustCompile(`^_x([0-9]+)$`)
)

// expand writes promtool's notation of values out, one word for each sample.
func expand(notation string) ([]string, error) {
	var values []string
	for _, word := range strings.Fields(notation) {
		switch found := run.FindStringSubmatch(word); {
		case found != nil:
			begin, err := strconv.ParseFloat(found[1], 64)
			if err != nil {
				return nil, err
			}
			rise, err := strconv.ParseFloat(found[2], 64)
			if err != nil {
				return nil, err
			}
			times, err := strconv.Atoi(found[3])
			if err != nil {
				return nil, err
			}
			for i := range times + 1 {
				values = append(values, strconv.FormatFloat(begin+float64(i)*rise, 'f', -1, 64))
			}
		case missing.MatchString(word):
			times, err := strconv.Atoi(missing.FindStringSubmatch(word)[1])
			if err != nil {
				return nil, err
			}
			values = append(values, repeat("_", times)...)
		default:
			values = append(values, word)
		}
	}
	return values, nil
}
