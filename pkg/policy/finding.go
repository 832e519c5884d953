package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"sallyport.dev/sallyport/api/v1alpha1"
)

// The reasons that only a look at everything that is stored shows.
const (
	// ReasonNotMutual says that a server does not demand what its object is opted in to, or only seems to.
	ReasonNotMutual Reason = "NotMutual"
	// ReasonSharedHost says that a younger server that asks less of callers waits for the host.
	ReasonSharedHost Reason = "SharedHost"
	// ReasonOlderServer says that Istio drops a server because of an older one.
	ReasonOlderServer Reason = "OlderServer"
	// ReasonPlainHTTPRoute says that routes behind mutual TLS are served without TLS as well.
	ReasonPlainHTTPRoute Reason = "PlainHTTPRoute"
	// ReasonTwoGateways says that a VirtualService is bound to a second Gateway that asks less of callers.
	ReasonTwoGateways Reason = "TwoGateways"
	// ReasonSecondExposure says that a Service behind mutual TLS can be reached without.
	ReasonSecondExposure Reason = "SecondExposure"
	// ReasonHostBypass says that a server shares a host with a stronger one of the same Gateway: TLS goes by the
	// name in the handshake (SNI), routes by the Host header.
	ReasonHostBypass Reason = "HostBypass"
	// ReasonBorrowedCredential says that a Secret of one Gateway is named by another.
	ReasonBorrowedCredential Reason = "BorrowedCredential"
	// ReasonUnmanagedTrust says that callers are verified by CAs that nobody manages.
	ReasonUnmanagedTrust Reason = "UnmanagedTrust"
)

// AllReasons are all of them, for metrics that are made up front.
func AllReasons() []Reason {
	return []Reason{
		ReasonMode, ReasonPlainHTTP, ReasonMinTLS, ReasonAuthority,
		ReasonNotMutual, ReasonSharedHost, ReasonOlderServer, ReasonPlainHTTPRoute, ReasonTwoGateways, ReasonSecondExposure,
		ReasonHostBypass, ReasonBorrowedCredential, ReasonUnmanagedTrust,
	}
}

// Finding is one way in which what is stored takes from an object what a policy demands of it.
type Finding struct {
	// Kind, Namespace and Name of the object that is weakened: one that the policy matches, or a VirtualService
	// that routes through one.
	Kind            v1alpha1.ViolatingKind
	Namespace, Name string
	// Reason is what is wrong.
	Reason Reason
	// Field is the path of what is wrong in that object.
	Field string
	// Message says what was found, why it matters, and what to do. It is at most 1024 bytes.
	Message string
}

// String is the object, field and message on one line.
func (f Finding) String() string {
	return fmt.Sprintf("%s %s/%s: %s: %s: %s", f.Kind, f.Namespace, f.Name, f.Reason, f.Field, f.Message)
}

// ordered sorts findings and drops repetitions.
func ordered(found []Finding) []Finding {
	slices.SortFunc(found, func(a, b Finding) int {
		return cmp.Or(strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name),
			strings.Compare(a.Field, b.Field), strings.Compare(string(a.Reason), string(b.Reason)), strings.Compare(a.Message, b.Message))
	})
	return slices.Compact(found)
}

// maxSaid bounds a message in bytes, as the status of a policy does.
const maxSaid = 1024

// said is a message that harms no terminal and no log: names come in as somebody wrote them.
func said(format string, arguments ...any) string {
	return plainText(fmt.Sprintf(format, arguments...), maxSaid)
}

// shown is a name as a message repeats it, at most so long that the rest of the message has room.
func shown(name string) string { return plainText(name, 150) }

// quoted is a value as a message repeats it.
func quoted(value string) string {
	if value == "" {
		return "nothing"
	}
	return `"` + shown(value) + `"`
}

// plainText is a text in which what cannot be seen, or turns the direction of what can, is an escape.
func plainText(text string, limit int) string {
	if len(text) <= limit && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return text
	}
	var out strings.Builder
	for _, r := range text {
		next := string(r)
		if !unicode.IsGraphic(r) || r == unicode.ReplacementChar {
			next = fmt.Sprintf("\\u%04x", r)
		}
		if out.Len()+len(next) > limit-len("...") {
			out.WriteString("...")
			break
		}
		out.WriteString(next)
	}
	return out.String()
}
