package mutate

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"pgregory.net/rapid"

	"sallyport.dev/sallyport/pkg/intent"
)

// anything draws a JSON value that no module of ours knows.
func anything(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		switch n := rapid.IntRange(0, 5).Draw(t, "shape"); {
		case n == 0:
			return rapid.Bool().Draw(t, "bool")
		case n == 1:
			return float64(rapid.IntRange(-5, 5).Draw(t, "number"))
		case n == 2 || depth == 0:
			return rapid.StringMatching(`[a-z~/ ]{0,6}`).Draw(t, "text")
		case n == 3:
			return anys(rapid.SliceOfN(rapid.StringMatching(`[a-z]{0,3}`), 0, 3).Draw(t, "list"))
		}
		m := map[string]any{}
		for _, key := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z~/]{1,6}`), 0, 3, rapid.ID).Draw(t, "keys") {
			m[key] = anything(depth-1).Draw(t, key)
		}
		return m
	})
}

// strange adds fields nobody knows to an object.
func strange(t *rapid.T, m map[string]any) map[string]any {
	for _, key := range rapid.SliceOfN(rapid.StringMatching(`x-[a-z~/]{1,6}`), 0, 2).Draw(t, "unknown") {
		m[key] = anything(2).Draw(t, key)
	}
	return m
}

func maybe(t *rapid.T, m map[string]any, key string, values ...any) {
	if n := rapid.IntRange(0, 2*len(values)).Draw(t, key); n < len(values) {
		m[key] = values[n]
	}
}

func annotations(t *rapid.T, kind intent.Kind) map[string]any {
	a := map[string]any{intent.KeyMode: rapid.SampledFrom([]any{"mutual", "mutual", "mutual", "optional", "disabled"}).Draw(t, "mode")}
	maybe(t, a, intent.KeyMinTLS, "TLSv1.2", "TLSv1.3")
	maybe(t, a, intent.KeyAllowedClients, "client/a", "api.example.com,spiffe://b/c")
	maybe(t, a, "example.com/a~b", "x")
	if kind == intent.KindAPIRule {
		maybe(t, a, intent.KeyClientHeaders, "uri", "subject,dns,serial")
	}
	return a
}

func gateways(t *rapid.T) map[string]any {
	servers := make([]any, rapid.IntRange(1, 3).Draw(t, "servers"))
	for i := range servers {
		s := strange(t, map[string]any{
			"port":  strange(t, map[string]any{"number": float64(440 + i), "protocol": rapid.SampledFrom([]any{"HTTPS", "https", "TLS", "HTTPS", "HTTP"}).Draw(t, "protocol")}),
			"hosts": []any{rapid.SampledFrom([]any{"a.example.com", "*.example.com", "ns/b.example.com", "B.example.com."}).Draw(t, "host")},
		})
		if rapid.Bool().Draw(t, "tls") {
			tls := strange(t, map[string]any{})
			maybe(t, tls, "mode", "SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL", "PASSTHROUGH")
			maybe(t, tls, "credentialName", "mine", "shop.edge.mtls", "x-cacert")
			maybe(t, tls, "caCertCredentialName", "mine-cacert", "shop.edge.mtls-cacert")
			maybe(t, tls, "minProtocolVersion", "TLSV1_2", "TLSV1_3")
			maybe(t, tls, "cipherSuites", []any{"AES128-SHA"})
			s["tls"] = tls
		}
		servers[i] = s
	}
	return strange(t, map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
		"metadata": map[string]any{"name": "edge", "namespace": "shop", "annotations": annotations(t, intent.KindGateway)},
		"spec":     strange(t, map[string]any{"selector": map[string]any{"istio": "ingressgateway"}, "servers": servers}),
	})
}

func apirules(t *rapid.T) map[string]any {
	rules := make([]any, rapid.IntRange(1, 3).Draw(t, "rules"))
	for i := range rules {
		rule := strange(t, map[string]any{"path": "/*"})
		if rapid.Bool().Draw(t, "request") {
			request := strange(t, map[string]any{})
			maybe(t, request, "headers", map[string]any{"X-Mine": "a"}, map[string]any{"X-Client-Cert-Uri": "a"})
			rule["request"] = request
		}
		rules[i] = rule
	}
	spec := strange(t, map[string]any{"hosts": []any{"a.example.com"}, "rules": rules})
	maybe(t, spec, "gateway", "kyma-system/kyma-gateway", "shop/orders-mtls", "other/later")
	return strange(t, map[string]any{
		"apiVersion": "gateway.kyma-project.io/" + rapid.SampledFrom([]string{"v2", "v2alpha1"}).Draw(t, "version"), "kind": "APIRule",
		"metadata": map[string]any{"name": "orders", "namespace": "shop", "annotations": annotations(t, intent.KindAPIRule)}, "spec": spec,
	})
}

// unowned is an object without anything that a patch may touch.
func unowned(o map[string]any) map[string]any {
	o = runtime.DeepCopyJSON(o)
	if a := object(object(o["metadata"])["annotations"]); a != nil {
		delete(a, intent.KeyMode)
	}
	spec := object(o["spec"])
	delete(spec, "gateway")
	for _, s := range list(spec["servers"]) {
		tls := object(object(s)["tls"])
		for _, field := range []string{"mode", "credentialName", "caCertCredentialName", "minProtocolVersion", "subjectAltNames"} {
			delete(tls, field)
		}
		if len(tls) == 0 {
			delete(object(s), "tls")
		}
	}
	for _, rule := range list(spec["rules"]) {
		request := object(object(rule)["request"])
		headers := object(request["headers"])
		for _, h := range identityHeaders {
			delete(headers, h.header)
		}
		if len(headers) == 0 {
			delete(request, "headers")
		}
		if len(request) == 0 {
			delete(object(rule), "request")
		}
	}
	return o
}

func TestEveryPatch(t *testing.T) {
	for kind, draw := range map[intent.Kind]func(*rapid.T) map[string]any{intent.KindGateway: gateways, intent.KindAPIRule: apirules} {
		t.Run(string(kind), rapid.MakeCheck(func(t *rapid.T) {
			o := draw(t)
			p := pair{kind: kind, request: Request{
				Object: o, Platform: intent.Platform{TrustDomain: "example.com"}, Edge: edge{},
				Capabilities: Capabilities{CACertCredentialName: rapid.Bool().Draw(t, "caName")},
			}}
			if rapid.Bool().Draw(t, "update") {
				p.request.Old = draw(t)
			}
			before := runtime.DeepCopyJSON(o)
			d := p.decide(o)
			checkPatch(t, p, d)
			if diff := cmp.Diff(before, o); diff != "" {
				t.Errorf("the object that was given changed:\n%s", diff)
			}
			result, err := Apply(o, d.Operations)
			if err != nil {
				t.Fatalf("%v", err)
			}
			if diff := cmp.Diff(unowned(o), unowned(result)); diff != "" {
				t.Errorf("a field that is not ours changed:\n%s", diff)
			}
			if first, second := encoded(t, d), encoded(t, p.decide(o)); first != second {
				t.Errorf("the same input gave\n%s\nand\n%s", first, second)
			}
		}))
	}
}

func encoded(t failer, d Decision) string {
	raw, err := json.Marshal(decision(d))
	if err != nil {
		t.Fatalf("%v", err)
	}
	return string(raw)
}

func TestManagedGatewayIsMutualFromTheFirstDay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		apirule := apirules(t)
		in, ok := intent.Parse(described(intent.KindAPIRule, apirule), intent.Platform{TrustDomain: "example.com"}).Intent()
		if !ok {
			t.Skip("opts out")
		}
		c := Capabilities{CACertCredentialName: rapid.Bool().Draw(t, "caName")}
		owner := intent.Owner{Kind: "APIRule", Namespace: "shop", Name: "orders", UID: "1"}
		gateway := ManagedGateway(apirule, in, map[string]string{"istio": "ingressgateway"}, map[string]string{"dns.example.com/class": "x"}, owner, c)
		theirs, ok := intent.Parse(described(intent.KindGateway, gateway), intent.Platform{TrustDomain: "example.com"}).Intent()
		if !ok {
			t.Fatalf("its annotations cannot be read: %v", gateway["metadata"])
		}
		if violations := Mutual(gateway, theirs, c); len(violations) > 0 || theirs.Mode() != in.Mode() {
			t.Errorf("mode %s, violations %v", theirs.Mode(), violations)
		}
		if !managedFor(gateway, "shop", "orders") {
			t.Errorf("it is not marked: %v", gateway["metadata"])
		}
	})
}

func FuzzDecide(f *testing.F) {
	f.Add([]byte(`{"kind":"Gateway","metadata":{"annotations":{"mtls.sallyport.dev/mode":"mutual"}},"spec":{"servers":[null,{"tls":1},{"hosts":[1]}]}}`), []byte(`{}`))
	f.Add([]byte(`{"metadata":{"annotations":{"mtls.sallyport.dev/mode":"mutual","mtls.sallyport.dev/client-headers":"uri"}},"spec":{"rules":[1,{"request":[]}]}}`), []byte(`null`))
	f.Fuzz(func(t *testing.T, raw, old []byte) {
		var o, before map[string]any
		if json.Unmarshal(raw, &o) != nil || json.Unmarshal(old, &before) != nil {
			t.Skip("not a JSON object")
		}
		r := Request{Object: o, Old: before, Platform: intent.Platform{TrustDomain: "example.com"}, Edge: edge{}}
		for _, d := range []Decision{Gateway(r), APIRule(r)} {
			if d.Verdict == Denied && d.Message == "" {
				t.Errorf("denied without a message: %+v", d)
			}
		}
	})
}
