package mutate

import (
	"strings"
	"testing"

	"sallyport.dev/sallyport/pkg/intent"
)

func edgeWith(change func(server, tls map[string]any)) map[string]any {
	tls := map[string]any{}
	server := map[string]any{"port": map[string]any{"number": int64(443), "protocol": "HTTPS"}, "hosts": []any{"a.example.com"}, "tls": tls}
	change(server, tls)
	return map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
		"metadata": map[string]any{"namespace": "shop", "name": "edge", "annotations": map[string]any{intent.KeyMode: "mutual"}},
		"spec":     map[string]any{"servers": []any{server}},
	}
}

func judge(o map[string]any) Decision {
	r := Request{Object: o, Platform: intent.Platform{TrustDomain: "example.com"}, Edge: edge{}, Capabilities: Capabilities{CACertCredentialName: true}}
	if o["kind"] == string(intent.KindGateway) {
		return Gateway(r)
	}
	return APIRule(r)
}

func TestHostsThatNoCertificateCanNameAreDenied(t *testing.T) {
	with := func(host string) Decision {
		return judge(edgeWith(func(server, _ map[string]any) { server["hosts"] = []any{host} }))
	}
	for _, host := range []string{
		"*", "ns/*", "./*", "10.0.0.1", "::1", "*foo.example.com", "a.*.example.com", "a_b.example.com", "a..b", ".example.com", "-a.example.com", "mo\u0434e.example.com",
		strings.Repeat("a", 64) + ".example.com", strings.Repeat("a.", 130) + "com", "x\x00y.example.com", "",
	} {
		if d := with(host); d.Verdict != Denied || !strings.Contains(d.Message, "spec.servers[0].hosts[0]: found ") {
			t.Errorf("%.80q: %s %s", host, d.Verdict, d.Message)
		}
	}
	for _, host := range []string{"a.example.com", "*.example.com", "shop/a.example.com", "./a.example.com", "A.Example.COM.", "localhost", "xn--bcher-kva.example.com", strings.Repeat("a", 63) + ".example.com"} {
		if d := with(host); d.Verdict != Patched {
			t.Errorf("%.80q: %s %s", host, d.Verdict, d.Message)
		}
	}
}

func TestMessagesRepeatNothingThatCouldHarmATerminalOrALog(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	for _, bad := range []string{"a\x00b/c", "a\nb/c", "\x1b[2J/c", "a\u202eb.c", "../" + long, long, "a/b\n", "a.b\n"} {
		rule := func(version, key string) map[string]any {
			spec := map[string]any{"hosts": []any{"a.example.com"}, "host": "a.example.com", "rules": []any{map[string]any{"path": "/*"}}}
			spec[key] = bad
			return map[string]any{
				"apiVersion": "gateway.kyma-project.io/" + version, "kind": "APIRule", "spec": spec,
				"metadata": map[string]any{"namespace": "shop", "name": "orders", "annotations": map[string]any{intent.KeyMode: "mutual"}},
			}
		}
		owned := edgeWith(func(map[string]any, map[string]any) {})
		object(owned["metadata"])["ownerReferences"] = []any{map[string]any{"kind": bad, "name": bad, "controller": true}}
		objects := map[string]map[string]any{
			"owner": owned, "gateway": rule("v2", "gateway"), "gateway of v1beta1": rule("v1beta1", "gateway"), "host": rule("v1beta1", "host"),
			"protocol":    edgeWith(func(server, _ map[string]any) { object(server["port"])["protocol"] = bad }),
			"server host": edgeWith(func(server, _ map[string]any) { server["hosts"] = []any{bad} }),
		}
		for _, field := range []string{"mode", "credentialName", "caCertCredentialName", "minProtocolVersion", "maxProtocolVersion"} {
			objects[field] = edgeWith(func(_, tls map[string]any) { tls[field] = bad })
		}
		for where, o := range objects {
			d := judge(o)
			if d.Verdict != Denied {
				t.Errorf("%s %.20q: %s %.200q", where, bad, d.Verdict, d.Warnings)
			}
			for _, said := range append([]string{d.Message}, d.Warnings...) {
				if len(said) > 4000 || strings.ContainsFunc(said, func(r rune) bool { return r < ' ' || r == 0x202e }) {
					t.Errorf("%s %.20q: %d bytes %.200q", where, bad, len(said), said)
				}
			}
		}
	}
}

// A workload is told who called by our headers in any case, and by Envoy's words under any name.
func TestTellsCaller(t *testing.T) {
	rule := func(headers map[string]any) map[string]any {
		return map[string]any{"spec": map[string]any{"rules": []any{map[string]any{}, map[string]any{"request": map[string]any{"headers": headers}}}}}
	}
	for sentence, row := range map[string]struct {
		rule map[string]any
		want bool
	}{
		"our header tells":          {rule(map[string]any{"X-Client-Cert-Uri": "uri="}), true},
		"in any case":               {rule(map[string]any{"x-client-CERT-uri": "x"}), true},
		"Envoy's word tells":        {rule(map[string]any{"X-Caller": "who=%DOWNSTREAM_PEER_URI_SAN%"}), true},
		"another header does not":   {rule(map[string]any{"X-Caller": "%REQ(X-Client)%"}), false},
		"none does not":             {rule(nil), false},
		"no rules do not":           {map[string]any{}, false},
		"rules of another form not": {map[string]any{"spec": map[string]any{"rules": map[string]any{"a": 1}}}, false},
	} {
		if got := TellsCaller(row.rule); got != row.want {
			t.Errorf("%s: %t", sentence, got)
		}
	}
}
