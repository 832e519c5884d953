package intact

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// Reason is what is wrong with an object.
type Reason string

// The reasons.
const (
	// Missing says that the object is not there, or has lost the chart's labels.
	Missing Reason = "Missing"
	// Changed says that its spec is another than the one that was installed.
	Changed Reason = "Changed"
)

// Problem is one object that is not as it was installed.
type Problem struct {
	// Kind and Name of the object.
	Kind, Name string
	// Reason is what is wrong with it.
	Reason Reason
}

// Installed are the digests of the specs of what was installed, by <kind>/<name>.
type Installed map[string]string

var digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Parse reads what the chart wrote down: a line for each object.
func Parse(data []byte) (Installed, error) {
	var installed Installed
	if err := yaml.UnmarshalStrict(data, &installed); err != nil {
		return nil, fmt.Errorf("reading the digests of admission objects: %w", err)
	}
	for key, digest := range installed {
		kind, name, named := strings.Cut(key, "/")
		if !named || kind == "" || name == "" || !digestForm.MatchString(digest) {
			return nil, fmt.Errorf("reading the digests of admission objects: %q: %q is not <kind>/<name> with a SHA-256 in lower-case hexadecimal", key, digest)
		}
	}
	return installed, nil
}

// Stored is what a cache holds of one kind.
type Stored interface {
	// Synced is whether it knows all there is.
	Synced() bool
	// Object is the one of a name; nil if there is none. It is not changed.
	Object(name string) *unstructured.Unstructured
}

// Comparison holds what is stored to what was installed.
type Comparison struct {
	installed func() (Installed, error)
	stored    map[string]Stored

	mu sync.Mutex
	// known are digests of what was looked at before, by key, for one version of it.
	known map[string]digest
}

type digest struct{ version, sum string }

// Compare returns a Comparison of what was installed, which is asked for each time because an upgrade changes it, with
// what caches hold, by kind.
func Compare(installed func() (Installed, error), stored map[string]Stored) *Comparison {
	return &Comparison{installed: installed, stored: stored, known: map[string]digest{}}
}

// Problems are what differs now, in order. Of a kind of which not all is known yet nothing is said.
func (c *Comparison) Problems() ([]Problem, error) {
	installed, err := c.installed()
	if err != nil {
		return nil, err
	}
	var found []Problem
	for key, want := range installed {
		kind, name, _ := strings.Cut(key, "/")
		stored := c.stored[kind]
		if stored == nil || !stored.Synced() {
			continue
		}
		switch o := stored.Object(name); {
		case o == nil:
			found = append(found, Problem{kind, name, Missing})
		case c.digest(key, o) != want:
			found = append(found, Problem{kind, name, Changed})
		}
	}
	slices.SortFunc(found, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name))
	})
	return found, nil
}

func (c *Comparison) digest(key string, o *unstructured.Unstructured) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, is := c.known[key]; is && known.version == o.GetResourceVersion() {
		return known.sum
	}
	sum := sumOf(o)
	c.known[key] = digest{o.GetResourceVersion(), sum}
	return sum
}

// sumOf is the digest of a spec as the chart makes it: of its JSON with sorted keys, without what the API server adds
// where nothing is stated (k8s.io/kubernetes:pkg/apis/admissionregistration/v1/defaults.go). Empty if it cannot be made.
func sumOf(o *unstructured.Unstructured) string {
	spec, _ := o.Object["spec"].(map[string]any)
	spec = runtime.DeepCopyJSON(spec)
	constraints, _ := spec["matchConstraints"].(map[string]any)
	for _, selector := range []string{"namespaceSelector", "objectSelector"} {
		if s, is := constraints[selector].(map[string]any); is && len(s) == 0 {
			delete(constraints, selector)
		}
	}
	for _, rules := range []string{"resourceRules", "excludeResourceRules"} {
		list, _ := constraints[rules].([]any)
		for _, entry := range list {
			if rule, is := entry.(map[string]any); is && rule["scope"] == "*" {
				delete(rule, "scope")
			}
		}
	}
	encoded, err := json.Marshal(spec)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:])
}
