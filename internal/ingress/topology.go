package ingress

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Service is what of a Service decides where a Gateway's port ends up.
type Service struct {
	Namespace, Name string
	Created         time.Time
	Selector        map[string]string
	Ports           []ServicePort
	// KeepsPorts is true for a Service that tells Istio not to translate ports
	// through it (label experimental.istio.io/disable-gateway-port-translation).
	KeepsPorts bool
}

// ServicePort maps a port of a Service to one of its pods, by number or by name.
type ServicePort struct {
	Port uint32
	// Target is the pod's port; 0 when TargetName says which container port it is.
	Target     uint32
	TargetName string
}

// Pod is what of a gateway pod decides what it listens on and where it is.
type Pod struct {
	Namespace, Name string
	Labels          map[string]string
	IP              string
	Ready           bool
	// Ports are the named container ports.
	Ports map[string]uint32
}

// The container port on which Istio's proxies serve their statistics
// (istio/istio:manifests/charts/istio-control/istio-discovery/files/gateway-injection-template.yaml).
const (
	statisticsPortName = "http-envoy-prom"
	statisticsPort     = 15090
)

// statistics is the port on which the pod serves its statistics.
func (p *Pod) statistics() uint32 {
	if port, named := p.Ports[statisticsPortName]; named {
		return port
	}
	return statisticsPort
}

// Replica is one Ready pod of an ingress and the port that serves a Gateway's port there.
type Replica struct {
	Ingress Ingress
	Pod     string
	IP      string
	Port    uint32
	// Statistics is the port on which the pod tells what it counts.
	Statistics uint32
}

// TargetPort is a port gateway pods listen on. It has a number, or, while the
// ingress has no pod that could tell it, the name the Service gives it.
type TargetPort struct {
	Number uint32
	Name   string
}

// String is the number, or the name in quotes.
func (t TargetPort) String() string {
	if t.Name != "" {
		return strconv.Quote(t.Name)
	}
	return strconv.FormatUint(uint64(t.Number), 10)
}

// Topology is an immutable picture of the ingresses: their pods, and the Services
// in front of them.
type Topology struct {
	sites []site
}

// site is one ingress with the pods that belong to it.
type site struct {
	ingress Ingress
	pods    []placedPod
	// services are those that would select a pod which carries exactly the
	// ingress's own labels: they stand in for the pods' when there are none.
	services []Service
}

type placedPod struct {
	Pod
	services []Service
}

// NewTopology sorts pods and Services to the ingresses they belong to.
func NewTopology(ingresses []Ingress, services []Service, pods []Pod) Topology {
	ordered := slices.Clone(services)
	slices.SortFunc(ordered, olderService)
	sites := make([]site, len(ingresses))
	for i, ingress := range ingresses {
		sites[i] = site{ingress: ingress, services: selecting(ordered, ingress.Namespace, ingress.Selector)}
		for _, pod := range pods {
			if pod.Namespace == ingress.Namespace && subsetOf(ingress.Selector, pod.Labels) {
				sites[i].pods = append(sites[i].pods, placedPod{Pod: pod, services: selecting(ordered, pod.Namespace, pod.Labels)})
			}
		}
		slices.SortFunc(sites[i].pods, func(a, b placedPod) int { return cmp.Compare(a.Name, b.Name) })
	}
	return Topology{sites: sites}
}

// olderService is the order in which Istio walks the Services of a pod: the first
// one that has a Gateway's port decides what that port is translated to. It
// compares host names, in which a name ends in a dot.
func olderService(a, b Service) int {
	return cmp.Or(
		a.Created.Compare(b.Created),
		strings.Compare(a.Name+".", b.Name+"."),
		strings.Compare(a.Namespace, b.Namespace),
	)
}

// selecting is the Services of a namespace that select a pod with these labels. A
// Service without a selector selects nothing.
func selecting(services []Service, namespace string, labels map[string]string) []Service {
	var found []Service
	for _, service := range services {
		if service.Namespace == namespace && len(service.Selector) > 0 && subsetOf(service.Selector, labels) {
			found = append(found, service)
		}
	}
	return found
}

