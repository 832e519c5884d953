package mutate

import "sallyport.dev/sallyport/pkg/intent"

// MaxHosts is how many names a Gateway that asks may have in all: one certificate
// holds them, and each handshake carries it.
const MaxHosts = 256

// maxServers is how many servers it may have.
const maxServers = 1000

// maxAnnotations is how many bytes of annotations the API server stores
// (k8s.io/apimachinery, pkg/api/validation/objectmeta.go): it judges them after us.
const maxAnnotations = 256 << 10

// oversized refuses what is too large to be right before anything looks into it: what
// one review costs is bounded.
func (r Request) oversized() (Decision, bool) {
	size := 0
	for key, value := range object(object(r.Object["metadata"])["annotations"]) {
		size += len(key) + len(text(value))
	}
	if size > maxAnnotations {
		return denied(ReasonInvalidAnnotations, "metadata.annotations: found %d bytes, at most %d can be stored: take some away", size, maxAnnotations), true
	}
	return Decision{}, false
}

// tooMany refuses a Gateway that asks with more servers or hosts than one certificate
// can serve.
func (r Request) tooMany(in intent.Intent) (Decision, bool) {
	servers, _ := object(r.Object["spec"])["servers"].([]any)
	if len(servers) > maxServers {
		return denied(ReasonNotMutual, "%s: spec.servers: found %d servers, at most %d are served: divide them among several Gateways", asks(in), len(servers), maxServers), true
	}
	hosts := map[string]struct{}{}
	for i, s := range servers {
		listed, _ := object(s)["hosts"].([]any)
		for _, host := range listed {
			hosts[text(host)] = struct{}{}
			if len(hosts) > MaxHosts {
				return denied(ReasonNotMutual, "%s: spec.servers[%d].hosts: found more than %d hosts in all, and one certificate is issued for them: use wildcards such as *.example.com, or several Gateways", asks(in), i, MaxHosts), true
			}
		}
	}
	return Decision{}, false
}
