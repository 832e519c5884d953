package mutate

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"

	"sallyport.dev/sallyport/pkg/intent"
)

// Verdict is what to do with an object.
type Verdict string

// The verdicts.
const (
	// Patched says that the object is stored with the operations applied.
	Patched Verdict = "Patched"
	// Allowed says that the object is stored as it is.
	Allowed Verdict = "Allowed"
	// Denied says that the object is not stored.
	Denied Verdict = "Denied"
)

// Reason is the word for a decision, for metrics and audit.
type Reason string

// The reasons.
const (
	// ReasonInjected says that settings were written.
	ReasonInjected Reason = "Injected"
	// ReasonComplete says that the object has every setting already.
	ReasonComplete Reason = "Complete"
	// ReasonNotRequested says that the object asks for nothing.
	ReasonNotRequested Reason = "NotRequested"
	// ReasonDisabled says that the object opts out.
	ReasonDisabled Reason = "Disabled"
	// ReasonOptedOut says that the object no longer asks for what it asked for.
	ReasonOptedOut Reason = "OptedOut"
	// ReasonUnchanged says that an update leaves our keys and the spec as they are.
	ReasonUnchanged Reason = "Unchanged"
	// ReasonConversion says that the object is Kyma's converted form of another.
	ReasonConversion Reason = "Conversion"
	// ReasonInvalidAnnotations says that an annotation or label cannot be read.
	ReasonInvalidAnnotations Reason = "InvalidAnnotations"
	// ReasonAgentOnly says that somebody else wrote what only the agent writes.
	ReasonAgentOnly Reason = "AgentOnly"
	// ReasonOperatorOwned says that another operator owns the object.
	ReasonOperatorOwned Reason = "OperatorOwned"
	// ReasonName says that no names can be made of the object's: it is too long, has a
	// dot, or is not known yet.
	ReasonName Reason = "NameNotUsable"
	// ReasonNotMutual says that the spec contradicts what is asked for.
	ReasonNotMutual Reason = "NotMutual"
	// ReasonHostConflict says that an older Gateway holds a host that is added.
	ReasonHostConflict Reason = "HostConflict"
	// ReasonGateway says that the Gateway an APIRule names cannot be used.
	ReasonGateway Reason = "GatewayNotUsable"
	// ReasonHeaders says that a rule sets identity headers to something else.
	ReasonHeaders Reason = "HeadersConflict"
)

// AllReasons are all of them, for metrics that are made up front.
func AllReasons() []Reason {
	return []Reason{
		ReasonInjected, ReasonComplete, ReasonNotRequested, ReasonDisabled, ReasonOptedOut, ReasonUnchanged, ReasonConversion,
		ReasonInvalidAnnotations, ReasonAgentOnly, ReasonOperatorOwned, ReasonName, ReasonNotMutual, ReasonHostConflict, ReasonGateway, ReasonHeaders,
	}
}

// Decision is what becomes of an object.
type Decision struct {
	// Verdict is what to do.
	Verdict Verdict
	// Reason is why, in a word.
	Reason Reason
	// Message is for the person who wrote the object: what is wrong, where, and
	// what to do. Empty if nothing is.
	Message string
	// Warnings are for the same person, about what is stored.
	Warnings []string
	// Operations are the JSON patch, with Patched only.
	Operations []Operation
}

// Conflict is one host of a Gateway that another Gateway has on the same port of
// the same ingress. Istio serves it from the older one and drops the other's server
// without a word.
type Conflict struct {
	// Host in canonical form.
	Host string
	// Port of the Gateway that asks.
	Port uint32
	// Ingress where both meet.
	Ingress string
	// Namespace and Name of the other Gateway.
	Namespace, Name string
	// OtherIsOlder is whether the other one wins.
	OtherIsOlder bool
}

// Edge is what is known of the Gateways that are stored.
type Edge interface {
	// Gateway is a stored Gateway; false if there is none. It must not be changed.
	Gateway(namespace, name string) (object map[string]any, found bool)
	// Conflicts are the hosts of a Gateway, stored or not, that others have.
	Conflicts(gateway map[string]any) []Conflict
}

