package sequence

import (
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/intent"
)

// policy is one that nobody thought of, about a namespace.
func (p *player) policy(name, namespace string) *v1alpha1.MutualTLSPolicy {
	spec := v1alpha1.MutualTLSPolicySpec{
		Action: pick(p, v1alpha1.ActionDeny, v1alpha1.ActionDeny, v1alpha1.ActionWarn, v1alpha1.ActionWarn, v1alpha1.ActionAudit),
		Match:  v1alpha1.PolicyMatch{Namespaces: pick(p, []string{namespace}, []string{"elsewhere", namespace})},
	}
	if p.IntN(20) == 0 {
		spec.Match.Namespaces = []string{"elsewhere"}
	}
	if p.IntN(4) == 0 {
		spec.Match.NamespaceLabels = pick(p, map[string]v1alpha1.LabelValue{"team": "blue"}, map[string]v1alpha1.LabelValue{"team": "red", "more": ""})
	}
	if p.IntN(4) == 0 {
		spec.Match.GatewaySelector = pick(p, map[string]v1alpha1.LabelValue{"istio": "ingressgateway"}, map[string]v1alpha1.LabelValue{"istio": "ingressgateway", "app": "x"})
	}
	if p.IntN(3) == 0 {
		spec.Match.HostSuffixes = pick(p, []string{"shop.example.com"}, []string{"example.com"}, []string{"corp", "a.shop.example.com"}, []string{"com"})
	}
	spec.Require.Mode = pick(p, "", v1alpha1.ModeMutual, v1alpha1.ModeMutual, v1alpha1.ModeOptional)
	spec.Require.MinTLS = pick(p, "", "", v1alpha1.TLS12, v1alpha1.TLS13)
	spec.Require.PlainHTTP = pick(p, v1alpha1.PlainHTTPAllowed, v1alpha1.PlainHTTPForbidden)
	if spec.Require.Mode != "" && p.IntN(2) == 0 {
		spec.Require.Authorities = pick(p, []v1alpha1.NamespacedReference{{Namespace: namespace, Name: "corp"}},
			[]v1alpha1.NamespacedReference{{Namespace: namespace, Name: "default"}, {Namespace: "platform", Name: "corp"}},
			[]v1alpha1.NamespacedReference{{Namespace: namespace, Name: "corp"}, {Namespace: "platform", Name: "corp"}, {Namespace: namespace, Name: "default"}})
	}
	if spec.Require.Mode == "" && spec.Require.MinTLS == "" {
		spec.Require.PlainHTTP = v1alpha1.PlainHTTPForbidden
	}
	made := &v1alpha1.MutualTLSPolicy{
		TypeMeta: metav1.TypeMeta{APIVersion: "mtls.sallyport.dev/v1alpha1", Kind: "MutualTLSPolicy"}, ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec,
	}
	p.except(made, namespace)
	if p.IntN(2) == 0 {
		made.Labels = map[string]string{ourPrefix + "action": string(spec.Action), ourPrefix + "opt-in": strconv.FormatBool(spec.OptIn)}
	}
	return made
}

// except leaves some objects alone, of which some not any more.
func (p *player) except(made *v1alpha1.MutualTLSPolicy, namespace string) {
	for _, name := range names {
		for _, kind := range []v1alpha1.ObjectKind{v1alpha1.ObjectGateway, v1alpha1.ObjectAPIRule} {
			if p.IntN(8) > 0 {
				continue
			}
			in := pick(p, namespace, namespace, namespace, "elsewhere")
			made.Spec.Exceptions = append(made.Spec.Exceptions, v1alpha1.PolicyException{Kind: kind, Namespace: in, Name: name, ExpirationTime: metav1.Now(), Reason: "to see"})
			if p.IntN(2) == 0 {
				made.Status.EndedExceptions = append(made.Status.EndedExceptions, v1alpha1.EndedException{Kind: kind, Namespace: in, Name: name})
			}
		}
	}
}

