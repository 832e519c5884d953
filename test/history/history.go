package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/pkg/pki"
	"sallyport.dev/sallyport/pkg/rotate"
)

// The kinds of objects that are looked at.
const (
	Secret            = "Secret"
	ConfigMap         = "ConfigMap"
	ClientCertificate = "ClientCertificate"
	Gateway           = "Gateway"
)

// CertificateKey is where the data of a ClientCertificate holds the certificate in its status, and
// SpecKey that of a Gateway its spec in JSON.
const (
	CertificateKey = "certificate"
	SpecKey        = "spec"
)

// Key names an object.
type Key struct{ Kind, Namespace, Name string }

// String is kind, namespace and name.
func (k Key) String() string { return k.Kind + " " + k.Namespace + "/" + k.Name }

// Revision is an object as it was stored from a moment on.
type Revision struct {
	// Number is the resource version; those of one history rise.
	Number int64
	// At is when it was seen.
	At  time.Time
	Key Key
	// Labels of the object, and its data; of a Secret decoded.
	Labels map[string]string
	Data   map[string][]byte
	// Deleted is whether the object is no more.
	Deleted bool
}

// Violation is something that was not as it has to be.
type Violation struct {
	// Invariant is I1 to I9.
	Invariant string
	// Number and Key are the revision's.
	Number int64
	Key    Key
	// Message says what was found.
	Message string
}

// String is all of it on one line.
func (v Violation) String() string {
	return fmt.Sprintf("%s at revision %d of %s: %s", v.Invariant, v.Number, v.Key, v.Message)
}

// span is a revision with the moment at which the next one of its object, or the end of the
// history, came.
type span struct {
	Revision
	until time.Time
	// shown is what a server or a caller shows, read once: a long run asks for it a million times.
	shown    pki.Chain
	shownErr error
}

// checker gathers violations.
type checker struct {
	end        time.Time
	spans      []span
	violations []Violation
}

// Check replays the history of one authority, its Gateways and its callers, up to an end. The
// order of the revisions does not matter, nor that one comes twice.
//
// I1: each server certificate verifies under every bundle that a live caller may hold.
// I2: a CA is trusted before its first leaf is handed out, and as long as one of them is good.
// I3: gateways have exactly one fresh CRL for each CA, as long as they have it.
// I4: key and certificate belong together. I5: generations never go back, and one issues.
// I6: serial numbers are unique and long, and leaves end with their issuer.
// I7: Gateways are mutual. I8: no key stands anywhere but in a Secret.
// I9: CRL numbers rise, and what is revoked stays so until it has ended.
func Check(revisions []Revision, end time.Time) []Violation {
	ordered := slices.Clone(revisions)
	slices.SortStableFunc(ordered, func(a, b Revision) int { return cmp.Compare(a.Number, b.Number) })
	ordered = slices.CompactFunc(ordered, func(a, b Revision) bool { return a.Number == b.Number && a.Key == b.Key })
	c := checker{end: end}
	next := map[Key]time.Time{}
	for _, r := range slices.Backward(ordered) {
		until, changed := next[r.Key]
		if !changed {
			until = end
		}
		if next[r.Key] = r.At; !r.Deleted {
			s := span{Revision: r, until: until}
			s.shown, s.shownErr = s.read()
			c.spans = append(c.spans, s)
		}
	}
	slices.Reverse(c.spans)
	c.trust()
	c.handedOut()
	c.freshness()
	c.pairs()
	c.generations()
	c.serials()
	c.mutual()
	c.keys()
	c.revocations()
	slices.SortStableFunc(c.violations, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), strings.Compare(a.Invariant, b.Invariant))
	})
	return c.violations
}

func (c *checker) violate(invariant string, s span, format string, a ...any) {
	c.violations = append(c.violations, Violation{Invariant: invariant, Number: s.Number, Key: s.Key, Message: fmt.Sprintf(format, a...)})
}

// of are the spans that match, in order.
func (c *checker) of(match func(span) bool) []span {
	return slices.DeleteFunc(slices.Clone(c.spans), func(s span) bool { return !match(s) })
}

func isServer(s span) bool {
	return s.Key.Kind == Secret && strings.HasSuffix(s.Key.Name, ".mtls")
}

func isEdgeTrust(s span) bool {
	return s.Key.Kind == Secret && strings.HasSuffix(s.Key.Name, ".mtls-cacert")
}

func isLedger(s span) bool {
	return s.Key.Kind == Secret && s.Labels["mtls.sallyport.dev/ledger"] == "keys"
}

// isCaller is where a caller's certificate is: in a Secret, or in a status.
func isCaller(s span) bool {
	return s.Key.Kind == ClientCertificate && len(s.Data[CertificateKey]) > 0 ||
		s.Key.Kind == Secret && len(s.Data["tls.crt"]) > 0 && !isServer(s)
}

// chain is what a server or a caller shows.
func (s span) chain() (pki.Chain, error) { return s.shown, s.shownErr }

func (s span) read() (pki.Chain, error) {
	if s.Key.Kind == ClientCertificate {
		return pki.ParseChain(s.Data[CertificateKey])
	}
	return pki.ParseChain(s.Data["tls.crt"])
}

// published is what callers may take as their trust.
func isPublished(s span) bool {
	return s.Key.Kind == ConfigMap && len(s.Data["ca.crt"]) > 0 || isCaller(s) && len(s.Data["ca.crt"]) > 0
}

// ledger reads a record.
func (s span) ledger() (rotate.Ledger, error) { return rotate.DecodeLedger(s.Data) }
