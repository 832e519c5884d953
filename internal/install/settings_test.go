package install

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/sallyport/internal/ingress"
)

func TestParseReadsWhatThePlatformDecides(t *testing.T) {
	const text = `
trustDomain: example.com
defaultAuthority: platform/corporate
ingresses:
- name: public
  namespace: istio-system
  selector: {istio: ingressgateway}
- name: partners
  namespace: edge
  selector: {app: gw, tier: partner}
  proxyProtocol: true
- name: internal
  namespace: istio-system
  selector: {istio: internal}
copyAnnotations: [dns.gardener.cloud/*, example.com/owner]
`
	s, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if s.TrustDomain() != "example.com" {
		t.Errorf("trust domain: %q", s.TrustDomain())
	}
	if authority, ok := s.DefaultAuthority(); !ok || authority != (types.NamespacedName{Namespace: "platform", Name: "corporate"}) {
		t.Errorf("default authority: %v %t", authority, ok)
	}
	want := []ingress.Ingress{
		{Name: "public", Namespace: "istio-system", Selector: map[string]string{"istio": "ingressgateway"}},
		{Name: "partners", Namespace: "edge", Selector: map[string]string{"app": "gw", "tier": "partner"}, ProxyProtocol: true},
		{Name: "internal", Namespace: "istio-system", Selector: map[string]string{"istio": "internal"}},
	}
	if diff := cmp.Diff(want, s.Ingresses()); diff != "" {
		t.Errorf("ingresses (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"istio-system", "edge"}, s.IngressNamespaces()); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
	for key, copied := range map[string]bool{
		"dns.gardener.cloud/class": true,
		"example.com/owner":        true,
		"example.com/owners":       false,
		"dns.gardener.cloud":       false,
		"xdns.gardener.cloud/a":    false,
		"dns.gardener.cloud.x/a":   false,
	} {
		if s.CopyAnnotations().Match(key) != copied {
			t.Errorf("annotation %s: copied is %t", key, !copied)
		}
	}
}

func TestParseNeedsOnlyATrustDomain(t *testing.T) {
	s, err := Parse([]byte("trustDomain: example.com\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []ingress.Ingress{{Name: "default", Namespace: "istio-system", Selector: map[string]string{"istio": "ingressgateway"}}}
	if diff := cmp.Diff(want, s.Ingresses()); diff != "" {
		t.Errorf("ingresses (-want +got):\n%s", diff)
	}
	if authority, ok := s.DefaultAuthority(); ok {
		t.Errorf("default authority %v out of nothing", authority)
	}
}

func TestParseNamesTheFieldThatIsWrong(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"nothing at all":           {"", `trustDomain: Required value: the SPIFFE trust domain of the identities this install issues, such as "example.com"`},
		"trust domain as a URI":    {"trustDomain: spiffe://x", `trustDomain: Invalid value: "spiffe://x": must consist of lower-case letters, digits, '.', '-' and '_'; found ':'`},
		"upper case trust domain":  {"trustDomain: Example.com", `trustDomain: Invalid value: "Example.com": must consist of lower-case letters, digits, '.', '-' and '_'; found 'E'`},
		"long trust domain":        {"trustDomain: " + strings.Repeat("a", 256), "trustDomain: Too long: may not be more than 255 bytes"},
		"unknown key":              {"trustDomain: a\ntrustdomain: b", `unknown field "trustdomain"`},
		"key given twice":          {"trustDomain: a\ntrustDomain: b", `already set in map`},
		"authority without a home": {"trustDomain: a\ndefaultAuthority: x", `defaultAuthority: Invalid value: "x": must be <namespace>/<name> of a CertificateAuthority`},
		"authority in a path":      {"trustDomain: a\ndefaultAuthority: ../x", `defaultAuthority: Invalid value: "../x": ".." is not a namespace name`},
		"authority with slashes":   {"trustDomain: a\ndefaultAuthority: a/b/c", `defaultAuthority: Invalid value: "a/b/c": "b/c" is not an object name`},
		"no ingress":               {"trustDomain: a\ningresses: []", "ingresses: Required value: must name at least one ingress; leave the key out for the default (istio-system, istio=ingressgateway)"},
		"ingress without anything": {"trustDomain: a\ningresses: [{}]", "ingresses[0].name: Required value: a DNS label\ningresses[0].namespace: Required value: a DNS label\ningresses[0].selector: Required value: the labels its gateway pods carry, such as istio: ingressgateway"},
		"bad selector":             {"trustDomain: a\ningresses: [{name: a, namespace: b, selector: {'a b': '-'}}]", "ingresses[0].selector[a b]: Invalid value: \"a b\": not a label name"},
		"two of one name":          {"trustDomain: a\ningresses: [{name: a, namespace: b, selector: {c: d}}, {name: a, namespace: b, selector: {c: e}}]", `ingresses[1].name: Duplicate value: "a"`},
		"copying everything":       {"trustDomain: a\ncopyAnnotations: ['*']", `copyAnnotations[0]: Invalid value: "*": must be an annotation key, or <prefix>/* for all keys of one prefix`},
		"copying our own":          {"trustDomain: a\ncopyAnnotations: [mtls.sallyport.dev/mode]", `copyAnnotations[0]: Invalid value: "mtls.sallyport.dev/mode": annotations under mtls.sallyport.dev/ are not copied: they mean something on the object they were written on only`},
		"no YAML":                  {"{", "reading install settings: "},
		"a list":                   {"- a", "reading install settings: "},
		"too much":                 {strings.Repeat("#", maxSize+1), "reading install settings: 49153 bytes, at most 49152 are read"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(tt.text))
			if err == nil {
				t.Fatal("was taken")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %s\nwant %s", err, tt.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("trustDomain: example.com\ningresses: [{name: a, namespace: b, selector: {c: d}}]\ncopyAnnotations: [x/*]"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse(data)
		if err == nil && (s.TrustDomain() == "" || len(s.Ingresses()) == 0) {
			t.Errorf("settings without trust domain or ingress out of %q", data)
		}
	})
}
