package ingress

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	public   = Ingress{Name: "public", Namespace: "istio-system", Selector: map[string]string{"istio": "ingressgateway"}}
	partners = Ingress{Name: "partners", Namespace: "edge", Selector: map[string]string{"app": "gw"}, ProxyProtocol: true}
)

// at is a moment n seconds into the test's history.
func at(n int) time.Time { return time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC) }

func publicPod(name string, change func(*Pod)) Pod {
	p := Pod{
		Namespace: "istio-system", Name: name, IP: "10.0.0.1", Ready: true,
		Labels: map[string]string{"istio": "ingressgateway", "app": "istio-ingressgateway"},
		Ports:  map[string]uint32{"https": 8443},
	}
	if change != nil {
		change(&p)
	}
	return p
}

func publicService(name string, created int, ports ...ServicePort) Service {
	return Service{Namespace: "istio-system", Name: name, Created: at(created), Selector: map[string]string{"istio": "ingressgateway"}, Ports: ports}
}

func TestAGatewayBelongsToTheIngressesWhosePodsItSelects(t *testing.T) {
	pod := publicPod("a", nil)
	partner := Pod{Namespace: "edge", Name: "b", Labels: map[string]string{"app": "gw", "istio": "ingressgateway"}}
	stranger := Pod{Namespace: "edge", Name: "c", Labels: map[string]string{"app": "other", "team": "x"}}
	tests := map[string]struct {
		pods     []Pod
		selector map[string]string
		want     []Ingress
	}{
		"labels of a pod":                         {[]Pod{pod}, map[string]string{"app": "istio-ingressgateway"}, []Ingress{public}},
		"labels of the ingress":                   {[]Pod{pod}, map[string]string{"istio": "ingressgateway"}, []Ingress{public}},
		"pods of two ingresses":                   {[]Pod{pod, partner}, map[string]string{"istio": "ingressgateway"}, []Ingress{public, partners}},
		"no selector means every gateway pod":     {[]Pod{pod, partner}, nil, []Ingress{public, partners}},
		"an ingress scaled to zero":               {nil, map[string]string{"istio": "ingressgateway"}, []Ingress{public}},
		"scaled to zero, a label only pods had":   {nil, map[string]string{"app": "istio-ingressgateway"}, nil},
		"one label too many":                      {[]Pod{pod}, map[string]string{"istio": "ingressgateway", "x": "y"}, nil},
		"a pod of no ingress":                     {[]Pod{stranger}, map[string]string{"team": "x"}, nil},
		"a label with another value":              {[]Pod{pod}, map[string]string{"istio": "egressgateway"}, nil},
		"an empty value is not an absent label":   {[]Pod{pod}, map[string]string{"missing": ""}, nil},
		"the ingress's labels in another's space": {[]Pod{{Namespace: "edge", Name: "x", Labels: pod.Labels}}, map[string]string{"app": "istio-ingressgateway"}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := NewTopology([]Ingress{public, partners}, nil, tt.pods).Ingresses(tt.selector)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("ingresses (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAPortIsTranslatedAsIstiodDoes(t *testing.T) {
	byNumber := ServicePort{Port: 443, Target: 9443}
	byName := ServicePort{Port: 443, TargetName: "https"}
	other := publicPod("b", func(p *Pod) { p.Ports = map[string]uint32{"https": 8444} })
	tests := map[string]struct {
		services []Service
		pods     []Pod
		want     []TargetPort
	}{
		"no Service: the port as it is":              {nil, []Pod{publicPod("a", nil)}, []TargetPort{{Number: 443}}},
		"a Service without the port":                 {[]Service{publicService("s", 1, ServicePort{Port: 80, Target: 8080})}, []Pod{publicPod("a", nil)}, []TargetPort{{Number: 443}}},
		"a number":                                   {[]Service{publicService("s", 1, byNumber)}, []Pod{publicPod("a", nil)}, []TargetPort{{Number: 9443}}},
		"a name the pod resolves":                    {[]Service{publicService("s", 1, byName)}, []Pod{publicPod("a", nil)}, []TargetPort{{Number: 8443}}},
		"a name each pod resolves its own way":       {[]Service{publicService("s", 1, byName)}, []Pod{publicPod("a", nil), other}, []TargetPort{{Number: 8443}, {Number: 8444}}},
		"a name no container has: next Service":      {[]Service{publicService("s", 1, ServicePort{Port: 443, TargetName: "tls"}), publicService("t", 2, byNumber)}, []Pod{publicPod("a", nil)}, []TargetPort{{Number: 9443}}},
		"two Services: the older one decides":        {[]Service{publicService("a", 2, byNumber), publicService("b", 1, byName)}, []Pod{publicPod("a", nil)}, []TargetPort{{Number: 8443}}},
		"of one age: the first by host name decides": {[]Service{publicService("a-b", 1, byName), publicService("a", 1, byNumber)}, []Pod{publicPod("a", nil)}, []TargetPort{{Number: 8443}}},
		"a Service that keeps ports is passed over":  {[]Service{{Namespace: "istio-system", Name: "s", Selector: public.Selector, Ports: []ServicePort{byNumber}, KeepsPorts: true}}, []Pod{publicPod("a", nil)}, []TargetPort{{Number: 443}}},
		"a Service of another namespace":             {[]Service{{Namespace: "edge", Name: "s", Selector: public.Selector, Ports: []ServicePort{byNumber}}}, []Pod{publicPod("a", nil)}, []TargetPort{{Number: 443}}},
		"a Service without a selector":               {[]Service{{Namespace: "istio-system", Name: "s", Ports: []ServicePort{byNumber}}}, []Pod{publicPod("a", nil)}, []TargetPort{{Number: 443}}},
		"no pods: the Service's number":              {[]Service{publicService("s", 1, byNumber)}, nil, []TargetPort{{Number: 9443}}},
		"no pods: the Service's name":                {[]Service{publicService("s", 1, byName)}, nil, []TargetPort{{Name: "https"}}},
		"no pods, no Service":                        {nil, nil, []TargetPort{{Number: 443}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := NewTopology([]Ingress{public}, tt.services, tt.pods).TargetPorts("public", public.Selector, 443)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("target ports (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReplicasAreReadyPodsWithTheirOwnPort(t *testing.T) {
	pods := []Pod{
		publicPod("c", func(p *Pod) { p.IP, p.Ports = "10.0.0.3", map[string]uint32{"https": 8444, "http-envoy-prom": 15091} }),
		publicPod("a", nil),
		publicPod("starting", func(p *Pod) { p.Ready = false }),
		publicPod("pending", func(p *Pod) { p.IP = "" }),
		publicPod("unselected", func(p *Pod) { p.Labels = map[string]string{"istio": "ingressgateway"} }),
	}
	services := []Service{publicService("s", 1, ServicePort{Port: 443, TargetName: "https"})}
	got := NewTopology([]Ingress{public, partners}, services, pods).Replicas(map[string]string{"app": "istio-ingressgateway"}, 443)
	want := []Replica{
		{Ingress: public, Pod: "a", IP: "10.0.0.1", Port: 8443, Statistics: 15090},
		{Ingress: public, Pod: "c", IP: "10.0.0.3", Port: 8444, Statistics: 15091},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("replicas (-want +got):\n%s", diff)
	}
}
