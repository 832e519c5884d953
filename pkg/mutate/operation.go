package mutate

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
)

// Operation is one operation of a JSON patch (RFC 6902 section 4).
type Operation struct {
	// Op is test, add, replace or remove.
	Op string `json:"op"`
	// Path is a JSON pointer (RFC 6901).
	Path string `json:"path"`
	// Value to add, to put in place, or to find. Not with remove.
	Value any `json:"value,omitempty"`
}

// A replacer builds its table on first use, which costs more than all the rest of a
// decision, so there is one of each for all.
var (
	escaper   = strings.NewReplacer("~", "~0", "/", "~1")
	unescaper = strings.NewReplacer("~1", "/", "~0", "~")
)

// pointer joins the parts of a path, escaped as RFC 6901 section 3 says.
func pointer(parts ...any) string {
	var path strings.Builder
	for _, part := range parts {
		path.WriteByte('/')
		switch p := part.(type) {
		case int:
			path.WriteString(strconv.Itoa(p))
		case string:
			path.WriteString(escaper.Replace(p))
		}
	}
	return path.String()
}

// patch collects operations against an object and keeps a copy of the object up to
// date with them, so that later rules see what earlier ones wrote.
type patch struct {
	object     map[string]any
	operations []Operation
}

func newPatch(object map[string]any) *patch {
	return &patch{object: runtime.DeepCopyJSON(object)}
}

// set makes the value at a path what is wanted. Parents that are missing are added
// as objects; a value that is there is tested for before it is replaced, so that a
// patch made for another object fails instead of doing harm.
func (p *patch) set(wanted any, parts ...any) {
	parent := p.object
	for i, part := range parts[:len(parts)-1] {
		if parent == nil {
			return // a list item that is no object, which the API server's schema refuses
		}
		switch key := part.(type) {
		case string:
			next := parent[key]
			if index, ok := parts[i+1].(int); ok { // an item of a list the caller walked
				parent, _ = list(next)[index].(map[string]any)
				continue
			}
			child, ok := next.(map[string]any)
			if !ok {
				child = map[string]any{}
				parent[key] = child
				p.operations = append(p.operations, Operation{Op: "add", Path: pointer(parts[:i+1]...), Value: map[string]any{}})
			}
			parent = child
		case int: // taken together with its list
		}
	}
	if parent == nil {
		return // a list item that is no object, which the API server's schema refuses
	}
	key, _ := parts[len(parts)-1].(string)
	path := pointer(parts...)
	stored, exists := parent[key]
	switch {
	case exists && reflect.DeepEqual(stored, wanted):
		return
	case wanted == nil:
		if exists {
			p.operations = append(p.operations, Operation{Op: "test", Path: path, Value: stored}, Operation{Op: "remove", Path: path})
			delete(parent, key)
		}
		return
	case exists && stored != nil:
		p.operations = append(p.operations, Operation{Op: "test", Path: path, Value: stored}, Operation{Op: "replace", Path: path, Value: wanted})
	default:
		p.operations = append(p.operations, Operation{Op: "add", Path: path, Value: wanted})
	}
	parent[key] = wanted
}

// Apply returns the object after the operations; the object itself stays as it is.
// It knows what Decisions contain: paths into objects, and lists by index.
func Apply(object map[string]any, operations []Operation) (map[string]any, error) {
	result := runtime.DeepCopyJSON(object)
	for n, operation := range operations {
		if err := apply(result, operation); err != nil {
			return nil, fmt.Errorf("applying operation %d, %s %s: %w", n, operation.Op, operation.Path, err)
		}
	}
	return result, nil
}

func apply(object map[string]any, operation Operation) error {
	parts := strings.Split(strings.TrimPrefix(operation.Path, "/"), "/")
	var at any = object
	for _, part := range parts[:len(parts)-1] {
		part = unescaper.Replace(part)
		switch node := at.(type) {
		case map[string]any:
			at = node[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(node) {
				return fmt.Errorf("there is no item %q", part)
			}
			at = node[i]
		default:
			return fmt.Errorf("%q has no parent", part)
		}
	}
	parent, ok := at.(map[string]any)
	if !ok {
		return fmt.Errorf("the parent is a %T, expected an object", at)
	}
	key := unescaper.Replace(parts[len(parts)-1])
	stored, exists := parent[key]
	if operation.Op != "add" && !exists {
		return fmt.Errorf("there is no such value")
	}
	switch operation.Op {
	case "test":
		if !reflect.DeepEqual(stored, operation.Value) {
			return fmt.Errorf("found %.100q, expected %.100q", render(stored), render(operation.Value))
		}
	case "remove":
		delete(parent, key)
	case "add", "replace":
		parent[key] = runtime.DeepCopyJSONValue(operation.Value)
	default:
		return fmt.Errorf("unknown operation")
	}
	return nil
}

// render is a value in one line, for messages.
func render(value any) string {
	encoded, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(encoded)
}

// The readers below take what has the wrong shape as absent: the API server's
// schema refuses such objects after us.

func object(value any) map[string]any { m, _ := value.(map[string]any); return m }

func list(value any) []any { l, _ := value.([]any); return l }

func text(value any) string { s, _ := value.(string); return s }

func boolean(value any) bool { b, _ := value.(bool); return b }

func texts(value any) []string {
	var all []string
	for _, item := range list(value) {
		all = append(all, text(item))
	}
	return all
}

func anys(items []string) []any {
	all := make([]any, len(items))
	for i, item := range items {
		all[i] = item
	}
	return all
}

func stringMap(value any) map[string]string {
	m := map[string]string{}
	for key, v := range object(value) {
		m[key] = text(v)
	}
	return m
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
