package alerts

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// promtool runs the command, and fails the test with what it says if that is not yes.
func promtool(t *testing.T, arguments ...string) {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		if os.Getenv("SALLYPORT_VERIFIERS") == "required" {
			t.Fatal("promtool is not on the PATH; install the package prometheus")
		}
		t.Skip("promtool is not on the PATH; install the package prometheus to ask it too")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if output, err := exec.CommandContext(ctx, "promtool", arguments...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
}

func TestPrometheusTakesTheRules(t *testing.T) {
	promtool(t, "check", "rules", rulesFile)
}

const healthyFile = "testdata/healthy.yaml"

func healthy(t *testing.T) testGroup {
	t.Helper()
	var file unitTest
	parse(t, readFile(t, healthyFile), &file)
	if len(file.Tests) != 1 {
		t.Fatalf("%d tests in %s, expected one", len(file.Tests), healthyFile)
	}
	return file.Tests[0]
}

func TestNothingFiresWhileAllIsWell(t *testing.T) {
	var quiet []string
	for _, test := range healthy(t).AlertTests {
		if len(test.Expected) > 0 {
			t.Errorf("%s fires", test.Alert)
		}
		quiet = append(quiet, test.Alert)
	}
	if names := alertNames(t); !slices.Equal(names, quiet) {
		t.Errorf("%s asks for %q, expected all alerts in the order of their file: %q", healthyFile, quiet, names)
	}
	promtool(t, "test", "rules", healthyFile)
}

func cases(t *testing.T, path string) []testCase {
	t.Helper()
	var found []testCase
	parse(t, readFile(t, path), &found)
	return found
}

// ask has promtool run tests.
func ask(t *testing.T, groups []testGroup) {
	t.Helper()
	rules, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	data, err := yaml.Marshal(unitTest{RuleFiles: []string{rules}, EvaluationInterval: "30s", Tests: groups})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "test.yaml")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "test", "rules", path)
}

// Every alert has cases in which it fires and moments at which it does not, and in none
// of them another fires that is not named.
func TestAlertsFireWhenTheyHaveToAndOnlyThen(t *testing.T) {
	all, series := alertNames(t), healthy(t).InputSeries
	files, err := filepath.Glob("testdata/Sallyport*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".yaml"); !slices.Contains(all, name) {
			t.Errorf("%s is of no alert", file)
		}
	}
	for _, alert := range all {
		t.Run(alert, func(t *testing.T) {
			t.Parallel()
			var groups []testGroup
			fires, quiet := 0, 0
			for _, c := range cases(t, filepath.Join("testdata", alert+".yaml")) {
				group, err := c.group(alert, all, series)
				if err != nil {
					t.Fatal(err)
				}
				groups = append(groups, group)
				for _, e := range c.Evaluate {
					fires += len(e.Fires)
					if len(e.Fires) == 0 {
						quiet++
					}
				}
			}
			if fires == 0 || quiet == 0 {
				t.Errorf("it fires %d times and is quiet %d times, expected both", fires, quiet)
			}
			ask(t, groups)
		})
	}
}

// everyMinute asks for the second half of the healthy hour.
func everyMinute() []evaluation {
	var all []evaluation
	for minute := 28; minute <= 45; minute++ {
		all = append(all, evaluation{At: (time.Duration(minute) * time.Minute).String()})
	}
	return all
}

// A change of the leader is no news.
func TestNothingFiresWhileTheLeaderChanges(t *testing.T) {
	var groups []testGroup
	for name, h := range map[string]handover{"within one scrape": {60, 61}, "after a minute": {60, 62}, "after four minutes": {60, 68}} {
		c := testCase{Name: name, Handover: &h, Evaluate: everyMinute()}
		group, err := c.group("", alertNames(t), healthy(t).InputSeries)
		if err != nil {
			t.Fatal(err)
		}
		groups = append(groups, group)
	}
	ask(t, groups)
}

// Targets may be scraped once a minute, and one scrape may fail.
func TestNothingFiresWhereScrapesAreRare(t *testing.T) {
	c := testCase{Name: "scraped once a minute, and once not", Evaluate: everyMinute()}
	for _, s := range healthy(t).InputSeries {
		values, err := expand(s.Values)
		if err != nil {
			t.Fatal(err)
		}
		for i := range values {
			if i%2 == 1 || i == 70 {
				values[i] = "_"
			}
		}
		c.Change = append(c.Change, inputSeries{s.Series, strings.Join(values, " ")})
	}
	group, err := c.group("", alertNames(t), healthy(t).InputSeries)
	if err != nil {
		t.Fatal(err)
	}
	ask(t, []testGroup{group})
}
