package policy

import "time"

// World is what is stored, as far as findings speak of it. Nothing of it is changed.
type World struct {
	// Gateways are all that are stored.
	Gateways []Gateway
	// APIRules are all that are stored, in any version.
	APIRules []Object
	// VirtualServices are all that are stored: those of people, and those that Kyma made of APIRules.
	VirtualServices []VirtualService
	// Services are those of the cluster. One that is missing is taken as it is named.
	Services []Service
	// Secrets are those in the ingress namespaces that the agent manages.
	Secrets []Secret
	// ForwardedProto is whether gateways believe what a caller says of how it came: true with numTrustedProxies
	// above 0. A server that sends callers to HTTPS then serves those who say that they came by it.
	ForwardedProto bool
}

// Gateway is a stored Gateway, and where it lands.
type Gateway struct {
	Object
	// Created is when it was stored: of two servers that meet, Istio keeps that of the older Gateway.
	Created time.Time
	// Places are, for each of spec.servers, where it lands. Fewer than there are servers: the others land nowhere.
	Places [][]Place
}

// Place is a port of an ingress on which a server lands. Two servers meet if they have one in common.
type Place struct {
	// Ingress is its name, Namespace that of its pods: Istio reads their Secrets there.
	Ingress, Namespace string
	// Port is the target port, by number or by name: what the port of the Gateway becomes at the pods.
	Port string
}

// VirtualService is a stored VirtualService.
type VirtualService struct {
	// Namespace and Name of the object.
	Namespace, Name string
	// APIRule is the name of the APIRule in the same namespace that it was made of (its ownerReferences say so);
	// empty if a person wrote it.
	APIRule string
	// Spec of the object as it is stored.
	Spec map[string]any
}

// Service is what of a Service decides which one a route leads to.
type Service struct {
	// Namespace and Name of the object.
	Namespace, Name string
	// ExternalName is the name that it stands for; empty if it has pods.
	ExternalName string
	// Ports of the Service.
	Ports []ServicePort
}

// ServicePort is a port of a Service.
type ServicePort struct {
	// Port of the Service.
	Port uint32
	// Target is the port of the pods, by number or by name; empty if it is the same.
	Target string
}

// Secret is one that the agent manages in an ingress namespace.
type Secret struct {
	// Namespace and Name of the object.
	Namespace, Name string
	// GatewayNamespace and GatewayName are of the Gateway that it is made for.
	GatewayNamespace, GatewayName string
}
