package kyma

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// rule is one APIRule of any version, as the stand-in reads it.
type rule struct {
	namespace, name, uid string
	host                 string
	gateway              string
	service              map[string]any
	rules                []any
}

func ruleFrom(u *unstructured.Unstructured) rule {
	r := rule{namespace: u.GetNamespace(), name: u.GetName(), uid: string(u.GetUID())}
	r.host, _, _ = unstructured.NestedString(u.Object, "spec", "host")
	if hosts, _, _ := unstructured.NestedStringSlice(u.Object, "spec", "hosts"); r.host == "" && len(hosts) > 0 {
		r.host = hosts[0]
	}
	r.gateway, _, _ = unstructured.NestedString(u.Object, "spec", "gateway")
	r.service, _, _ = unstructured.NestedMap(u.Object, "spec", "service")
	r.rules, _, _ = unstructured.NestedSlice(u.Object, "spec", "rules")
	return r
}

// gatewayRef is the Gateway's namespace and name. The long forms are those of
// v1beta1.
func (r rule) gatewayRef() (namespace, name string) {
	if namespace, name, ok := strings.Cut(r.gateway, "/"); ok {
		return namespace, name
	}
	spelled := strings.TrimSuffix(strings.TrimSuffix(r.gateway, ".cluster.local"), ".svc")
	if name, namespace, ok := strings.Cut(spelled, "."); ok {
		return namespace, name
	}
	return r.namespace, spelled
}

// fullHost completes a short host with the one wildcard domain that all servers of
// the Gateway have.
func (r rule) fullHost(gateway *unstructured.Unstructured) (string, error) {
	if strings.Contains(r.host, ".") {
		return r.host, nil
	}
	domain := ""
	servers, _, _ := unstructured.NestedSlice(gateway.Object, "spec", "servers")
	for _, s := range servers {
		server, _ := s.(map[string]any)
		hosts, _, _ := unstructured.NestedStringSlice(server, "hosts")
		if len(hosts) != 1 || !strings.HasPrefix(hosts[0], "*.") || (domain != "" && hosts[0] != domain) {
			return "", fmt.Errorf("short host %q needs a Gateway whose servers have one and the same wildcard host", r.host)
		}
		domain = hosts[0]
	}
	return r.host + strings.TrimPrefix(domain, "*"), nil
}

// spec is that of the VirtualService.
func (r rule) spec(host string) map[string]any {
	namespace, name := r.gatewayRef()
	spec := map[string]any{"hosts": []any{host}, "gateways": []any{namespace + "/" + name}}
	var routes []any
	for _, item := range r.rules {
		one, _ := item.(map[string]any)
		routes = append(routes, r.route(one))
	}
	spec["http"] = routes
	return spec
}

func (r rule) route(one map[string]any) map[string]any {
	path, _ := one["path"].(string)
	match := map[string]any{"uri": uriMatch(path)}
	if methods, _, _ := unstructured.NestedStringSlice(one, "methods"); len(methods) > 0 {
		match["method"] = map[string]any{"regex": "^(" + strings.Join(methods, "|") + ")$"}
	}
	service := r.service
	if own, ok := one["service"].(map[string]any); ok {
		service = own
	}
	namespace, _ := service["namespace"].(string)
	if namespace == "" {
		namespace = r.namespace
	}
	destination := map[string]any{"host": fmt.Sprintf("%s.%s.svc.cluster.local", service["name"], namespace), "port": map[string]any{"number": service["port"]}}
	route := map[string]any{"match": []any{match}, "route": []any{map[string]any{"destination": destination}}}
	if headers, _, _ := unstructured.NestedMap(one, "request", "headers"); len(headers) > 0 {
		route["headers"] = map[string]any{"request": map[string]any{"set": headers}}
	}
	return route
}

// uriMatch turns a path into Istio's match: v1beta1 has regular expressions, v2 has
// exact paths, and /* for every one.
func uriMatch(path string) map[string]any {
	switch {
	case path == "/*" || path == "/.*" || path == "/{**}":
		return map[string]any{"prefix": "/"}
	case strings.Contains(path, "{"):
		pattern := strings.NewReplacer("{**}", ".*", "{*}", "[^/]+", ".", `\.`).Replace(path)
		return map[string]any{"regex": "^" + pattern + "$"}
	case strings.Contains(path, "*"):
		return map[string]any{"regex": path}
	}
	return map[string]any{"exact": path}
}
