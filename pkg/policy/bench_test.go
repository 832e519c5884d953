package policy

import (
	"fmt"
	"testing"

	"sallyport.dev/sallyport/api/v1alpha1"
	"sallyport.dev/sallyport/pkg/intent"
)

func crowd(n int) World {
	w := World{}
	for i := range n {
		mode, credential := "MUTUAL", fmt.Sprintf("ns%d.edge%d.mtls", i%100, i)
		if i%2 == 1 {
			mode = "SIMPLE"
		}
		g := optedIn(gatewayOf(fmt.Sprintf("ns%d", i%100), fmt.Sprintf("edge%d", i), i, https(mode, credential, fmt.Sprintf("h%d.example.com", i/3)), redirecting(http("*"))), intent.ModeMutual)
		w.Gateways = append(w.Gateways, g)
		gateways := l{fmt.Sprintf("edge%d", i)}
		if i%5 == 0 {
			gateways = append(gateways, "ns1/edge1")
		}
		w.VirtualServices = append(w.VirtualServices, vs(fmt.Sprintf("ns%d", i%100), fmt.Sprintf("v%d", i), gateways, l{fmt.Sprintf("h%d.example.com", i/3)}, fmt.Sprintf("svc%d.shop.svc.cluster.local", i/4), 8080))
	}
	return w
}

func BenchmarkFindings(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		w := crowd(n)
		b.Run(fmt.Sprintf("snapshot/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				NewSnapshot(w)
			}
		})
		s := NewSnapshot(w)
		p := demands(func(spec *v1alpha1.MutualTLSPolicySpec) { spec.Match = v1alpha1.PolicyMatch{} })
		b.Run(fmt.Sprintf("policy/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			found := 0
			for range b.N {
				found = len(p.Findings(s))
			}
			b.ReportMetric(float64(found), "findings")
		})
	}
}

func worst(n int) map[string]World {
	one := World{}
	hosts := l{}
	for i := range n {
		hosts = append(hosts, fmt.Sprintf("h%d.example.com", i))
		one.VirtualServices = append(one.VirtualServices, vs("shop", fmt.Sprintf("v%d", i), l{"edge"}, l{fmt.Sprintf("h%d.example.com", i)}, "orders", 8080))
	}
	one.Gateways = []Gateway{optedIn(gatewayOf("shop", "edge", 1, https("MUTUAL", "shop.edge.mtls", hosts...), https("SIMPLE", "shop.edge.mtls", hosts...)), intent.ModeMutual)}
	same := World{}
	for i := range n {
		mode := "MUTUAL"
		if i%2 == 1 {
			mode = "SIMPLE"
		}
		same.Gateways = append(same.Gateways, optedIn(gatewayOf("shop", fmt.Sprintf("edge%d", i), i, https(mode, "x", "shop.example.com")), intent.ModeMutual))
		same.VirtualServices = append(same.VirtualServices, vs("shop", fmt.Sprintf("v%d", i), l{fmt.Sprintf("edge%d", i)}, l{"shop.example.com"}, "orders", 8080))
	}
	return map[string]World{"one Gateway of many hosts": one, "one host of many Gateways, one Service": same}
}

func BenchmarkWorst(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		for sentence, w := range worst(n) {
			b.Run(fmt.Sprintf("%s/%d", sentence, n), func(b *testing.B) {
				b.ReportAllocs()
				for range b.N {
					demands(nil).Findings(NewSnapshot(w))
				}
			})
		}
	}
}
