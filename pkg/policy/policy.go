package policy

import (
	"fmt"
	"slices"
	"strings"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/intent"
)

// Object is what of a Gateway or an APIRule a policy judges.
type Object struct {
	// Kind of the object.
	Kind intent.Kind
	// Namespace and Name of the object.
	Namespace, Name string
	// Annotations and Labels of the object.
	Annotations, Labels map[string]string
	// NamespaceLabels are those of its Namespace.
	NamespaceLabels map[string]string
	// Domain of the Gateway that an APIRule names, which completes its short hosts; empty if it is not known. Admission
	// does not know it.
	Domain string
	// Spec of the object as it is stored. It is not changed.
	Spec map[string]any
}

// Reason is what is wrong, in a word.
type Reason string

// The reasons that admission sees too.
const (
	// ReasonMode says that the object is not opted in to what is demanded.
	ReasonMode Reason = "Mode"
	// ReasonPlainHTTP says that a server takes requests without TLS.
	ReasonPlainHTTP Reason = "PlainHTTP"
	// ReasonMinTLS says that an older version of TLS is offered.
	ReasonMinTLS Reason = "MinTLS"
	// ReasonAuthority says that callers of an authority that is not listed are accepted.
	ReasonAuthority Reason = "Authority"
)

// Violation is one way in which an object does not meet a policy.
type Violation struct {
	// Reason is what is wrong.
	Reason Reason
	// Field is the path of what is wrong.
	Field string
	// Message says what was found, what is expected, and what to do.
	Message string
}

// String is field and message on one line.
func (v Violation) String() string { return v.Field + ": " + v.Message }

// Policy is a MutualTLSPolicy. Only New makes a useful one.
type Policy struct {
	name string
	spec v1alpha1.MutualTLSPolicySpec
	// ended are the exceptions whose time is over.
	ended []v1alpha1.EndedException
	// defaultAuthority is that of objects that name none, <namespace>/<name>; empty if the platform has none.
	defaultAuthority string
}

// New is the policy of an object that the API server has accepted. Exceptions that its status
// names as ended count no more. The default authority, <namespace>/<name>, is that of the
// install settings; empty if there is none.
func New(p *v1alpha1.MutualTLSPolicy, defaultAuthority string) Policy {
	return Policy{name: p.Name, spec: p.Spec, ended: p.Status.EndedExceptions, defaultAuthority: defaultAuthority}
}

// Name is that of the MutualTLSPolicy.
func (p Policy) Name() string { return p.name }

// Action says what becomes of a write that violates the policy.
func (p Policy) Action() v1alpha1.PolicyAction { return p.spec.Action }

// Judge says in what an object does not meet the policy; nothing if it meets it, if the policy
// is about others, or if it is excepted.
func (p Policy) Judge(o Object) []Violation {
	if !p.Matches(o) || p.Excepts(o) {
		return nil
	}
	var found []Violation
	for _, rule := range []func(Object) *Violation{p.mode, p.plainHTTP, p.minTLS, p.authorities} {
		if v := rule(o); v != nil {
			found = append(found, *v)
		}
	}
	return found
}

// MaxHosts is how many hosts of an object are compared with suffixes. One that has more is taken to
// have such a host: the API server bounds what an expression may cost, and would refuse the object.
const MaxHosts = 1000

// Matches reports whether the policy is about an object: all that is stated holds.
func (p Policy) Matches(o Object) bool {
	m := p.spec.Match
	hosts := o.hosts()
	return (len(m.Namespaces) == 0 || slices.Contains(m.Namespaces, o.Namespace)) &&
		contains(o.NamespaceLabels, m.NamespaceLabels) &&
		(len(m.GatewaySelector) == 0 || o.Kind == intent.KindGateway && mayReach(texts(object(o.Spec["selector"])), m.GatewaySelector)) &&
		(len(m.HostSuffixes) == 0 || o.hidesHosts() || len(hosts) > MaxHosts || slices.ContainsFunc(hosts, p.isAbout))
}

// contains reports whether a map has all of the other one.
func contains(has map[string]string, wanted map[string]v1alpha1.LabelValue) bool {
	for key, value := range wanted {
		if got, ok := has[key]; !ok || got != string(value) {
			return false
		}
	}
	return true
}

// mayReach reports whether a Gateway with a selector can apply to pods with these labels: it applies to all whose labels have
// its selector (istio/istio:pilot/pkg/model/push_context.go, mergeGateways), so only another value says that it does not.
func mayReach(selector map[string]string, pods map[string]v1alpha1.LabelValue) bool {
	for key, value := range pods {
		if got, stated := selector[key]; stated && got != string(value) {
			return false
		}
	}
	return true
}

// isAbout reports whether a canonical host ends in one of the suffixes on the boundary of a label,
// or is a wildcard that covers a name that does: that would be the way around otherwise.
func (p Policy) isAbout(host string) bool {
	wildcard, covers := strings.CutPrefix(host, "*")
	return slices.ContainsFunc(p.spec.Match.HostSuffixes, func(suffix string) bool {
		return host == suffix || strings.HasSuffix(host, "."+suffix) || covers && strings.HasSuffix("."+suffix, wildcard)
	})
}

// Excepts reports whether an exception takes an object out of the policy. A managed Gateway goes
// with the APIRule that it was made for.
func (p Policy) Excepts(o Object) bool {
	return slices.ContainsFunc(p.spec.Exceptions, func(e v1alpha1.PolicyException) bool {
		return e.Namespace == o.Namespace && (string(e.Kind) == string(o.Kind) && e.Name == o.Name || o.madeFor(e)) && !p.hasEnded(e)
	})
}

