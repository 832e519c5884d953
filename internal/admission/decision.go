package admission

import "sallyport.dev/sallyport/pkg/intent"

// Verdict is what becomes of an object.
type Verdict string

// The verdicts.
const (
	Patched Verdict = "Patched"
	Allowed Verdict = "Allowed"
	Denied  Verdict = "Denied"
)

// Operation is one operation of a JSON patch.
type Operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// Decision is the answer about one object.
type Decision struct {
	Verdict    Verdict
	Reason     string
	Message    string
	Warnings   []string
	Operations []Operation
}

// Conflict is one host another Gateway has too.
type Conflict struct {
	Host            string
	Port            uint32
	Ingress         string
	Namespace, Name string
	OtherIsOlder    bool
}

// Edge is what a decision may ask about the cluster.
type Edge interface {
	Gateway(namespace, name string) (object map[string]any, found bool)
	Conflicts(gateway map[string]any) []Conflict
}

// Capabilities are what the cluster's Gateway CRD has.
type Capabilities struct{ CACertCredentialName bool }

// Request is what a decision is made from.
type Request struct {
	Object, Old  map[string]any
	Platform     intent.Platform
	Edge         Edge
	Capabilities Capabilities
}