// Capabilities are what the installed CRDs can store.
type Capabilities struct {
	// CACertCredentialName is whether a Gateway's tls has the field of that name
	// (Istio 1.28 and later). Without it Istio derives the same name.
	CACertCredentialName bool
}

// Request is one object that is about to be stored.
type Request struct {
	// Object as it was sent, Old as it is stored; nil on create.
	Object, Old map[string]any
	// Platform is the platform's and the Namespace's defaults.
	Platform intent.Platform
	// Edge is what is known of the other Gateways.
	Edge Edge
	// Capabilities of the installed CRDs.
	Capabilities Capabilities
}

func allowed(reason Reason, warnings ...string) Decision {
	return Decision{Verdict: Allowed, Reason: reason, Warnings: plainAll(warnings)}
}

// maxSaid bounds a message in bytes.
const maxSaid = 3500

// plain is a text that harms no terminal and no log: what cannot be seen, or turns
// the direction of what can, is written as an escape. Names of objects come in here
// as somebody wrote them.
func plain(said string) string {
	var out strings.Builder
	for _, r := range said {
		if out.Len() > maxSaid {
			out.WriteString("...")
			break
		}
		if unicode.IsGraphic(r) {
			out.WriteRune(r)
		} else {
			fmt.Fprintf(&out, "\\u%04x", r)
		}
	}
	return out.String()
}

func plainAll(said []string) []string {
	if said == nil {
		return nil
	}
	all := make([]string, len(said))
	for i, s := range said {
		all[i] = plain(s)
	}
	return all
}

func denied(reason Reason, format string, arguments ...any) Decision {
	return Decision{Verdict: Denied, Reason: reason, Message: plain(fmt.Sprintf(format, arguments...))}
}

// metadata is what of an object's metadata the rules read.
func metadata(o map[string]any) (annotations, labels map[string]string, namespace, name string) {
	m := object(o["metadata"])
	return stringMap(m["annotations"]), stringMap(m["labels"]), text(m["namespace"]), text(m["name"])
}

func described(kind intent.Kind, o map[string]any) intent.Object {
	annotations, labels, namespace, name := metadata(o)
	return intent.Object{Kind: kind, APIVersion: text(o["apiVersion"]), Namespace: namespace, Name: name, Annotations: annotations, Labels: labels}
}

// unchanged reports whether an update leaves our keys and the spec as they are.
// Such an update is never denied: an object that was stored before a rule was made
// must stay editable.
func (r Request) unchanged() bool {
	if r.Old == nil {
		return false
	}
	annotations, labels, _, _ := metadata(r.Object)
	oldAnnotations, oldLabels, _, _ := metadata(r.Old)
	return reflect.DeepEqual(intent.OurKeys(annotations, labels), intent.OurKeys(oldAnnotations, oldLabels)) &&
		reflect.DeepEqual(normal(r.Object["spec"]), normal(r.Old["spec"]))
}

// normal makes numbers of different decoders comparable.
func normal(value any) any {
	switch v := value.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for key, item := range v {
			m[key] = normal(item)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, item := range v {
			l[i] = normal(item)
		}
		return l
	case int64:
		return float64(v)
	case int:
		return float64(v)
	}
	return value
}

// agentOnly names a key that only the agent writes and that this request changes, and
// what was found there. The agent's own requests are not reviewed.
func (r Request) agentOnly() (string, bool) {
	annotations, labels, _, _ := metadata(r.Object)
	oldAnnotations, oldLabels, _, _ := metadata(r.Old)
	if annotations[intent.KeyOwner] != oldAnnotations[intent.KeyOwner] {
		return changedKey("annotations", intent.KeyOwner, annotations), true
	}
	if labels[intent.KeyManaged] != oldLabels[intent.KeyManaged] {
		return changedKey("labels", intent.KeyManaged, labels), true
	}
	return "", false
}

func changedKey(of, key string, values map[string]string) string {
	if value, ok := values[key]; ok {
		return fmt.Sprintf("metadata.%s[%s]: found %.100q", of, key, value)
	}
	return fmt.Sprintf("metadata.%s[%s]: found nothing", of, key)
}
