package intent

import (
	"fmt"
	"strings"
)

// Owner is what an object of the agent was made for.
type Owner struct {
	// Kind of the object, such as Gateway.
	Kind string
	// Namespace and Name of the object.
	Namespace, Name string
	// UID of the object.
	UID string
}

// String is the value of the annotation KeyOwner.
func (o Owner) String() string {
	return o.Kind + "/" + o.Namespace + "/" + o.Name + "/" + o.UID
}

// Same reports whether both are the same object or an object and its successor of
// the same name.
func (o Owner) Same(other Owner) bool {
	return o.Kind == other.Kind && o.Namespace == other.Namespace && o.Name == other.Name
}

// ParseOwner reads the value of the annotation KeyOwner.
func ParseOwner(value string) (Owner, error) {
	parts := strings.Split(value, "/")
	if len(parts) != 4 || parts[0] == "" || parts[2] == "" || parts[3] == "" {
		return Owner{}, fmt.Errorf("reading %s: found %.300q, expected <kind>/<namespace>/<name>/<uid>", KeyOwner, value)
	}
	return Owner{Kind: parts[0], Namespace: parts[1], Name: parts[2], UID: parts[3]}, nil
}