func (p Policy) hasEnded(e v1alpha1.PolicyException) bool {
	return slices.Contains(p.ended, v1alpha1.EndedException{Kind: e.Kind, Namespace: e.Namespace, Name: e.Name})
}

// madeFor reports whether an object is the managed Gateway of an APIRule. Its marks are written by
// the agent only.
func (o Object) madeFor(e v1alpha1.PolicyException) bool {
	return e.Kind == v1alpha1.ObjectAPIRule && o.Kind == intent.KindGateway && o.Labels[intent.KeyManaged] == "true" &&
		strings.HasPrefix(o.Annotations[intent.KeyOwner], fmt.Sprintf("%s/%s/%s/", intent.KindAPIRule, e.Namespace, e.Name))
}

// mode holds an object to being opted in. What it then has to be is not judged here: a mutual
// object is held to that by the backstop, whoever writes it.
func (p Policy) mode(o Object) *Violation {
	wanted := strings.ToLower(string(p.spec.Require.Mode))
	if wanted == "" || o.Kind == intent.KindGateway && !slices.ContainsFunc(o.servers(), hasTLS) {
		return nil
	}
	mode, stated := o.modeInForce()
	if mode == wanted || wanted == string(intent.ModeOptional) && mode == string(intent.ModeMutual) {
		return nil
	}
	found := "is missing"
	if stated {
		found = "asks for something else"
	}
	return &Violation{ReasonMode, "metadata.annotations[" + intent.KeyMode + "]", fmt.Sprintf("%s, expected %s: add that, or ask whoever owns the policy for an exception", found, wanted)}
}

// modeInForce is that of the object, else that of its Namespace.
func (o Object) modeInForce() (mode string, stated bool) {
	if mode, stated = o.Annotations[intent.KeyMode]; stated {
		return mode, true
	}
	return o.NamespaceLabels[intent.LabelDefaultMode], false
}

// plainHTTP holds every server of a Gateway to TLS, but for those that only send to it.
func (p Policy) plainHTTP(o Object) *Violation {
	if p.spec.Require.PlainHTTP != v1alpha1.PlainHTTPForbidden || o.Kind != intent.KindGateway {
		return nil
	}
	for i, s := range o.servers() {
		if !encrypted(s) && !redirects(s) {
			return &Violation{ReasonPlainHTTP, fmt.Sprintf("spec.servers[%d].port.protocol", i), "a server without TLS, which takes requests from everybody: expected HTTPS or TLS, or HTTP with tls.httpsRedirect: true"}
		}
	}
	return nil
}

// minTLS holds servers to a version. A server that does not end TLS shows none.
func (p Policy) minTLS(o Object) *Violation {
	wanted := p.spec.Require.MinTLS
	if wanted == "" {
		return nil
	}
	if o.Kind == intent.KindAPIRule {
		if o.ownGateway() && wanted == v1alpha1.TLS13 && o.Annotations[intent.KeyMinTLS] != string(intent.TLS13) {
			return &Violation{ReasonMinTLS, "metadata.annotations[" + intent.KeyMinTLS + "]", fmt.Sprintf("expected %s: add that, or ask whoever owns the policy for an exception", wanted)}
		}
		return nil
	}
	enough := []string{"TLSV1_3"}
	if wanted == v1alpha1.TLS12 {
		enough = []string{"TLSV1_3", "TLSV1_2", "TLS_AUTO", ""}
	}
	for i, s := range o.servers() {
		if !hasTLS(s) {
			continue
		}
		tls := object(s["tls"])
		if mode := text(tls["mode"]); mode == "PASSTHROUGH" || mode == "AUTO_PASSTHROUGH" {
			return &Violation{ReasonMinTLS, fmt.Sprintf("spec.servers[%d].tls.mode", i), fmt.Sprintf("the gateway does not end TLS here, so nothing holds callers to %s: expected MUTUAL", wanted)}
		}
		if !slices.Contains(enough, text(tls["minProtocolVersion"])) {
			return &Violation{ReasonMinTLS, fmt.Sprintf("spec.servers[%d].tls.minProtocolVersion", i), fmt.Sprintf("offers less than %s: annotate %s: %s, or write it", wanted, intent.KeyMinTLS, wanted)}
		}
	}
	return nil
}

// authorities holds an object that is opted in to the ones that are listed.
func (p Policy) authorities(o Object) *Violation {
	mode, _ := o.modeInForce()
	if len(p.spec.Require.Authorities) == 0 || mode != string(intent.ModeMutual) && mode != string(intent.ModeOptional) {
		return nil
	}
	for _, used := range p.used(o) {
		if !slices.ContainsFunc(p.spec.Require.Authorities, func(r v1alpha1.NamespacedReference) bool { return r.Namespace+"/"+r.Name == used }) {
			return &Violation{ReasonAuthority, "metadata.annotations[" + intent.KeyAuthorities + "]", "callers of an authority are accepted that the policy does not list: name one that it lists"}
		}
	}
	return nil
}

// used are the authorities of an object, <namespace>/<name> each.
func (p Policy) used(o Object) []string {
	stated, ok := o.Annotations[intent.KeyAuthorities]
	switch {
	case !ok && p.defaultAuthority != "":
		return []string{p.defaultAuthority}
	case !ok:
		return []string{o.Namespace + "/default"}
	}
	used := strings.Split(stated, ",")
	for i, name := range used {
		if used[i] = strings.TrimSpace(name); !strings.Contains(name, "/") {
			used[i] = o.Namespace + "/" + used[i]
		}
	}
	return used
}
