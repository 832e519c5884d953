package ingress

import (
	"fmt"
	"testing"
	"time"
)

// optionalGateways are Gateways of one ingress of ten replicas, all on one port, that let in callers without a certificate.
func optionalGateways(n int) (Topology, *Claims, Gateway) {
	selector := map[string]string{"app": "istio-ingressgateway"}
	ingress := Ingress{Name: "public", Namespace: "istio-system", Selector: selector}
	var pods []Pod
	for i := range 10 {
		pods = append(pods, Pod{Namespace: "istio-system", Name: fmt.Sprintf("gateway-%d", i), Labels: selector, IP: fmt.Sprintf("10.0.0.%d", i+1), Ready: true})
	}
	services := []Service{{Namespace: "istio-system", Name: "gateway", Selector: selector, Ports: []ServicePort{{Port: 443, Target: 8443}}}}
	claims := NewClaims()
	var g Gateway
	for i := range n {
		g = Gateway{Namespace: fmt.Sprintf("team-%d", i), Name: "edge", Created: time.Unix(int64(i), 0), Selector: selector, Servers: []Server{
			{Port: 443, TLS: true, Anonymous: true, Hosts: []string{fmt.Sprintf("%d.example.com", i)}},
		}}
		claims.Set(g)
	}
	return NewTopology([]Ingress{ingress}, services, pods), claims, g
}

func BenchmarkAnonymous(b *testing.B) {
	topology, claims, g := optionalGateways(10_000)
	for b.Loop() {
		if got := len(claims.Anonymous(topology, g)); got != 9_999 {
			b.Fatal(got)
		}
	}
}
