package mutate

import (
	"fmt"
	"strings"
	"testing"

	"sallyport.dev/sallyport/pkg/intent"
)

// sized is a Gateway that asks, with so many servers of so many hosts each, and so
// many bytes in an annotation of its own.
func sized(servers, hosts, annotation int) map[string]any {
	var all []any
	for i := range servers {
		var names []any
		for j := range hosts {
			names = append(names, fmt.Sprintf("h%d.example.com", i*hosts+j))
		}
		all = append(all, map[string]any{"port": map[string]any{"number": int64(443), "name": fmt.Sprintf("https-%d", i), "protocol": "HTTPS"}, "hosts": names})
	}
	return map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
		"metadata": map[string]any{"name": "edge", "namespace": "shop", "annotations": map[string]any{intent.KeyMode: "mutual", "note": strings.Repeat("x", annotation)}},
		"spec":     map[string]any{"selector": map[string]any{"istio": "ingressgateway"}, "servers": all},
	}
}

func TestWhatIsTooLargeIsRefusedWithTheWayOut(t *testing.T) {
	for name, test := range map[string]struct {
		object map[string]any
		want   Verdict
		says   []string
	}{
		"as many hosts as a certificate holds": {sized(1, MaxHosts, 0), Patched, nil},
		"a host more":                          {sized(1, MaxHosts+1, 0), Denied, []string{"spec.servers[0].hosts", "256", "wildcards"}},
		"a host more, over several servers":    {sized(4, 65, 0), Denied, []string{"spec.servers[3].hosts", "256", "several Gateways"}},
		"a thousand servers and one":           {sized(1001, 0, 0), Denied, []string{"spec.servers", "1001", "several Gateways"}},
		"more annotations than can be stored":  {sized(1, 1, 256<<10), Denied, []string{"metadata.annotations", "262144"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := Gateway(Request{Object: test.object, Platform: intent.Platform{TrustDomain: "example.com"}, Edge: edge{}, Capabilities: Capabilities{CACertCredentialName: true}})
			if d.Verdict != test.want {
				t.Fatalf("verdict %s: %.300s", d.Verdict, d.Message)
			}
			for _, part := range test.says {
				if !strings.Contains(d.Message, part) {
					t.Errorf("the message does not say %q: %.300s", part, d.Message)
				}
			}
		})
	}
}
