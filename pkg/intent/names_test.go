package intent

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

func TestCheckNameSaysWhyNothingCanBeNamedAfterAnObject(t *testing.T) {
	tests := map[string]struct {
		kind            Kind
		namespace, name string
		want            string
	}{
		"an ordinary Gateway":               {KindGateway, "shop", "edge", ""},
		"an ordinary APIRule":               {KindAPIRule, "shop", "orders", ""},
		"a Gateway whose name has dots":     {KindGateway, "shop", "a.b.c", ""},
		"the longest Gateway":               {KindGateway, "shop", strings.Repeat("a", 235), ""},
		"a Gateway that is one longer":      {KindGateway, "shop", strings.Repeat("a", 236), "namespace and name of the Gateway have 241 characters together, at most 240 leave room for the names of its Secrets: choose a shorter name"},
		"the longest APIRule":               {KindAPIRule, "shop", strings.Repeat("a", 245), ""},
		"an APIRule that is one longer":     {KindAPIRule, "shop", strings.Repeat("a", 246), "the name of the APIRule has 246 characters, at most 245 leave room for the name of its MutualTLSEndpoint: choose a shorter name"},
		"a Gateway that waits for its name": {KindGateway, "shop", "", "metadata.name is empty: Secrets and a MutualTLSEndpoint are named after the Gateway, and with generateName its name is not known at admission; write a name"},
		"a name that climbs":                {KindGateway, "shop", "../x", `"shop/../x" is not the namespace and name of an object that can be stored`},
		"a name that hides":                 {KindAPIRule, "shop", "x\u202e\n", `"shop/x\u202e\n" is not the namespace and name of an object that can be stored`},
		"a namespace with a dot":            {KindGateway, "shop.edge", "x", `"shop.edge/x" is not the namespace and name of an object that can be stored`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			found := ""
			if err := CheckName(test.kind, test.namespace, test.name); err != nil {
				found = err.Error()
			}
			if found != test.want {
				t.Errorf("found\n%s\nexpected\n%s", found, test.want)
			}
		})
	}
}

func TestNamesOfTheLongestObjectsFit(t *testing.T) {
	gateway := strings.Repeat("a", 235)
	for _, name := range []string{ServerSecretName("shop", gateway), CASecretName("shop", gateway), EndpointName(KindGateway, gateway), EndpointName(KindAPIRule, strings.Repeat("a", 245))} {
		if wrong := validation.IsDNS1123Subdomain(name); len(wrong) > 0 {
			t.Errorf("%s: %v", name, wrong)
		}
	}
}

func TestGatewaysOfTwoNamespacesNeverShareASecret(t *testing.T) {
	// The namespace ends at the first dot, so the name may have as many as it likes.
	if a, b := ServerSecretName("a", "b.c"), ServerSecretName("a.b", "c"); a != b || CheckName(KindGateway, "a.b", "c") == nil {
		t.Errorf("%s and %s, and a namespace with a dot passes", a, b)
	}
}

// A Secret is handed over to one Gateway, in the form that its annotation has.
func TestParseAdopt(t *testing.T) {
	for value, want := range map[string]types.NamespacedName{
		"shop/edge":                          {Namespace: "shop", Name: "edge"},
		"shop/edge.v1":                       {Namespace: "shop", Name: "edge.v1"},
		"":                                   {},
		"edge":                               {},
		"/edge":                              {},
		"shop/":                              {},
		"shop/edge/b":                        {},
		"Shop/edge":                          {},
		"a.b/edge":                           {},
		"shop/edge, shop/b":                  {},
		"shop/" + strings.Repeat("a", 254):   {},
		strings.Repeat("a", 1<<20) + "/edge": {},
		"Gateway/shop/edge":                  {},
	} {
		found, err := ParseAdopt(value)
		if found != want || (err == nil) != (want.Name != "") {
			t.Errorf("%.40q: %v, error %v", value, found, err)
		}
		if err != nil && len(err.Error()) > 600 {
			t.Errorf("%.40q: the error has %d bytes", value, len(err.Error()))
		}
	}
	if name := AdoptedSecretName("shop", strings.Repeat("a", 235)); len(validation.IsDNS1123Subdomain(name)) > 0 {
		t.Errorf("the longest name has %d characters", len(name))
	}
}