// vary mostly makes an object one that nothing but a MutualTLSPolicy minds, and always gives it hosts and a
// selector that policies speak of.
func (w *world) vary(p *player, o *unstructured.Unstructured) {
	if w == nil {
		return
	}
	if p.IntN(4) > 0 {
		p.plausible(o)
	}
	spec := table(o.Object, "spec")
	if p.kind == "APIRule" {
		host := pick(p, "a.example.com", "pay.shop.example.com", "orders", "evilexample.com", "x.corp")
		if _, old := spec["host"]; old {
			spec["host"] = host
		} else {
			spec["hosts"] = []any{host}
		}
		return
	}
	servers, _ := spec["servers"].([]any)
	for _, s := range servers {
		if server, _ := s.(map[string]any); p.IntN(2) == 0 {
			server["hosts"] = pick(p, []any{"shop.example.com"}, []any{"SHOP.Example.com"}, []any{"*.shop.example.com"}, []any{"*.com"}, []any{"evilshop.example.com"}, []any{"shop.example.com.evil.io"},
				[]any{"./pay.shop.example.com", "x.corp"}, []any{"*/a.shop.example.com."}, []any{"CORP"})
		}
	}
	spec["selector"] = pick(p, map[string]any{"istio": "ingressgateway"}, map[string]any{"istio": "ingressgateway", "app": "x"}, map[string]any{"istio": "other"}, map[string]any{"app": "x"}, map[string]any{})
	if p.IntN(6) == 0 {
		delete(spec, "selector")
	}
}

// plausible gives an object what somebody may well write, opted in or not.
func (p *player) plausible(o *unstructured.Unstructured) {
	asked := map[string]string{}
	mode := pick(p, "mutual", "mutual", "mutual", "optional", "disabled", "")
	if mode != "" {
		asked[ourPrefix+"mode"] = mode
	}
	if mode != "" || p.in.labels[intent.LabelDefaultMode] != "" {
		if authorities := pick(p, "", "corp", "corp, platform/corp"); authorities != "" && (p.kind == "Gateway" || authorities == "corp") {
			asked[ourPrefix+"authorities"] = authorities
		}
		if least := pick(p, "", "TLSv1.2", "TLSv1.3", "TLSv1.3"); least != "" {
			asked[ourPrefix+"min-tls"] = least
		}
	}
	if p.kind == "APIRule" && p.IntN(6) == 0 {
		asked["gateway.kyma-project.io/original-version"] = "v1beta1"
		asked["gateway.kyma-project.io/v1beta1-spec"] = strconv.Itoa(p.IntN(3))
	}
	o.SetAnnotations(asked)
	if p.kind == "APIRule" {
		spec := p.rule()
		spec["rules"] = []any{map[string]any{"path": "/*", "methods": []any{"GET"}, "noAuth": true}}
		spec["gateway"] = pick(p, "shop/edge", p.at.namespace+"/"+p.at.name+"-mtls", p.at.name+"-mtls."+p.at.namespace+".svc.cluster.local")
		delete(spec, "externalGateway")
		o.Object["spec"] = spec
		return
	}
	o.Object["spec"] = p.plausibleGateway(asked)
}

// plausibleGateway is complete where something asks for it.
func (p *player) plausibleGateway(asked map[string]string) map[string]any {
	settings := map[string]any{"mode": pick(p, "SIMPLE", "MUTUAL", "PASSTHROUGH"), "credentialName": "own"}
	if settings["mode"] != "PASSTHROUGH" && p.IntN(2) == 0 {
		settings["minProtocolVersion"] = pick(p, "TLS_AUTO", "TLSV1_0", "TLSV1_2", "TLSV1_3")
	}
	mode := asked[ourPrefix+"mode"]
	if mode == "" {
		mode = p.in.labels[intent.LabelDefaultMode]
	}
	if mutual := map[string]string{"mutual": "MUTUAL", "optional": "OPTIONAL_MUTUAL"}[mode]; mutual != "" {
		settings["mode"], settings["minProtocolVersion"] = mutual, "TLSV1_2"
		if asked[ourPrefix+"min-tls"] == "TLSv1.3" {
			settings["minProtocolVersion"] = "TLSV1_3"
		}
	}
	servers := []any{map[string]any{
		"port": map[string]any{"number": int64(443), "name": "https", "protocol": pick(p, "HTTPS", "https", "TLS")}, "hosts": []any{"a.example.com"}, "tls": settings,
	}}
	if p.IntN(4) == 0 {
		plain := map[string]any{"port": map[string]any{"number": int64(80), "name": "plain", "protocol": pick(p, "HTTP", "http2", "TCP")}, "hosts": []any{"a.example.com"}}
		if p.IntN(2) == 0 {
			plain["tls"] = map[string]any{"httpsRedirect": pick(p, true, true, false)}
		}
		servers = pick(p, []any{plain}, append(servers, plain))
	}
	return map[string]any{"servers": servers}
}
