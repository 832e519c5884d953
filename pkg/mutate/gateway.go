package mutate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sallyport.dev/sallyport/pkg/intent"
)

// Gateway decides about an Istio Gateway that is about to be stored by anybody but
// the agent.
func Gateway(r Request) Decision {
	if r.unchanged() {
		return allowed(ReasonUnchanged)
	}
	if d, done := r.preliminary(intent.KindGateway); done {
		return d
	}
	in, _ := intent.Parse(described(intent.KindGateway, r.Object), r.Platform).Intent()
	_, _, namespace, name := metadata(r.Object)
	if field, owner := operatorOwner(r.Object); owner != "" {
		return denied(ReasonOperatorOwned, "%s: Gateway %s/%s is owned by %s, which would take every change back: make a Gateway of your own for these hosts, and annotate that with %s: %s", field, namespace, name, owner, intent.KeyMode, in.Mode())
	}
	if err := intent.CheckGatewayName(namespace, name); err != nil {
		return denied(ReasonName, "metadata.name: %s", err)
	}
	if d, refused := r.tooMany(in); refused {
		return d
	}
	p := newPatch(r.Object)
	if in.FromNamespace() {
		p.set(string(in.Mode()), "metadata", "annotations", intent.KeyMode)
	}
	if violations := p.servers(settingsOf(in, namespace, name), r.previous(namespace, name), r.Old, r.Capabilities); len(violations) > 0 {
		return denied(ReasonNotMutual, "%s: %s", asks(in), join(violations))
	}
	d, warnings := r.conflicts(p.object)
	if d != nil {
		return *d
	}
	return p.decide(warnings, func() string { return injectedInto(p.object, in) })
}

// preliminary are the decisions that need no look at the spec; false if the object
// asks for mutual TLS in a form that can be read.
func (r Request) preliminary(kind intent.Kind) (Decision, bool) {
	if d, refused := r.oversized(); refused {
		return d, true
	}
	if key, changed := r.agentOnly(); changed {
		return denied(ReasonAgentOnly, "%s, but only the agent writes it: leave it as it is stored, or out of a new object", key), true
	}
	annotations, labels, namespace, name := metadata(r.Object)
	if labels[intent.KeyManaged] == "true" && r.Old != nil {
		return denied(ReasonAgentOnly, "metadata.labels[%s]: %s %s/%s is managed for %.300q, and the agent would take every change back: change the object that it was made for", intent.KeyManaged, kind, namespace, name, annotations[intent.KeyOwner]), true
	}
	answer := intent.Parse(described(kind, r.Object), r.Platform)
	switch answer.State() {
	case intent.Invalid:
		messages := make([]string, len(answer.Errors()))
		for i, err := range answer.Errors() {
			messages[i] = err.Error()
		}
		return denied(ReasonInvalidAnnotations, "%s", limited(messages)), true
	case intent.NotRequested, intent.Disabled:
		return r.notAsked(kind, answer.State()), true
	case intent.Requested:
	}
	return Decision{}, false
}

// notAsked lets an object go that does not ask, and says what stays of what it
// asked for before.
func (r Request) notAsked(kind intent.Kind, state intent.State) Decision {
	if r.Old != nil && intent.Parse(described(kind, r.Old), r.Platform).State() == intent.Requested {
		return allowed(ReasonOptedOut, "mutual TLS is no longer asked for: what was written into spec stays as it is until you change it")
	}
	if state == intent.Disabled {
		return allowed(ReasonDisabled)
	}
	return allowed(ReasonNotRequested)
}

// previous are the settings that the predecessor's annotations made us write.
func (r Request) previous(namespace, name string) *settings {
	if r.Old == nil {
		return nil
	}
	in, ok := intent.Parse(described(intent.KindGateway, r.Old), r.Platform).Intent()
	if !ok {
		return nil
	}
	return settingsOf(in, namespace, name)
}

