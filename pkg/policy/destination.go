package policy

import (
	"strconv"
	"strings"
)

// target is where a route ends: a Service, and a port of its pods.
type target struct {
	// service is <namespace>/<name>, or the host if it is none of the cluster.
	service string
	// port of the pods; empty if the route names none and the Service has several, which is every port.
	port string
}

// directory resolves destinations to what is behind them.
type directory map[string]Service

func newDirectory(services []Service) directory {
	d := make(directory, len(services))
	for _, s := range services {
		d[s.Namespace+"/"+s.Name] = s
	}
	return d
}

// maxAliases is how many ExternalNames in a row are followed.
const maxAliases = 8

// target is what a destination's host and port lead to.
func (d directory) target(host, namespace string, port uint32) target {
	key := serviceKey(host, namespace)
	for range maxAliases {
		s, known := d[key]
		if !known || s.ExternalName == "" {
			break
		}
		key = serviceKey(strings.TrimSuffix(s.ExternalName, "."), "")
	}
	s, known := d[key]
	if port == 0 && known && len(s.Ports) == 1 {
		port = s.Ports[0].Port
	}
	if port == 0 {
		return target{service: key}
	}
	for _, p := range s.Ports {
		if p.Port == port && p.Target != "" {
			return target{service: key, port: p.Target}
		}
	}
	return target{service: key, port: strconv.FormatUint(uint64(port), 10)}
}

// serviceKey is <namespace>/<name> of a Service that a host names: a name without a dot is in the namespace of who
// names it, one with a dot has to be whole (istio/istio:pilot/pkg/model/config.go, ResolveShortnameToFQDN).
func serviceKey(host, namespace string) string {
	host = lowerASCII(host)
	name, rest, dotted := strings.Cut(host, ".")
	if !dotted {
		return namespace + "/" + host
	}
	in, rest, _ := strings.Cut(rest, ".")
	if strings.HasPrefix(rest, "svc.") {
		return in + "/" + name
	}
	return host
}
