package mutate

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"sallyport.dev/sallyport/pkg/intent"
)

// APIRule decides about a Kyma APIRule that is about to be stored by anybody but
// the agent.
func APIRule(r Request) Decision {
	if r.unchanged() {
		return allowed(ReasonUnchanged)
	}
	if converted(r.Object) {
		return allowed(ReasonConversion)
	}
	if d, done := r.preliminary(intent.KindAPIRule); done {
		return d
	}
	in, _ := intent.Parse(described(intent.KindAPIRule, r.Object), r.Platform).Intent()
	if external := object(r.Object["spec"])["externalGateway"]; external != nil && external != "" {
		return denied(ReasonGateway, "spec.externalGateway: found %.200s, whose Gateway is owned by Kyma's operator, which would take every change back: use spec.gateway, or leave both out and a Gateway is made", render(external))
	}
	p := newPatch(r.Object)
	mode := in.Mode()
	var warnings []string
	target, denial := r.target(in)
	if denial != nil {
		return *denial
	}
	if target.managed {
		p.set(target.spelling, "spec", "gateway")
	} else {
		mode, warnings = target.mode, target.warnings
	}
	if in.FromNamespace() {
		p.set(string(mode), "metadata", "annotations", intent.KeyMode)
	}
	if violation := p.headers(in, r.previousHeaders()); violation != nil {
		return denied(ReasonHeaders, "%s", violation)
	}
	if version(r.Object) == "v1beta1" {
		_, _, namespace, _ := metadata(r.Object)
		_, name, _ := GatewayOf(p.object)
		warnings = append(warnings, fmt.Sprintf("APIRule v1beta1 is deprecated; in v2 the Gateway is written as gateway: %s/%s", namespace, name))
	}
	return p.decide(warnings, func() string { return target.injected })
}

// originalVersion is Kyma's annotation that says in which version an object was
// written.
const originalVersion = "gateway.kyma-project.io/original-version"

// converted reports whether this is the form that Kyma's conversion gives to an old
// object that it cannot convert: it has no rules, and writing it back would lose
// the original. Anybody can carry the annotation, so the rules decide as well.
func converted(apirule map[string]any) bool {
	annotations, _, _, _ := metadata(apirule)
	return annotations[originalVersion] == "v1beta1" && version(apirule) != "v1beta1" && len(list(object(apirule["spec"])["rules"])) == 0
}

func version(o map[string]any) string {
	_, v, _ := strings.Cut(text(o["apiVersion"]), "/")
	return v
}

// target is the Gateway an APIRule ends up on.
type target struct {
	managed  bool
	spelling string
	injected string
	// mode and warnings of a Gateway that the user named.
	mode     intent.Mode
	warnings []string
}

// target finds the Gateway, or says why the one that is named cannot be used.
func (r Request) target(in intent.Intent) (target, *Decision) {
	_, _, namespace, name := metadata(r.Object)
	gatewayNamespace, gateway, named := GatewayOf(r.Object)
	managedName, nameErr := intent.ManagedGatewayName(name)
	if named && !isKymaGateway(gatewayNamespace, gateway) && (gatewayNamespace != namespace || gateway != managedName || nameErr != nil) {
		return r.named(in, gatewayNamespace, gateway)
	}
	if len(hostsOf(r.Object)) == 0 {
		d := denied(ReasonGateway, "spec.hosts: is empty: write the host to protect, such as orders.example.com")
		return target{}, &d
	}
	if nameErr != nil {
		d := denied(ReasonName, "metadata.name: %s", nameErr)
		return target{}, &d
	}
	for i, host := range hostsOf(r.Object) {
		at := fmt.Sprintf("spec.hosts[%d]", i)
		if version(r.Object) == "v1beta1" {
			at = "spec.host"
		}
		if !strings.Contains(host, ".") {
			d := denied(ReasonGateway, "%s: found %.63q, which is short, and a Gateway that is made for one APIRule has no domain to complete it with: write the full host, or name a Gateway in spec.gateway", at, host)
			return target{}, &d
		}
		if !issuable(intent.CanonicalHost(host)) {
			d := denied(ReasonGateway, "%s: found %.300q, which no server certificate can be issued for: %s", at, host, wayToName(intent.CanonicalHost(host)))
			return target{}, &d
		}
	}
	if stored, found := r.gateway(namespace, managedName); found && !managedFor(stored, namespace, name) {
		d := denied(ReasonGateway, "metadata.name: the Gateway for this APIRule would be %s/%s, which exists and was not made for it: rename one of the two, or name a Gateway in spec.gateway", namespace, managedName)
		return target{}, &d
	}
	spelling := namespace + "/" + managedName
	if version(r.Object) == "v1beta1" {
		spelling = managedName + "." + namespace + ".svc.cluster.local"
	}
	return target{managed: true, spelling: spelling, injected: fmt.Sprintf(
		"mutual TLS (%s): wrote spec.gateway: %s, a Gateway that is made for this APIRule; commit that line to see no drift", in.Mode(), spelling)}, nil
}

