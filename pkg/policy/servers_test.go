package policy

import (
	"testing"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/intent"
)

func TestServersThatOnlySeemMutual(t *testing.T) {
	found := func(field string) []string { return []string{"Gateway shop/edge NotMutual " + field} }
	mode := func(annotation string, tlsMode string) func(*World) {
		return all(alters("mode", tlsMode), func(w *World) {
			w.Gateways[0].Annotations = map[string]string{intent.KeyMode: annotation}
			if annotation == "" {
				w.Gateways[0].Annotations = nil
			}
		})
	}
	check(t, map[string]row{
		"OPTIONAL_MUTUAL, opted in to mutual":                       {change: alters("mode", "OPTIONAL_MUTUAL"), want: found("spec.servers[0].tls.mode")},
		"OPTIONAL_MUTUAL by hand":                                   {change: mode("", "OPTIONAL_MUTUAL"), want: found("spec.servers[0].tls.mode")},
		"OPTIONAL_MUTUAL, opted in to optional: Judge tells":        {change: mode("optional", "OPTIONAL_MUTUAL")},
		"OPTIONAL_MUTUAL where optional is enough":                  {policy: requires(v1alpha1.ModeOptional, ""), change: mode("optional", "OPTIONAL_MUTUAL")},
		"SIMPLE, opted in":                                          {change: alters("mode", "SIMPLE"), want: found("spec.servers[0].tls.mode")},
		"SIMPLE, opted in, where optional is enough":                {policy: requires(v1alpha1.ModeOptional, ""), change: alters("mode", "SIMPLE"), want: found("spec.servers[0].tls.mode")},
		"SIMPLE, not opted in: Judge tells":                         {change: mode("", "SIMPLE")},
		"PASSTHROUGH, opted in":                                     {change: alters("mode", "PASSTHROUGH"), want: found("spec.servers[0].tls.mode")},
		"no mode at all, opted in":                                  {change: alters("mode", nil), want: found("spec.servers[0].tls.mode")},
		"insecureSkipVerify":                                        {change: alters("insecureSkipVerify", true), want: found("spec.servers[0].tls.insecureSkipVerify")},
		"insecureSkipVerify, not opted in":                          {change: all(alters("insecureSkipVerify", true), mode("", "MUTUAL")), want: found("spec.servers[0].tls.insecureSkipVerify")},
		"insecureSkipVerify where optional is enough":               {policy: requires(v1alpha1.ModeOptional, ""), change: alters("insecureSkipVerify", true), want: found("spec.servers[0].tls.insecureSkipVerify")},
		"insecureSkipVerify: false":                                 {change: alters("insecureSkipVerify", false)},
		"MUTUAL by hand, with what is managed all the same":         {change: mode("", "MUTUAL")},
		"the second server alone":                                   {change: serves(with(https("SIMPLE", "shop.edge.mtls", "other.example.com"), "name", "b")), want: found("spec.servers[1].tls.mode")},
		"a plain server that has nothing to do with the mutual one": {change: serves(http("other.example.com"))},
	})
}

func TestServersThatShareAHostWithAStrongerOneOfTheGateway(t *testing.T) {
	weak := func(change func(m), hosts ...any) func(*World) {
		s := https("SIMPLE", "shop.edge.mtls", hosts...)
		if change != nil {
			change(s)
		}
		return all(serves(s), func(w *World) { w.Gateways[0].Annotations = nil }) // not opted in: that the server is SIMPLE, Judge tells
	}
	bypass := []string{"Gateway shop/edge HostBypass spec.servers[1].hosts[0]"}
	check(t, map[string]row{
		"a wildcard above the host":                     {change: weak(nil, "*.example.com"), want: bypass},
		"every host":                                    {change: weak(nil, "*"), want: bypass},
		"the host itself on another port":               {change: weak(func(s m) { s["port"] = m{"number": int64(8443), "protocol": "HTTPS"} }, "shop.example.com"), want: bypass},
		"in another spelling":                           {change: weak(nil, "SHOP.example.com."), want: bypass},
		"the second of its hosts":                       {change: weak(nil, "other.example.com", "*.example.com"), want: []string{"Gateway shop/edge HostBypass spec.servers[1].hosts[1]"}},
		"for the same namespace":                        {change: weak(nil, "./*.example.com"), want: bypass},
		"another host":                                  {change: weak(nil, "other.example.com")},
		"a wildcard beside it":                          {change: weak(nil, "*.shop.example.com")},
		"a host that only ends alike":                   {change: weak(nil, "myshop.example.com")},
		"one that is mutual itself":                     {change: weak(func(s m) { object(s["tls"])["mode"] = "MUTUAL" }, "*.example.com")},
		"one that passes TLS on":                        {change: weak(func(s m) { object(s["tls"])["mode"] = "PASSTHROUGH" }, "*.example.com")},
		"one that leads bytes on, which has no Host":    {change: weak(func(s m) { object(s["port"])["protocol"] = "TLS" }, "*.example.com")},
		"one whose stronger one demands nothing either": {change: all(weak(nil, "*.example.com"), alters("mode", "OPTIONAL_MUTUAL")), want: []string{"Gateway shop/edge NotMutual spec.servers[0].tls.mode"}},
		"where optional is enough":                      {policy: requires(v1alpha1.ModeOptional, ""), change: weak(nil, "*.example.com")},
		"one that skips verification": {change: weak(func(s m) {
			s["tls"] = m{"mode": "MUTUAL", "insecureSkipVerify": true, "credentialName": "shop.edge.mtls"}
		}, "*.example.com"), want: []string{bypass[0], "Gateway shop/edge NotMutual spec.servers[1].tls.insecureSkipVerify"}},
		"for VirtualServices of different namespaces": {
			change: func(w *World) {
				weak(nil, "pub/*.example.com")(w)
				object(servers(&w.Gateways[0])[0])["hosts"] = l{"./shop.example.com"}
			},
		},
		"the mutual one is the wildcard": {
			change: func(w *World) {
				weak(nil, "open.example.com")(w)
				object(servers(&w.Gateways[0])[0])["hosts"] = l{"*.example.com"}
			},
			want: append([]string{}, bypass...),
		},
	})
}

