package intact

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// cache is what is stored of one kind.
type cache struct {
	behind  bool
	objects map[string]string
}

func (c cache) Synced() bool { return !c.behind }

func (c cache) Object(name string) *unstructured.Unstructured {
	manifest, is := c.objects[name]
	if !is {
		return nil
	}
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &u.Object); err != nil {
		panic(err)
	}
	return u
}

const policy = "ValidatingAdmissionPolicy"

// sum is the digest that the chart writes down of a spec.
func sum(spec string) string {
	return sumOf(cache{objects: map[string]string{"a": spec}}.Object("a"))
}

// What the API server adds where nothing is stated is no change; all else is.
func TestWhatIsNotAsItWasIsTold(t *testing.T) {
	const written = "spec: {failurePolicy: Fail, matchConstraints: {resourceRules: [{resources: [gateways]}], excludeResourceRules: [{resources: [a]}]}, validations: [{expression: 'a < b && c > d'}]}"
	for name, test := range map[string]struct{ stored, want string }{
		"as it was":                 {written, ""},
		"with defaults":             {strings.NewReplacer("matchConstraints: {", "matchConstraints: {namespaceSelector: {}, objectSelector: {}, ", "[gateways]", "[gateways], scope: '*'", "[a]", "[a], scope: '*'").Replace(written), ""},
		"metadata changed":          {"metadata: {labels: {a: b}}\n" + written, ""},
		"gone":                      {"", "Missing"},
		"it lets mistakes through":  {strings.Replace(written, "Fail", "Ignore", 1), "Changed"},
		"an expression is weaker":   {strings.Replace(written, "a < b && c > d", "true", 1), "Changed"},
		"an expression is gone":     {strings.Replace(written, "{expression: 'a < b && c > d'}", "", 1), "Changed"},
		"one is added":              {strings.Replace(written, "validations: [", "validations: [{expression: 'true'}, ", 1), "Changed"},
		"it is about fewer objects": {strings.Replace(written, "matchConstraints: {", "matchConstraints: {objectSelector: {matchLabels: {a: b}}, ", 1), "Changed"},
		"about fewer namespaces":    {strings.Replace(written, "matchConstraints: {", "matchConstraints: {namespaceSelector: {matchLabels: {a: b}}, ", 1), "Changed"},
		"about one scope":           {strings.Replace(written, "[gateways]", "[gateways], scope: Cluster", 1), "Changed"},
		"a field nobody knows":      {strings.Replace(written, "spec: {", "spec: {disabled: true, ", 1), "Changed"},
		"nothing":                   {"spec: {}", "Changed"},
		"no spec":                   {"metadata: {name: a}", "Changed"},
		"a spec that is none":       {"spec: 7", "Changed"},
	} {
		t.Run(name, func(t *testing.T) {
			c := cache{objects: map[string]string{}}
			if test.stored != "" {
				c.objects["a"] = test.stored
			}
			problems, err := Compare(func() (Installed, error) { return Installed{policy + "/a": sum(written)}, nil }, map[string]Stored{policy: c}).Problems()
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, p := range problems {
				got += string(p.Reason)
			}
			if got != test.want {
				t.Errorf("told is %q, expected %q", got, test.want)
			}
		})
	}
}

// Of what is not known yet, and of kinds that nobody watches, nothing is said; of the rest everything, in order.
func TestWhatIsNotKnownIsNotTold(t *testing.T) {
	installed := Installed{policy + "/b": strings.Repeat("0", 64), policy + "/a": strings.Repeat("0", 64), "Other/a": strings.Repeat("0", 64)}
	for name, test := range map[string]struct {
		stored map[string]Stored
		want   []Problem
	}{
		"behind":  {map[string]Stored{policy: cache{behind: true}}, nil},
		"unknown": {nil, nil},
		"known":   {map[string]Stored{policy: cache{objects: map[string]string{"a": "spec: {}"}}}, []Problem{{policy, "a", Changed}, {policy, "b", Missing}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Compare(func() (Installed, error) { return installed, nil }, test.stored).Problems()
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("got %v, %v, expected %v", got, err, test.want)
			}
		})
	}
}

// An upgrade writes other digests, and an object that changes is looked at again.
func TestAnUpgradeIsNoProblem(t *testing.T) {
	spec, version := "spec: {a: 1}", "1"
	installed := Installed{policy + "/a": sum(spec)}
	stored := map[string]string{"a": "metadata: {resourceVersion: '" + version + "'}\n" + spec}
	c := Compare(func() (Installed, error) { return installed, nil }, map[string]Stored{policy: cache{objects: stored}})
	want := func(n int) {
		t.Helper()
		if got, err := c.Problems(); err != nil || len(got) != n {
			t.Errorf("got %v, %v, expected %d", got, err, n)
		}
	}
	want(0)
	stored["a"] = "metadata: {resourceVersion: '2'}\nspec: {a: 2}"
	want(1)
	installed = Installed{policy + "/a": sum("spec: {a: 2}")}
	want(0)
}

func TestADigestThatIsNoneIsAnError(t *testing.T) {
	good := strings.Repeat("0a", 32)
	for text, want := range map[string]string{
		policy + "/a: " + good: "", "{}": "", "": "",
		"a: " + good:                            "is not <kind>/<name>",
		"/a: " + good:                           "is not <kind>/<name>",
		policy + "/a: " + good + "0":            "is not <kind>/<name>",
		policy + "/a: 1":                        "is not <kind>/<name>",
		policy + "/a: " + strings.ToUpper(good): "is not <kind>/<name>",
		"[":                                     "reading the digests",
		policy + "/a: " + good + "\n" + policy + "/a: " + good: "already set",
	} {
		if _, err := Parse([]byte(text)); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, expected %q", text, err, want)
		}
	}
	failed := errors.New("the file is gone")
	if _, err := Compare(func() (Installed, error) { return nil, failed }, nil).Problems(); !errors.Is(err, failed) {
		t.Error(fmt.Errorf("an error of reading is not told: %w", err))
	}
}
