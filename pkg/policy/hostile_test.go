package policy

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/intent"
)

// words are values that mean something somewhere, and some that mean harm.
var words = []any{
	"", "*", "mesh", "edge", "shop/edge", "./edge", "edge.shop.svc.cluster.local", "a.example.com", "*.example.com", "./*.example.com", "shop/", "/", "..", ".",
	"orders", "orders.shop.svc.cluster.local", "orders.shop", "MUTUAL", "SIMPLE", "OPTIONAL_MUTUAL", "PASSTHROUGH", "HTTPS", "HTTP", "TLS", "TCP",
	"shop.edge.mtls", "pub.edge.mtls-cacert", ".mtls", "configmap://a/b", "a\x00b.example.com", "a\nb", "\x1b[2J", "a\u202eb", "\xff\xfe", strings.Repeat("x", 100<<10),
	true, false, int64(443), int64(-1), 8443.5, math.NaN(), math.Inf(1), float64(1 << 40), nil,
}

// fields are the names that are read.
var fields = []string{
	"servers", "hosts", "tls", "mode", "credentialName", "credentialNames", "caCertCredentialName", "insecureSkipVerify", "httpsRedirect", "port", "number", "protocol", "bind",
	"gateways", "http", "tcp", "match", "route", "destination", "host", "delegate", "name", "namespace", "exportTo", "gateway", "service", "rules", "selector",
}

func anyValue(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		n := rapid.IntRange(0, 3).Draw(t, "shape")
		if n == 0 || depth == 0 {
			return rapid.SampledFrom(words).Draw(t, "word")
		}
		if n == 1 {
			return rapid.SliceOfN(anyValue(depth-1), 0, 3).Draw(t, "list")
		}
		return anyObject(t, depth)
	})
}

func anyObject(t *rapid.T, depth int) m {
	o := m{}
	for _, key := range rapid.SliceOfNDistinct(rapid.SampledFrom(fields), 0, 5, rapid.ID).Draw(t, "fields") {
		o[key] = anyValue(depth-1).Draw(t, key)
	}
	return o
}

// disturbed is what is right, with something else put into one place of it.
func disturbed(t *rapid.T, value any) any {
	if rapid.IntRange(0, 11).Draw(t, "disturb") == 0 {
		return anyValue(2).Draw(t, "instead")
	}
	switch v := value.(type) {
	case m:
		o := m{}
		for _, key := range fields {
			if field, ok := v[key]; ok {
				o[key] = disturbed(t, field)
			}
		}
		return o
	case l:
		items := l{}
		for _, item := range v {
			items = append(items, disturbed(t, item))
			if rapid.IntRange(0, 9).Draw(t, "twice") == 0 {
				items = append(items, item)
			}
		}
		return items
	}
	return value
}

func drawSpec(t *rapid.T, right m) m {
	if rapid.IntRange(0, 5).Draw(t, "anything") == 0 {
		return anyObject(t, 5)
	}
	spec, _ := disturbed(t, right).(m)
	return spec
}

func drawWorld(t *rapid.T) World {
	w := World{ForwardedProto: rapid.Bool().Draw(t, "forwardedProto")}
	names := rapid.SampledFrom([]string{"edge", "orders", "way", "", "a\x1bb"})
	namespaces := rapid.SampledFrom([]string{"shop", "shop", "pub"})
	hosts := func() l {
		return l{rapid.SampledFrom([]any{"shop.example.com", "*.example.com", "shop/shop.example.com", "*"}).Draw(t, "host")}
	}
	for range rapid.IntRange(0, 4).Draw(t, "gateways") {
		right := m{"servers": l{
			https(rapid.SampledFrom([]string{"MUTUAL", "SIMPLE", "OPTIONAL_MUTUAL"}).Draw(t, "mode"), "shop.edge.mtls", hosts()...), https("MUTUAL", "pub", hosts()...), http(hosts()...),
		}}
		g := Gateway{Object: Object{Kind: intent.KindGateway, Namespace: namespaces.Draw(t, "namespace"), Name: names.Draw(t, "name"), Spec: drawSpec(t, right)}}
		g.Created = time.Unix(int64(rapid.IntRange(0, 2).Draw(t, "created")), 0)
		if rapid.Bool().Draw(t, "optedIn") {
			g.Annotations = map[string]string{intent.KeyMode: rapid.SampledFrom([]string{"mutual", "optional", "x\n"}).Draw(t, "annotation")}
		}
		for range rapid.IntRange(0, 4).Draw(t, "places") {
			g.Places = append(g.Places, []Place{{"public", "istio-system", "8443"}})
		}
		w.Gateways = append(w.Gateways, g)
	}
	for range rapid.IntRange(0, 4).Draw(t, "virtualServices") {
		right := vs("", "", l{"shop/edge", "pub/edge"}, hosts(), "orders.shop.svc.cluster.local", 8080).Spec
		w.VirtualServices = append(w.VirtualServices, VirtualService{Namespace: namespaces.Draw(t, "namespace"), Name: names.Draw(t, "name"), APIRule: names.Draw(t, "apirule"), Spec: drawSpec(t, right)})
	}
	for range rapid.IntRange(0, 2).Draw(t, "apirules") {
		right := apirule("", "", "shop/edge", hosts(), "orders", 8080).Spec
		o := Object{Kind: intent.KindAPIRule, Namespace: namespaces.Draw(t, "namespace"), Name: names.Draw(t, "name"), Spec: drawSpec(t, right)}
		o.Annotations = map[string]string{intent.KeyMode: "mutual"}
		w.APIRules = append(w.APIRules, o)
	}
	for range rapid.IntRange(0, 2).Draw(t, "services") {
		external := rapid.SampledFrom([]string{"", "orders.shop.svc.cluster.local", "way.pub.svc.cluster.local", "\x00"}).Draw(t, "externalName")
		w.Services = append(w.Services, Service{Namespace: namespaces.Draw(t, "namespace"), Name: names.Draw(t, "name"), ExternalName: external})
	}
	return w
}