// Ingresses are those a Gateway with this selector belongs to: each one that has a
// pod the selector matches, or whose own labels it matches, so that an ingress
// scaled to zero keeps its Gateways.
func (t Topology) Ingresses(selector map[string]string) []Ingress {
	var matched []Ingress
	for i := range t.sites {
		if t.sites[i].matches(selector) {
			matched = append(matched, t.sites[i].ingress)
		}
	}
	return matched
}

func (s *site) matches(selector map[string]string) bool {
	if subsetOf(selector, s.ingress.Selector) {
		return true
	}
	return slices.ContainsFunc(s.pods, func(pod placedPod) bool { return subsetOf(selector, pod.Labels) })
}

// TargetPorts are the ports on which the pods of an ingress that a selector
// matches serve a Gateway's port, ascending. Pods may differ: a named target port
// is each pod's own.
func (t Topology) TargetPorts(ingress string, selector map[string]string, port uint32) []TargetPort {
	for i := range t.sites {
		if t.sites[i].ingress.Name == ingress && t.sites[i].matches(selector) {
			return t.sites[i].targets(selector, port)
		}
	}
	return nil
}

func (s *site) targets(selector map[string]string, port uint32) []TargetPort {
	var targets []TargetPort
	for i := range s.pods {
		if subsetOf(selector, s.pods[i].Labels) {
			targets = append(targets, TargetPort{Number: s.pods[i].target(port)})
		}
	}
	if len(targets) == 0 {
		targets = []TargetPort{targetWithoutPods(s.services, port)}
	}
	slices.SortFunc(targets, func(a, b TargetPort) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), strings.Compare(a.Name, b.Name))
	})
	return slices.Compact(targets)
}

// target translates a Gateway's port as istiod does for Gateways with a selector:
// through the first Service port with that number that the pod can resolve, and as
// it is where no Service has it.
func (p *placedPod) target(port uint32) uint32 {
	for _, service := range p.services {
		if service.KeepsPorts {
			continue
		}
		for _, candidate := range service.Ports {
			if candidate.Port != port {
				continue
			}
			if candidate.TargetName == "" {
				return candidate.Target
			}
			if number, ok := p.Ports[candidate.TargetName]; ok {
				return number
			}
		}
	}
	return port
}

func targetWithoutPods(services []Service, port uint32) TargetPort {
	for _, service := range services {
		if service.KeepsPorts {
			continue
		}
		for _, candidate := range service.Ports {
			if candidate.Port == port {
				return TargetPort{Number: candidate.Target, Name: candidate.TargetName}
			}
		}
	}
	return TargetPort{Number: port}
}

// Replicas are the Ready pods that serve a Gateway with this selector, with the
// port each serves the Gateway's port on, ordered by ingress and pod name.
func (t Topology) Replicas(selector map[string]string, port uint32) []Replica {
	var replicas []Replica
	for i := range t.sites {
		for j := range t.sites[i].pods {
			pod := &t.sites[i].pods[j]
			if pod.Ready && pod.IP != "" && subsetOf(selector, pod.Labels) {
				replicas = append(replicas, Replica{Ingress: t.sites[i].ingress, Pod: pod.Name, IP: pod.IP, Port: pod.target(port), Statistics: pod.statistics()})
			}
		}
	}
	return replicas
}

// sharedTargets are the ingresses and ports on which two Gateway ports meet.
func (t Topology) sharedTargets(a map[string]string, portA uint32, b map[string]string, portB uint32) []meeting {
	var meetings []meeting
	for i := range t.sites {
		s := &t.sites[i]
		if !s.matches(a) || !s.matches(b) {
			continue
		}
		theirs := s.targets(b, portB)
		for _, target := range s.targets(a, portA) {
			if slices.Contains(theirs, target) {
				meetings = append(meetings, meeting{ingress: s.ingress, target: target})
			}
		}
	}
	return meetings
}

type meeting struct {
	ingress Ingress
	target  TargetPort
}