// servers judges every server, and writes the settings if nothing is refused.
func (p *patch) servers(wanted, previous *settings, old map[string]any, c Capabilities) []Violation {
	raw := list(object(p.object["spec"])["servers"])
	if len(raw) == 0 {
		return []Violation{{Path: "spec.servers", Message: "is empty, so there is nothing to protect: write a server with the hosts to protect"}}
	}
	before := list(object(old["spec"])["servers"])
	var violations []Violation
	judged := make([]server, 0, len(raw))
	for i := range raw {
		s := server{index: i, raw: object(raw[i]), previous: previous}
		s.tls = object(s.raw["tls"])
		if i < len(before) {
			s.old = object(object(before[i])["tls"])
		}
		judged = append(judged, s)
		for _, rule := range rules {
			if v := rule(s, wanted); v != nil {
				violations = append(violations, *v)
			}
		}
	}
	if v := credentialsDiffer(judged, wanted); v != nil {
		violations = append(violations, *v)
	}
	if wanted.provided && !c.CACertCredentialName {
		violations = append(violations, Violation{Path: "metadata.annotations[" + intent.KeyServerCertificate + "]", Message: "found provided, which needs Istio 1.28 or newer: before, the CAs of the callers cannot stand apart from the server's Secret, and what is in that could take their place; let the certificate be issued, or upgrade"})
	}
	if len(violations) > 0 {
		return violations
	}
	for _, s := range judged {
		p.inject(s, wanted, c)
	}
	return nil
}

// credentialsDiffer: TLS settings are chosen by the server name in the handshake
// and routes by the Host header, so a caller reaches the routes of one server
// through another of the same Gateway. They must all ask for the same.
func credentialsDiffer(servers []server, wanted *settings) *Violation {
	first := servers[0].credential(wanted)
	for _, s := range servers[1:] {
		if name := s.credential(wanted); name != first {
			return s.violation("tls.credentialName", "found %.300q, expected %.300q as on the first server: a caller reaches the routes of one server through another of the same Gateway, so they trust the same CA; use one name, or two Gateways", name, first)
		}
	}
	return nil
}

// operatorOwner names whoever would take our changes back, and the field that tells;
// empty if nobody.
func operatorOwner(o map[string]any) (field, owner string) {
	annotations, _, namespace, name := metadata(o)
	const disclaimer = "apigateways.operator.kyma-project.io/managed-by-disclaimer"
	if namespace == "kyma-system" && name == "kyma-gateway" {
		return "metadata.name", "Kyma's operator"
	}
	if _, ok := annotations[disclaimer]; ok {
		return "metadata.annotations[" + disclaimer + "]", "Kyma's operator"
	}
	for i, reference := range list(object(o["metadata"])["ownerReferences"]) {
		owner := object(reference)
		if boolean(owner["controller"]) {
			return fmt.Sprintf("metadata.ownerReferences[%d]", i), fmt.Sprintf("%s %s", text(owner["kind"]), text(owner["name"]))
		}
	}
	return "", ""
}

// conflicts denies a host that is being added and that an older Gateway holds:
// Istio would drop the server that has it, without a word. What was there before is
// a warning, because refusing it would not mend it.
func (r Request) conflicts(gateway map[string]any) (*Decision, []string) {
	if r.Edge == nil {
		return nil, nil
	}
	held := hostPorts(r.Old)
	var warnings []string
	for _, c := range r.Edge.Conflicts(r.aged(gateway)) {
		where := fmt.Sprintf("host %s on port %d of ingress %s", c.Host, c.Port, c.Ingress)
		switch {
		case c.OtherIsOlder && !held[hostPort{c.Host, c.Port}]:
			d := denied(ReasonHostConflict, "%s: %s is held by the older Gateway %s/%s, and Istio would drop the whole server that adds it here: take the host off one of the two", placeOf(gateway, c), where, c.Namespace, c.Name)
			return &d, nil
		case c.OtherIsOlder:
			warnings = append(warnings, fmt.Sprintf("%s is held by the older Gateway %s/%s: Istio serves it from there, and drops the server that has it here", where, c.Namespace, c.Name))
		default:
			warnings = append(warnings, fmt.Sprintf("%s is also asked for by the younger Gateway %s/%s, whose server Istio drops", where, c.Namespace, c.Name))
		}
	}
	return nil, warnings
}

// aged is the Gateway with the age that the API server gives it. What a person writes
// into metadata.creationTimestamp is not stored: a manifest that was once read from
// a cluster has that of another life, and most have none.
func (r Request) aged(gateway map[string]any) map[string]any {
	meta := maps.Clone(object(gateway["metadata"]))
	delete(meta, "creationTimestamp")
	if created, ok := object(r.Old["metadata"])["creationTimestamp"]; ok && meta != nil {
		meta["creationTimestamp"] = created
	}
	gateway = maps.Clone(gateway)
	gateway["metadata"] = meta
	return gateway
}