// named judges a Gateway that the user chose.
func (r Request) named(in intent.Intent, namespace, name string) (target, *Decision) {
	deny := func(format string, arguments ...any) (target, *Decision) {
		d := denied(ReasonGateway, "spec.gateway: "+format, arguments...)
		return target{}, &d
	}
	if len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0 {
		return deny("found %.150q, expected <namespace>/<name> of a Gateway", text(object(r.Object["spec"])["gateway"]))
	}
	if key := gatewayLevelKey(r.Object); key != "" {
		return deny("%s is set by the annotations of Gateway %s/%s, not by those of an APIRule that uses it: move it there", key, namespace, name)
	}
	stored, found := r.gateway(namespace, name)
	if !found {
		return target{mode: in.Mode(), injected: fmt.Sprintf("mutual TLS (%s) on Gateway %s/%s", in.Mode(), namespace, name), warnings: []string{
			fmt.Sprintf("Gateway %s/%s does not exist yet: it has to ask for %s itself, and is judged when it appears", namespace, name, intent.KeyMode)}}, nil
	}
	if annotations, labels, _, _ := metadata(stored); labels[intent.KeyManaged] == "true" {
		return deny("Gateway %s/%s is made for another object (%s): leave spec.gateway out, or name a Gateway of your own", namespace, name, annotations[intent.KeyOwner])
	}
	theirs, ok := intent.Parse(described(intent.KindGateway, stored), intent.Platform{TrustDomain: r.Platform.TrustDomain, DefaultAuthority: r.Platform.DefaultAuthority}).Intent()
	if !ok {
		return deny("Gateway %s/%s does not ask for mutual TLS: annotate it with %s: %s, or leave spec.gateway out and a Gateway is made", namespace, name, intent.KeyMode, in.Mode())
	}
	if theirs.Mode() != in.Mode() && (theirs.Mode() == intent.ModeOptional || !in.FromNamespace()) {
		return deny("Gateway %s/%s is %s and this APIRule asks for %s: change one of the two", namespace, name, theirs.Mode(), in.Mode())
	}
	if violations := Mutual(stored, theirs, r.Capabilities); len(violations) > 0 {
		return deny("Gateway %s/%s asks for mutual TLS and is stored without it: %s", namespace, name, join(violations))
	}
	return target{mode: theirs.Mode(), injected: fmt.Sprintf("mutual TLS (%s) on Gateway %s/%s", theirs.Mode(), namespace, name)}, nil
}

// gatewayLevelKey names a key of the APIRule that means something on a Gateway only.
func gatewayLevelKey(apirule map[string]any) string {
	annotations, _, _, _ := metadata(apirule)
	for _, key := range sortedKeys(annotations) {
		switch key {
		case intent.KeyAuthorities, intent.KeyAllowedClients, intent.KeyMinTLS, intent.KeyKeyAlgorithm, intent.KeyCertificateLifetime, intent.KeyServerCertificate, intent.KeyServerCredentialName:
			return key
		}
	}
	return ""
}