func TestWhateverIsStoredIsReadAndTold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		p := demands(func(s *v1alpha1.MutualTLSPolicySpec) {
			s.Match = v1alpha1.PolicyMatch{}
			s.Require.Mode = rapid.SampledFrom([]v1alpha1.EndpointMode{"", "Mutual", "Mutual", "Optional"}).Draw(t, "require")
			s.Require.PlainHTTP = rapid.SampledFrom([]v1alpha1.PlainHTTP{"", "Forbidden"}).Draw(t, "plainHTTP")
		})
		found := p.Findings(NewSnapshot(w))
		for _, f := range found {
			if len(f.Message) > 1024 || len(f.Field) > 512 || f.Reason == "" || f.Kind == "" || !strings.HasPrefix(f.Field, "spec.") {
				t.Errorf("%d and %d bytes: %s", len(f.Message), len(f.Field), f)
			}
			if strings.ContainsFunc(f.Message, func(r rune) bool { return !unicode.IsGraphic(r) || r == unicode.ReplacementChar }) {
				t.Errorf("raw: %q", f.Message)
			}
		}
		if diff := cmp.Diff(found, p.Findings(NewSnapshot(shuffled(t, w)))); diff != "" && !repeats(w) {
			t.Errorf("another order, other findings:\n%s", diff)
		}
	})
}

// repeats reports whether two objects have one name: of those the first counts.
func repeats(w World) bool {
	seen := map[string]bool{}
	for i := range max(len(w.Gateways), len(w.VirtualServices), len(w.APIRules), len(w.Services)) {
		var keys []string
		if i < len(w.Gateways) {
			keys = append(keys, "g"+w.Gateways[i].Namespace+"/"+w.Gateways[i].Name)
		}
		if i < len(w.VirtualServices) {
			keys = append(keys, "v"+w.VirtualServices[i].Namespace+"/"+w.VirtualServices[i].Name)
		}
		if i < len(w.APIRules) {
			keys = append(keys, "a"+w.APIRules[i].Namespace+"/"+w.APIRules[i].Name)
		}
		if i < len(w.Services) {
			keys = append(keys, "s"+w.Services[i].Namespace+"/"+w.Services[i].Name)
		}
		for _, key := range keys {
			if seen[key] {
				return true
			}
			seen[key] = true
		}
	}
	return false
}

func shuffled(t *rapid.T, w World) World {
	w.Gateways = rapid.Permutation(w.Gateways).Draw(t, "gateways")
	w.VirtualServices = rapid.Permutation(w.VirtualServices).Draw(t, "virtualServices")
	w.APIRules = rapid.Permutation(w.APIRules).Draw(t, "apirules")
	w.Services = rapid.Permutation(w.Services).Draw(t, "services")
	return w
}

// A Gateway with many hosts finds by an index what one with few finds by comparing each.
func TestAMessageRepeatsNothingThatCouldHarmATerminalOrALog(t *testing.T) {
	for _, bad := range []string{"a\x00b", "a\nb", "\x1b[2J", "a\u202eb", "\xff\xfe", strings.Repeat("x", 100<<10), strings.Repeat("\x01", 5000), strings.Repeat("ш", 3000)} {
		w := guarded()
		w.Gateways[0].Places[0] = []Place{{bad, "istio-system", bad}}
		w.VirtualServices[0].Spec["gateways"] = l{"edge", "pub/" + bad}
		alters("credentialName", bad)(&w)
		younger := gatewayOf("pub", bad, 20, https(bad, "x", "shop.example.com", "*"))
		younger.Places = w.Gateways[0].Places
		joins(younger)(&w)
		routes(vs("pub", bad, l{bad}, l{"*"}, "orders.shop.svc.cluster.local", 8080))(&w)
		found := demands(nil).Findings(NewSnapshot(w))
		if len(found) < 3 {
			t.Errorf("%.10q: %v", bad, found)
		}
		for _, f := range found {
			if len(f.Message) > 1024 || strings.ContainsFunc(f.Message, func(r rune) bool { return !unicode.IsGraphic(r) || r == unicode.ReplacementChar }) {
				t.Errorf("%.10q: %d bytes: %q", bad, len(f.Message), f.Message)
			}
			if !strings.Contains(f.Message, ";") {
				t.Errorf("%.10q: what to do is cut off: %s", bad, f.Message)
			}
		}
	}
}

// crowd is 10,000 Gateways of which every second demands certificates, and as many VirtualServices: some of them
// share a host, some a Service, and some a Gateway.
// worst are worlds in which comparing everything with everything would show.
