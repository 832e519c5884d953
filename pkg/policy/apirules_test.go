package policy

import (
	"testing"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/intent"
)

func made(o Object, gateway string, host string) VirtualService {
	v := vs(o.Namespace, o.Name+"-x7k2p", l{gateway}, l{host}, text(object(o.Spec["service"])["name"])+"."+o.Namespace+".svc.cluster.local", int(intent.PortNumber(object(o.Spec["service"])["port"])))
	v.APIRule = o.Name
	return v
}

func TestAPIRules(t *testing.T) {
	mutualRule := apirule("shop", "orders", "shop/edge", l{"shop.example.com"}, "orders", 8080)
	mutualRule.Annotations = map[string]string{intent.KeyMode: "mutual"}
	publicRule := apirule("pub", "way", "pub/edge", l{"a.pub.example.com"}, "orders", 8080)
	publicRule.Spec["service"] = m{"name": "orders", "namespace": "shop", "port": int64(8080)}
	rules := func(o ...Object) func(*World) {
		return func(w *World) { w.VirtualServices, w.APIRules = nil, append(w.APIRules, o...) }
	}
	found := []string{"APIRule shop/orders SecondExposure spec.service.name"}
	own := made(publicRule, "pub/edge", "a.pub.example.com")
	own.Spec["http"] = l{m{"route": l{to("orders.shop.svc.cluster.local", 8080)}}}
	weakEdge := func(w *World) { w.Gateways = append(w.Gateways, publicly()) }
	onPublic := apirule("shop", "orders", "pub/edge", l{"a.pub.example.com"}, "orders", 8080)
	onPublic.Annotations = mutualRule.Annotations
	onMutual := apirule("shop", "orders", "pub/mutual", l{"b.pub.example.com"}, "orders", 8080)
	onMutual.Annotations = mutualRule.Annotations
	short := apirule("pub", "way", "pub/edge", l{"way"}, "orders", 8080)
	short.Spec["service"] = publicRule.Spec["service"]
	ruleService := apirule("pub", "way", "pub/edge", l{"a.pub.example.com"}, "welcome", 80)
	ruleService.Spec["rules"] = l{m{"service": m{"name": "welcome", "port": int64(80)}}, m{"service": m{"name": "orders", "namespace": "shop", "port": int64(8080)}}}
	old := apirule("pub", "way", "edge.pub.svc.cluster.local", nil, "orders", 8080)
	old.Spec["host"], old.Spec["service"] = "a.pub.example.com", publicRule.Spec["service"]
	check(t, map[string]row{
		"one Service by two APIRules":                           {change: all(weakEdge, rules(mutualRule, publicRule)), want: found},
		"the same, and what Kyma made of them: told once":       {change: all(weakEdge, rules(mutualRule, publicRule), routes(made(mutualRule, "shop/edge", "shop.example.com"), own)), want: found},
		"by a short host, which gets the domain of its Gateway": {change: all(weakEdge, rules(mutualRule, short)), want: found},
		"by a rule of its own":                                  {change: all(weakEdge, rules(mutualRule, ruleService)), want: found},
		"by a v1beta1":                                          {change: all(weakEdge, rules(mutualRule, old)), want: found},
		"one of another Service":                                {change: all(weakEdge, rules(mutualRule, apirule("pub", "way", "pub/edge", l{"a.pub.example.com"}, "orders", 8080)))},
		"one of a Gateway that is not there":                    {change: rules(mutualRule, publicRule)},
		"behind mutual TLS of a Gateway that the policy is not about": {
			change: all(joins(gatewayOf("pub", "mutual", 20, https("MUTUAL", "x", "b.pub.example.com"))), weakEdge, rules(onMutual, publicRule)), want: found,
		},
		"an excepted one": {
			policy: func(s *v1alpha1.MutualTLSPolicySpec) {
				s.Exceptions = []v1alpha1.PolicyException{{Kind: v1alpha1.ObjectAPIRule, Namespace: "shop", Name: "orders"}}
			},
			change: all(weakEdge, rules(mutualRule, publicRule)),
		},
		"one that the policy is not about, behind a Gateway that it is about": {
			change: func(w *World) {
				weakEdge(w)
				elsewhere := apirule("else", "orders", "shop/edge", l{"shop.example.com"}, "orders", 8080)
				rules(elsewhere)(w)
				routes(made(elsewhere, "shop/edge", "shop.example.com"), vs("pub", "way", l{"edge"}, l{"a.pub.example.com"}, "orders.else.svc.cluster.local", 8080))(w)
			},
			want: []string{"VirtualService else/orders-x7k2p SecondExposure spec.http[0].route[0].destination.host"},
		},
		"behind a weak Gateway that the policy is not about": {change: all(weakEdge, rules(onPublic)), want: []string{"APIRule shop/orders NotMutual spec.gateway"}},
		"behind a plain one": {
			change: all(joins(gatewayOf("pub", "edge", 20, http("*"))), rules(onPublic)), want: []string{"APIRule shop/orders PlainHTTPRoute spec.gateway"},
		},
		"behind a Gateway that the policy is not about, and that lets others in by another server: told once": {
			change: func(w *World) {
				w.Gateways = append(w.Gateways, gatewayOf("pub", "edge", 20, https("MUTUAL", "x", "b.pub.example.com"), https("SIMPLE", "x", "c.pub.example.com")))
				o := onPublic
				o.Spec = apirule("shop", "orders", "pub/edge", l{"*.pub.example.com"}, "orders", 8080).Spec
				rules(o)(w)
			},
			want: []string{"APIRule shop/orders NotMutual spec.gateway"},
		},
		"behind one that verifies who has a certificate, where optional is enough": {
			policy: requires(v1alpha1.ModeOptional, ""), change: all(joins(gatewayOf("pub", "edge", 20, https("OPTIONAL_MUTUAL", "x", "*.pub.example.com"))), rules(onPublic)),
		},
		"one Service of a rule": {
			change: func(w *World) {
				weakEdge(w)
				o := mutualRule
				o.Spec = m{"gateway": "shop/edge", "hosts": l{"shop.example.com"}, "rules": l{m{"service": m{"name": "welcome"}}, m{"service": m{"name": "orders", "port": int64(8080)}}}}
				rules(o, publicRule)(w)
				child := made(mutualRule, "shop/edge", "shop.example.com")
				routes(child)(w)
			},
			want: []string{"APIRule shop/orders SecondExposure spec.rules[1].service.name"},
		},
		"not opted in: Judge tells": {
			change: func(w *World) {
				weakEdge(w)
				o := onPublic
				o.Annotations = nil
				rules(o)(w)
			},
		},
		"behind a weak Gateway that the policy is about: told there": {
			change: func(w *World) {
				alters("mode", "SIMPLE")(w)
				rules(mutualRule)(w)
			},
			want: []string{"Gateway shop/edge NotMutual spec.servers[0].tls.mode"},
		},
	})
}