func TestServersWithoutTLS(t *testing.T) {
	found := []string{"Gateway shop/edge PlainHTTPRoute spec.servers[1].port.protocol"}
	redirect := []string{"Gateway shop/edge PlainHTTPRoute spec.servers[1].tls.httpsRedirect"}
	believed := func(w *World) { w.ForwardedProto = true }
	forbidden := requires(v1alpha1.ModeMutual, v1alpha1.PlainHTTPForbidden)
	check(t, map[string]row{
		"one with the host of a mutual one":                                {change: serves(http("shop.example.com")), want: found},
		"one with a wildcard above it":                                     {change: serves(http("*")), want: found},
		"so where optional is enough":                                      {policy: requires(v1alpha1.ModeOptional, ""), change: serves(http("shop.example.com")), want: found},
		"plain HTTP is forbidden: Judge tells":                             {policy: forbidden, change: serves(http("shop.example.com"))},
		"one that redirects":                                               {change: serves(redirecting(http("shop.example.com")))},
		"one that redirects, whose gateways believe callers":               {change: all(serves(redirecting(http("shop.example.com"))), believed), want: redirect},
		"the same where plain HTTP is forbidden and nothing else demanded": {policy: requires("", v1alpha1.PlainHTTPForbidden), change: all(serves(redirecting(http("shop.example.com"))), believed), want: redirect},
		"the same with nothing routed there":                               {policy: forbidden, change: all(serves(redirecting(http("shop.example.com"))), believed, func(w *World) { w.VirtualServices = nil })},
		"the same on a host of its own, where plain HTTP is forbidden": {
			policy: forbidden, change: all(serves(redirecting(http("other.example.com"))), believed, routes(vs("shop", "other", l{"edge"}, l{"other.example.com"}, "other", 80))), want: redirect,
		},
		"where only a version is demanded":                                               {policy: func(s *v1alpha1.MutualTLSPolicySpec) { s.Require = v1alpha1.PolicyRequirements{MinTLS: v1alpha1.TLS13} }, change: serves(http("shop.example.com"))},
		"one with the host of a server that asks for nothing, not opted in: Judge tells": {change: all(alters("mode", "SIMPLE"), serves(http("shop.example.com")), func(w *World) { w.Gateways[0].Annotations = nil })},
		"httpsRedirect: false":                                                           {change: serves(with(http("shop.example.com"), "tls", m{"httpsRedirect": false})), want: found},
		"with another host":                                                              {change: serves(http("other.example.com"))},
		"TLS settings on an HTTP port are ignored by Istio":                              {change: serves(with(http("shop.example.com"), "tls", m{"mode": "MUTUAL"})), want: found},
		"bytes beside requests":                                                          {change: serves(with(http("shop.example.com"), "port", m{"number": int64(80), "protocol": "TCP"}))},
		"a Gateway of plain servers alone, where plain HTTP is allowed":                  {change: joins(gatewayOf("shop", "plain", 20, http("plain.example.com")))},
		"a Gateway of plain servers alone that redirects and that nothing routes":        {change: all(joins(gatewayOf("shop", "plain", 20, redirecting(http("*")))), believed)},
	})
}