func (r Request) gateway(namespace, name string) (map[string]any, bool) {
	if r.Edge == nil {
		return nil, false
	}
	return r.Edge.Gateway(namespace, name)
}

func isKymaGateway(namespace, name string) bool {
	return namespace == "kyma-system" && name == "kyma-gateway"
}

func managedFor(gateway map[string]any, namespace, apirule string) bool {
	annotations, labels, _, _ := metadata(gateway)
	owner, err := intent.ParseOwner(annotations[intent.KeyOwner])
	return err == nil && labels[intent.KeyManaged] == "true" && owner.Same(intent.Owner{Kind: string(intent.KindAPIRule), Namespace: namespace, Name: apirule})
}

// GatewayOf is the Gateway that an APIRule names, in any spelling that Kyma has
// taken: namespace/name, name.namespace with or without .svc.cluster.local, and a
// bare name in the APIRule's namespace. False if it names none.
func GatewayOf(apirule map[string]any) (namespace, name string, ok bool) {
	spelled := text(object(apirule["spec"])["gateway"])
	if spelled == "" {
		return "", "", false
	}
	if namespace, name, ok = strings.Cut(spelled, "/"); ok {
		return namespace, name, true
	}
	spelled = strings.TrimSuffix(strings.TrimSuffix(spelled, ".cluster.local"), ".svc")
	if name, namespace, ok = strings.Cut(spelled, "."); ok {
		return namespace, name, true
	}
	_, _, own, _ := metadata(apirule)
	return own, spelled, true
}

// hostsOf are the hosts of an APIRule of any version.
func hostsOf(apirule map[string]any) []string {
	spec := object(apirule["spec"])
	if host := text(spec["host"]); host != "" {
		return []string{host}
	}
	return texts(spec["hosts"])
}

// previousHeaders are the headers that the predecessor's annotations made us write.
func (r Request) previousHeaders() map[string]string {
	if r.Old == nil {
		return nil
	}
	in, ok := intent.Parse(described(intent.KindAPIRule, r.Old), r.Platform).Intent()
	if !ok {
		return nil
	}
	return headersFor(in.ClientHeaders())
}

// ManagedGateway is the Gateway that is made for an APIRule: one server on port
// 443, mutual as the APIRule asks. It has the APIRule's keys, so that everything
// that reads a Gateway reads the same wish from it.
func ManagedGateway(apirule map[string]any, in intent.Intent, selector, copied map[string]string, owner intent.Owner, c Capabilities) map[string]any {
	annotations, _, namespace, name := metadata(apirule)
	gateway, _ := intent.ManagedGatewayName(name) // judged before the APIRule was stored
	carried := map[string]any{intent.KeyOwner: owner.String(), intent.KeyMode: string(in.Mode())}
	for key, value := range copied {
		carried[key] = value
	}
	for _, key := range []string{intent.KeyAuthorities, intent.KeyServerCertificate, intent.KeyAllowedClients, intent.KeyMinTLS, intent.KeyKeyAlgorithm, intent.KeyCertificateLifetime} {
		if value, ok := annotations[key]; ok {
			carried[key] = value
		}
	}
	labels := map[string]any{}
	for key, value := range selector {
		labels[key] = value
	}
	p := newPatch(map[string]any{
		"apiVersion": "networking.istio.io/v1",
		"kind":       "Gateway",
		"metadata": map[string]any{
			"namespace": namespace, "name": gateway, "annotations": carried,
			"labels": map[string]any{intent.KeyManaged: "true"},
			"ownerReferences": []any{map[string]any{
				"apiVersion": text(apirule["apiVersion"]), "kind": string(intent.KindAPIRule), "name": name, "uid": owner.UID, "controller": true,
			}},
		},
		"spec": map[string]any{
			"selector": labels,
			"servers": []any{map[string]any{
				"port":  map[string]any{"number": int64(443), "name": "https", "protocol": "HTTPS"},
				"hosts": anys(hostsOf(apirule)),
			}},
		},
	})
	p.inject(server{raw: map[string]any{}}, settingsOf(in, namespace, gateway), c)
	return p.object
}