// placeOf is the path of the host that is in conflict.
func placeOf(gateway map[string]any, c Conflict) string {
	for i, s := range list(object(gateway["spec"])["servers"]) {
		port, _ := normal(object(object(s)["port"])["number"]).(float64)
		for j, host := range texts(object(s)["hosts"]) {
			if (hostPort{intent.CanonicalHost(host), uint32(port)}) == (hostPort{c.Host, c.Port}) {
				return fmt.Sprintf("spec.servers[%d].hosts[%d]", i, j)
			}
		}
	}
	return "spec.servers"
}

type hostPort struct {
	host string
	port uint32
}

func hostPorts(gateway map[string]any) map[hostPort]bool {
	held := map[hostPort]bool{}
	for _, s := range list(object(gateway["spec"])["servers"]) {
		port, _ := normal(object(object(s)["port"])["number"]).(float64)
		for _, host := range texts(object(s)["hosts"]) {
			held[hostPort{intent.CanonicalHost(host), uint32(port)}] = true
		}
	}
	return held
}

// decide is the decision for an object that is right once patched.
func (p *patch) decide(warnings []string, injected func() string) Decision {
	if len(p.operations) == 0 {
		return allowed(ReasonComplete, warnings...)
	}
	return Decision{Verdict: Patched, Reason: ReasonInjected, Warnings: plainAll(append([]string{injected()}, warnings...)), Operations: p.operations}
}

func injectedInto(gateway map[string]any, in intent.Intent) string {
	server, ca := Secrets(gateway)
	authority := "authority " + in.Authority().String()
	for _, further := range in.Authorities()[1:] {
		authority += " and " + further.String()
	}
	return fmt.Sprintf("mutual TLS (%s): server certificate from Secret %s, callers verified by Secret %s, %s", in.Mode(), server, ca, authority)
}

func asks(in intent.Intent) string {
	if in.FromNamespace() {
		return fmt.Sprintf("the Namespace's label %s asks for %s TLS, and the spec contradicts it", intent.LabelDefaultMode, in.Mode())
	}
	return fmt.Sprintf("the annotation %s: %s asks for %s TLS, and the spec contradicts it", intent.KeyMode, in.Mode(), in.Mode())
}

func join(violations []Violation) string {
	messages := make([]string, len(violations))
	for i, v := range violations {
		messages[i] = v.String()
	}
	return limited(messages)
}

// maxMessages bounds how many mistakes one denial lists.
const maxMessages = 8

func limited(messages []string) string {
	if more := len(messages) - maxMessages; more > 0 {
		messages = append(slices.Clone(messages[:maxMessages]), fmt.Sprintf("and %d more", more))
	}
	return strings.Join(messages, "; ")
}

// Mutual says in which places a stored Gateway is not as an Intent asks; nil if it
// is mutual. For a Gateway that the webhook would have completed, each field that
// is missing is named.
func Mutual(gateway map[string]any, in intent.Intent, c Capabilities) []Violation {
	_, _, namespace, name := metadata(gateway)
	p := newPatch(gateway)
	if violations := p.servers(settingsOf(in, namespace, name), nil, nil, c); len(violations) > 0 {
		return violations
	}
	var violations []Violation
	for _, operation := range p.operations {
		if operation.Op != "test" {
			violations = append(violations, Violation{Path: dotted(operation.Path), Message: fmt.Sprintf("is not as asked, expected %.200s", render(operation.Value))})
		}
	}
	return violations
}

// dotted is a JSON pointer as Kubernetes writes paths.
func dotted(path string) string {
	var out strings.Builder
	for i, part := range strings.Split(strings.TrimPrefix(path, "/"), "/") {
		if part != "" && strings.Trim(part, "0123456789") == "" {
			fmt.Fprintf(&out, "[%s]", part)
			continue
		}
		if i > 0 {
			out.WriteByte('.')
		}
		out.WriteString(unescaper.Replace(part))
	}
	return out.String()
}

// Secrets are the names of the Secrets that a mutual Gateway's servers refer to;
// empty if they refer to none.
func Secrets(gateway map[string]any) (server, ca string) {
	for _, s := range list(object(gateway["spec"])["servers"]) {
		tls := object(object(s)["tls"])
		name := text(tls["credentialName"])
		if name == "" {
			continue
		}
		if apart := text(tls["caCertCredentialName"]); apart != "" {
			return name, apart
		}
		return name, intent.CASecretFor(name)
	}
	return "", ""
}

// NamesCallers reports whether a server of a Gateway goes by the names of callers, whoever wrote that.
func NamesCallers(gateway map[string]any) bool {
	return slices.ContainsFunc(list(object(gateway["spec"])["servers"]), func(s any) bool {
		return len(list(object(object(s)["tls"])["subjectAltNames"])) > 0
	})
}
