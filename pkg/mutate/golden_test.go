package mutate

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"sallyport.dev/sallyport/pkg/intent"
)

var update = flag.Bool("update", false, "write the decisions that are found as those that are expected")

// pair is one directory under testdata: object.yaml, and where they matter
// old.yaml and edge.yaml; the decision is in decision.yaml.
type pair struct {
	request Request
	kind    intent.Kind
}

// edge is what edge.yaml says of the other Gateways.
type edge struct {
	NamespaceMode    string           `json:"namespaceMode"`
	DefaultAuthority string           `json:"defaultAuthority"`
	NoCAName         bool             `json:"noCACertCredentialName"`
	Gateways         []map[string]any `json:"gateways"`
	Found            []Conflict       `json:"conflicts"`
}

func (e edge) Gateway(namespace, name string) (map[string]any, bool) {
	for _, g := range e.Gateways {
		if _, _, ns, n := metadata(g); ns == namespace && n == name {
			return g, true
		}
	}
	return nil, false
}

func (e edge) Conflicts(map[string]any) []Conflict { return e.Found }

// decision is the form of decision.yaml.
type decision struct {
	Verdict    Verdict     `json:"verdict"`
	Reason     Reason      `json:"reason"`
	Message    string      `json:"message,omitempty"`
	Warnings   []string    `json:"warnings,omitempty"`
	Operations []Operation `json:"operations,omitempty"`
}

func readPair(t *testing.T, directory string) pair {
	t.Helper()
	p := pair{request: Request{
		Object: readYAML(t, filepath.Join(directory, "object.yaml")), Old: readYAML(t, filepath.Join(directory, "old.yaml")),
		Platform: intent.Platform{TrustDomain: "example.com"},
	}}
	var e edge
	if raw, err := os.ReadFile(filepath.Join(directory, "edge.yaml")); err == nil {
		if err := yaml.UnmarshalStrict(raw, &e); err != nil {
			t.Fatal(err)
		}
	}
	p.request.Edge, p.request.Platform.NamespaceMode = e, e.NamespaceMode
	p.request.Capabilities.CACertCredentialName = !e.NoCAName
	p.kind = intent.Kind(text(p.request.Object["kind"]))
	return p
}

func readYAML(t *testing.T, path string) map[string]any {
	t.Helper()
	raw, err := os.ReadFile(path)
	if os.IsNotExist(err) && filepath.Base(path) != "object.yaml" {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var o map[string]any
	if err := yaml.Unmarshal(raw, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func (p pair) decide(o map[string]any) Decision {
	r := p.request
	r.Object = o
	if p.kind == intent.KindGateway {
		return Gateway(r)
	}
	return APIRule(r)
}

func TestGoldenPairs(t *testing.T) {
	directories, err := filepath.Glob("testdata/golden/*")
	if err != nil || len(directories) < 20 {
		t.Fatalf("found %d pairs, %v", len(directories), err)
	}
	for _, directory := range directories {
		t.Run(filepath.Base(directory), func(t *testing.T) {
			p := readPair(t, directory)
			found := p.decide(p.request.Object)
			path := filepath.Join(directory, "decision.yaml")
			if *update {
				raw, err := yaml.Marshal(decision(found))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, raw, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var expected decision
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := yaml.UnmarshalStrict(raw, &expected); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(expected, throughJSON(t, decision(found))); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
			checkPatch(t, p, found)
		})
	}
}

// throughJSON gives both sides the numbers of one decoder.
func throughJSON(t *testing.T, d decision) decision {
	t.Helper()
	raw, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var same decision
	if err := json.Unmarshal(raw, &same); err != nil {
		t.Fatal(err)
	}
	return same
}

// owned are the only paths that a patch may touch.
var owned = regexp.MustCompile(`^(/metadata/annotations(/mtls\.sallyport\.dev~1mode)?` +
	`|/spec/servers/\d+/tls(/(mode|credentialName|caCertCredentialName|minProtocolVersion|subjectAltNames))?` +
	`|/spec/gateway` +
	`|/spec/rules/\d+/request(/headers(/X-Client-Cert-(Subject|Issuer|Uri|Dns|Serial|Certificate))?)?)$`)

// checkPatch holds a decision to what is promised of every patch: it touches owned
// paths only, it means the same to another implementation of RFC 6902, its result
// is mutual, and on its own result it is empty.
func checkPatch(t failer, p pair, d Decision) {
	if d.Verdict == Denied && (len(d.Operations) > 0 || d.Message == "") || d.Verdict != Denied && d.Message != "" || (d.Verdict == Patched) != (len(d.Operations) > 0) {
		t.Fatalf("verdict %s with message %q and %d operations", d.Verdict, d.Message, len(d.Operations))
	}
	for _, operation := range d.Operations {
		if !owned.MatchString(operation.Path) {
			t.Errorf("path %s is not ours", operation.Path)
		}
	}
	result, err := Apply(p.request.Object, d.Operations)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if d.Verdict == Patched {
		if diff := cmp.Diff(applyElsewhere(t, p.request.Object, d.Operations), normal(result)); diff != "" {
			t.Errorf("another implementation finds (-other +ours):\n%s", diff)
		}
	}
	again := p.decide(result)
	if d.Verdict != Denied && (again.Verdict != Allowed || len(again.Operations) > 0) {
		t.Errorf("on its own result the decision is %s: %s %v", again.Verdict, again.Message, again.Operations)
	}
	in, ok := intent.Parse(described(p.kind, result), p.request.Platform).Intent()
	if ok && p.kind == intent.KindGateway && (d.Reason == ReasonInjected || d.Reason == ReasonComplete) {
		if violations := Mutual(result, in, p.request.Capabilities); len(violations) > 0 {
			t.Errorf("the result is not mutual: %v", violations)
		}
	}
}

// failer is what *testing.T and *rapid.T have in common.
type failer interface {
	Errorf(format string, arguments ...any)
	Fatalf(format string, arguments ...any)
}

func applyElsewhere(t failer, o map[string]any, operations []Operation) any {
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatalf("%v", err)
	}
	encoded, err := json.Marshal(operations)
	if err != nil {
		t.Fatalf("%v", err)
	}
	decoded, err := jsonpatch.DecodePatch(encoded)
	if err != nil {
		t.Fatalf("%v", err)
	}
	after, err := decoded.Apply(raw)
	if err != nil {
		t.Fatalf("%v", err)
	}
	var result any
	if err := json.Unmarshal(after, &result); err != nil {
		t.Fatalf("%v", err)
	}
	return result
}
